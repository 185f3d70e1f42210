"""Multistep solvers by past estimates: DPM-Solver++(2M, 3M), UniPC, SA-Solver.

One evaluation a step, as they remember estimates: x0(u) of `exponential` is the
polynomial through the last few. Where h is infinite, at the ends of some
schedules, they take DDIM's step; see `solvers`. An estimate at alpha = 0 is not
used again. The first steps, with little to remember, are of lower order too:
together O(dt^2), unless the times begin finely.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from jaxdiff.checks import number, whole
from jaxdiff.samplers.exponential import (
  History,
  added_noise,
  advance,
  bend,
  drift,
  no_history,
  remember,
)
from jaxdiff.samplers.sampling import Denoiser, Solver, estimate
from jaxdiff.samplers.stochastic import noise
from jaxdiff.schedules import Schedule, log_snr


def dpmpp_2m(schedule: Schedule) -> Solver:
  """Builds DPM-Solver++(2M): order 2, one evaluation.

  Source: DPM-Solver++ (Lu et al. 2022) algorithm 2.
  """
  return _multistep(schedule, 2)


def dpmpp_3m(schedule: Schedule) -> Solver:
  """Builds the three-step member of the family: order 3, one evaluation.

  The parabola through three estimates is integrated exactly. The published code
  of DPM-Solver++(3M) gives the second difference half the weight it has here,
  and measures as order 2.
  """
  return _multistep(schedule, 3)


def _multistep(schedule: Schedule, num: int) -> Solver:
  def step(
    denoiser: Denoiser, keys: Array, xt: Array, t: Array, s: Array, past
  ) -> tuple[Array, History]:
    del keys
    x0 = estimate(denoiser, xt, t)
    known = remember(past, log_snr(schedule, t), x0)
    xs = advance(schedule, xt, x0, t, s)
    return xs + schedule(s).alpha * bend(schedule, known, t, s), known

  return Solver(lambda x: no_history(num, x), step)


def unipc(schedule: Schedule, order: int = 2, variant: str = 'bh2') -> Solver:
  """Builds UniPC: a predictor, each step corrected by the next estimate.

  The estimate at t serves twice: it corrects the step that led to xt, by
  integrating the polynomial through it too, and it predicts xs from there. It
  is not made again at the corrected xt, so a step costs one evaluation. The
  predictor with `order` 2 (1 to 3) estimates is `dpmpp_2m`, with 3 `dpmpp_3m`;
  the corrector makes it one more.

  Args:
    order: 1 to 3.
    variant: B(h) of two estimates: 'bh2', e^h - 1, or 'bh1', h.

  Source: UniPC (Zhao et al. 2023) algorithms 5-8.
  """
  whole('order', order, 1, 3)
  if variant not in ('bh1', 'bh2'):
    raise ValueError(f"variant must be 'bh1' or 'bh2', got {variant!r}")

  def move(
    x: Array, known: History, t: Array, s: Array, z: Array | None
  ) -> Array:
    del z
    xs = advance(schedule, x, known.x0[0], t, s)
    return xs + schedule(s).alpha * bend(schedule, known, t, s, 0.0, variant)

  return _corrected(schedule, move, order, order + 1)


def sa_solver(
  schedule: Schedule,
  order: int = 2,
  corrector: int = 2,
  tau: ArrayLike = 1.0,
  low: ArrayLike = 0.0,
  high: ArrayLike = 1.0,
) -> Solver:
  """Builds SA-Solver: `unipc`'s predictor and corrector, of the SDE.

  A step is corrected with the noise that it was made with. tau^2 is the eta of
  `exponential`; tau = 0 is the ODE.

  Args:
    order: the number of estimates that predict, 1 to 4.
    corrector: of those that correct, the new one among them: 2 to 4, or 0 for
      no correction.
    tau: the amount of noise in a step from t in [low, high], 0 elsewhere; may
      be traced.
    low, high: times.

  Source: SA-Solver (Xue et al. 2023) algorithm 1.
  """
  whole('order', order, 1, 4)
  whole('corrector', corrector, 0, 4)
  if corrector == 1:
    raise ValueError('corrector must be 0 or in [2, 4], got 1')
  number('tau', tau, '[0, inf)')
  number('low', low, '[0, 1]')
  number('high', high, '[0, 1]')

  def move(x: Array, known: History, t: Array, s: Array, z: Array) -> Array:
    eta = jnp.where((low <= t) & (t <= high), tau**2, 0.0)
    xs = drift(schedule, x, known.x0[0], t, s, eta)
    xs += schedule(s).alpha * bend(schedule, known, t, s, eta, 'bh1')
    return xs + added_noise(schedule, t, s, eta) * z

  return _corrected(schedule, move, order, corrector, noise)


class Corrected(NamedTuple):
  """The start of the last step, to be done again, its noise, the estimates."""

  x: Array  # [B, ...]
  t: Array
  z: Array | None  # [B, ...]
  past: History


def _corrected(
  schedule: Schedule,
  move: Callable[..., Array],
  predictor: int,
  corrector: int,
  draw: Callable[[Array, Array], Array] | None = None,
) -> Solver:
  """Builds a predictor-corrector of estimates.

  Args:
    move: (x, known, t, s, z) -> xs; known has the estimate at t first.
    predictor, corrector: the number of estimates of each; 0 corrects nothing.
    draw: (keys, x) -> z, the noise of a step; None: there is none.
  """
  num = max(predictor, corrector - 1)
  newest = lambda known, num: History(*(x[:num] for x in known))

  def init(x: Array) -> Corrected:
    z = None if draw is None else jnp.zeros_like(x)
    return Corrected(x, jnp.ones(()), z, no_history(num, x))

  def step(
    denoiser: Denoiser,
    keys: Array,
    xt: Array,
    t: Array,
    s: Array,
    state: Corrected,
  ) -> tuple[Array, Corrected]:
    x0, level = estimate(denoiser, xt, t), log_snr(schedule, t)
    past = state.past
    if corrector:
      # The newest of the past is where the last step started, the estimate at t
      # where it led to.
      insert = lambda old, new: jnp.concatenate([old[:1], new[None], old[1:]])
      known = History(insert(past.log_snr, level), insert(past.x0, x0))
      again = move(state.x, newest(known, corrector), state.t, t, state.z)
      # No step has led here, or one from alpha = 0, of which no more is known.
      xt = jnp.where(jnp.isfinite(past.log_snr[0]), again, xt)

    z = None if draw is None else draw(keys, xt)
    past = remember(past, level, x0)
    xs = move(xt, newest(past, predictor), t, s, z)
    return xs, Corrected(xt, t, z, past)

  return Solver(init, step)
