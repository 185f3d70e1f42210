"""ODE solvers for dy/dl = field(l, y), y a pytree: Runge-Kutta, Dormand-Prince.

  Integrator = (field, y, grid[N + 1]) -> Solution

A Runge-Kutta method is its tableau (a, b, c):

  k_i = field(l + c_i h, y + h sum_j a_ij k_j),    y <- y + h sum_i b_i k_i.

A step is a `lax.scan` over the rows of the tableau, so that a network in the
field is compiled once and not once for each stage. Fixed steps go from point to
point of the grid; adaptive ones use only its ends.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxdiff.checks import number, whole

Field = Callable[[Array, Any], Any]


class Solution(NamedTuple):
  """y at the end of the grid, and the number of evaluations."""

  y: Any
  evaluations: Array  # int32 scalar


Integrator = Callable[[Field, Any, Array], Solution]


class Tableau(NamedTuple):
  a: np.ndarray  # [S, S], below the diagonal
  b: np.ndarray  # [S]
  c: np.ndarray  # [S]


HEUN = Tableau(
  a=np.array([[0, 0], [1, 0]], np.float32),
  b=np.array([1 / 2, 1 / 2], np.float32),
  c=np.array([0, 1], np.float32),
)

RK4 = Tableau(
  a=np.array(
    [[0, 0, 0, 0], [1 / 2, 0, 0, 0], [0, 1 / 2, 0, 0], [0, 0, 1, 0]],
    np.float32,
  ),
  b=np.array([1 / 6, 1 / 3, 1 / 3, 1 / 6], np.float32),
  c=np.array([0, 1 / 2, 1 / 2, 1], np.float32),
)

# Dormand & Prince 1980, table 2. The last row is b: the seventh stage is the
# next step's first.
_DP_A = np.zeros((7, 7))
_DP_A[1, :1] = [1 / 5]
_DP_A[2, :2] = [3 / 40, 9 / 40]
_DP_A[3, :3] = [44 / 45, -56 / 15, 32 / 9]
_DP_A[4, :4] = [19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729]
_DP_A[5, :5] = [9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656]
_DP_A[6, :6] = [35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84]
DORMAND_PRINCE = Tableau(
  a=_DP_A.astype(np.float32),
  b=_DP_A[6].astype(np.float32),
  c=np.array([0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1, 1], np.float32),
)
# b less the weights of the embedded method of fourth order.
DORMAND_PRINCE_ERROR = (
  _DP_A[6]
  - np.array(
    [
      5179 / 57600,
      0,
      7571 / 16695,
      393 / 640,
      -92097 / 339200,
      187 / 2100,
      1 / 40,
    ]
  )
).astype(np.float32)


def fixed(tableau: Tableau) -> Integrator:
  """Builds a Runge-Kutta method, one step between neighbours on the grid.

  `fixed(HEUN)` is of second order with 2 evaluations a step, `fixed(RK4)` of
  fourth order with 4.
  """
  stages = len(tableau.c)

  def integrate(field: Field, y: Any, grid: Array) -> Solution:
    def step(y: Any, ends: tuple[Array, Array]) -> tuple[Any, None]:
      start, end = ends
      h = end - start
      slopes = _slopes(tableau, 0, field, start, y, h, _no_slopes(y, stages))
      return _advance(y, h, tableau.b, slopes), None

    y, _ = jax.lax.scan(step, y, (grid[:-1], grid[1:]))
    return Solution(y, jnp.int32(stages * (len(grid) - 1)))

  return integrate


def dormand_prince(
  rtol: float = 1e-4,
  atol: float = 1e-4,
  *,
  max_steps: int = 1000,
  axis_name: str | None = None,
) -> Integrator:
  """Builds Dormand-Prince 5(4) with one step size for the whole batch.

  Every leaf of y is [B, ...]. The error of an example's leaf is the root mean
  square of error / (atol + rtol |y|); that of the step is the largest of all
  examples and leaves, and the step is taken if it is at most 1. The maximum is
  over the global batch: all devices and hosts see the same number, take the
  same steps and leave the loop together.

  Args:
    rtol, atol: tolerances of one step.
    max_steps: accepted and refused; past it the result is nan rather than
      wrong.
    axis_name: of pmap, where there is one. Under jit a batch divided over
      devices needs nothing.

  Source: Dormand & Prince 1980; step size control as in Hairer, Norsett &
  Wanner, Solving Ordinary Differential Equations I, section II.4.
  """
  number('rtol', rtol, '[0, inf)')
  number('atol', atol, '(0, inf)' if rtol == 0 else '[0, inf)')
  whole('max_steps', max_steps, 1)

  def size(error: Any, y: Any, new: Any) -> Array:
    def leaf(error: Array, y: Array, new: Array) -> Array:
      scale = atol + rtol * jnp.maximum(jnp.abs(y), jnp.abs(new))
      square = jnp.square(error / scale)
      return jnp.max(jnp.mean(square, axis=tuple(range(1, square.ndim))))

    largest = jax.tree.leaves(jax.tree.map(leaf, error, y, new))
    norm = jnp.sqrt(jnp.max(jnp.stack(largest)))
    return jax.lax.pmax(norm, axis_name) if axis_name else norm

  def integrate(field: Field, y: Any, grid: Array) -> Solution:
    start, end = grid[0], grid[-1]

    def unfinished(state: tuple[Array, ...]) -> Array:
      now, _, _, _, steps = state
      return (now != end) & (steps < max_steps)

    def step(state: tuple[Array, ...]) -> tuple[Array, ...]:
      now, y, slope, h, steps = state
      final = jnp.abs(h) >= jnp.abs(end - now)
      h = jnp.where(final, end - now, h)
      slopes = jax.tree.map(
        lambda none, k: none.at[0].set(k), _no_slopes(y, 7), slope
      )
      slopes = _slopes(DORMAND_PRINCE, 1, field, now, y, h, slopes)
      new = _advance(y, h, DORMAND_PRINCE.b, slopes)
      zero = jax.tree.map(jnp.zeros_like, y)
      error = size(_advance(zero, h, DORMAND_PRINCE_ERROR, slopes), y, new)
      accept = error <= 1.0  # false for nan: the step is then made smaller
      keep = lambda new, old: jnp.where(accept, new, old)
      # The grid's end is met exactly, whatever now + h rounds to.
      later = jnp.where(final, end, now + h)
      factor = jnp.clip(0.9 * jnp.maximum(error, 1e-8) ** -0.2, 0.2, 5.0)
      h = h * jnp.where(jnp.isnan(factor), 0.2, factor)
      last = jax.tree.map(lambda k: k[6], slopes)
      y, slope = jax.tree.map(keep, (new, last), (y, slope))
      return keep(later, now), y, slope, h, steps + 1

    first = field(start, y)
    state = start, y, first, (end - start) / 50, jnp.int32(0)
    now, y, _, _, steps = jax.lax.while_loop(unfinished, step, state)
    y = jax.tree.map(lambda y: jnp.where(now == end, y, jnp.nan), y)
    return Solution(y, 1 + 6 * steps)

  return integrate


def _no_slopes(y: Any, stages: int) -> Any:
  return jax.tree.map(lambda y: jnp.zeros((stages, *y.shape), y.dtype), y)


def _advance(y: Any, h: Array, weights: Array, slopes: Any) -> Any:
  """y + h sum_j weights_j k_j."""
  # Full precision: a TPU would take the sum in bfloat16.
  total = lambda k: jnp.einsum('s,s...->...', weights, k, precision='highest')
  return jax.tree.map(lambda y, k: y + h * total(k), y, slopes)


def _slopes(
  tableau: Tableau,
  first: int,
  field: Field,
  start: Array,
  y: Any,
  h: Array,
  slopes: Any,
) -> Any:
  """Fills in the stages from `first` on; those not yet known have weight 0."""

  def stage(slopes: Any, row: tuple[Array, ...]) -> tuple[Any, None]:
    i, a, c = row
    k = field(start + c * h, _advance(y, h, a, slopes))
    return jax.tree.map(lambda all, k: all.at[i].set(k), slopes, k), None

  rows = jnp.arange(first, len(tableau.c)), tableau.a[first:], tableau.c[first:]
  return jax.lax.scan(stage, slopes, rows)[0]
