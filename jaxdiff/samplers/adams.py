"""Linear multistep ODE solvers of the noise: LMS, DEIS, PLMS, PNDM.

In y = x / alpha and rho = sigma / alpha the probability-flow ODE is dy = eps d
rho. Each takes DDIM's step with an average of the last few eps in place of the
last, one evaluation a step:

  lms    the polynomial through them in rho, integrated: Adams-Bashforth
  deis   the polynomial in log rho, integrated over rho
  plms   Adams-Bashforth's weights of even steps
  pndm   the same, started by Runge-Kutta steps

Where alpha is 0, at the start of some schedules, they take DDIM's step, and
that eps is not used again.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxdiff.checks import whole
from jaxdiff.samplers.exponential import (
  POINTS,
  WEIGHTS,
  advance,
  curvature,
  half_gain,
  noise_change,
  noise_gain,
)
from jaxdiff.samplers.sampling import (
  Denoiser,
  Solver,
  eps_of,
  estimate,
)
from jaxdiff.samplers.solvers import trapezoid
from jaxdiff.schedules import Schedule, log_snr


class Slopes(NamedTuple):
  """The last eps and where they were made, newest first; infinite: none."""

  where: Array  # [K]
  eps: Array  # [K, B, ...]


def lms(schedule: Schedule, order: int = 4) -> Solver:
  """Builds LMS: the eps a polynomial in rho; order 1 to 4.

  It is Adams-Bashforth with the steps as they are, and DEIS's rho AB.

  Source: k-diffusion's sample_lms (Crowson 2022); DEIS (Zhang & Chen 2023).
  """
  rho = lambda t: schedule(t).sigma / schedule(t).alpha
  return _adams(schedule, order, rho, lambda t, s: WEIGHTS)


def deis(schedule: Schedule, order: int = 3) -> Solver:
  """Builds DEIS: the eps a polynomial in log rho; order 1 to 4.

  Source: DEIS (Zhang & Chen 2023) section 3.3 and appendix H, log rho AB.
  """

  def kernel(t: Array, s: Array) -> Array:
    # d rho over the whole step, in v = (log rho - log rho_t) / -h.
    h = half_gain(schedule, t, s)
    return WEIGHTS * h * jnp.exp(-h * POINTS) / -jnp.expm1(-h)

  return _adams(schedule, order, lambda t: -log_snr(schedule, t), kernel)


def _adams(
  schedule: Schedule,
  order: int,
  clock: Callable[[Array], Array],
  kernel: Callable[[Array, Array], Array],
) -> Solver:
  """Builds DDIM's step with the mean over it of a polynomial through the eps.

  Args:
    clock: the variable of the polynomial, a function of t.
    kernel: (t, s) -> weights at POINTS of the mean over rho.
  """
  whole('order', order, 1, 4)

  def init(x: Array) -> Slopes:
    return Slopes(
      jnp.full(order, jnp.inf), jnp.zeros((order, *x.shape), x.dtype)
    )

  def step(
    denoiser: Denoiser, keys: Array, xt: Array, t: Array, s: Array, past: Slopes
  ) -> tuple[Array, Slopes]:
    del keys
    x0 = estimate(denoiser, xt, t)
    push = lambda new, old: jnp.concatenate([new[None], old[:-1]])
    here, there = clock(t), clock(s)
    eps = push(eps_of(schedule, xt, x0, t), past.eps)
    where = push(here, past.where)
    used = jnp.isfinite(where) & jnp.isfinite(there) & jnp.isfinite(here)
    nodes = (where - here) / (there - here)
    change = curvature(nodes, eps, used, kernel(t, s))
    return _held(schedule, xt, x0, change, t, s), Slopes(where, eps)

  return Solver(init, step)


def _held(
  schedule: Schedule, xt: Array, x0: Array, change: Array, t: Array, s: Array
) -> Array:
  """DDIM's step with the noise of x0 changed; from alpha_t = 0 as it is."""
  more = noise_change(schedule, change, t, s)
  xs = advance(schedule, xt, x0, t, s)
  return xs + jnp.where(schedule(t).alpha > 0, more, 0.0)


# Adams-Bashforth with 1 to 4 values, the newest first, less the newest: the
# difference of their mean and it.
_EVEN = np.array(
  [
    [0, 0, 0, 0],
    [1 / 2, -1 / 2, 0, 0],
    [11 / 12, -16 / 12, 5 / 12, 0],
    [31 / 24, -59 / 24, 37 / 24, -9 / 24],
  ]
)


class EpsHistory(NamedTuple):
  """The last four eps, newest first, and how many there have been."""

  num: Array
  eps: Array  # [4, B, ...]


def plms(schedule: Schedule) -> Solver:
  """Builds PLMS, PNDM's linear multistep method, started by one step of `heun`.

    eps' = (55 eps_n - 59 eps_{n-1} + 37 eps_{n-2} - 9 eps_{n-3}) / 24

  in DDIM's step. Order 2: the coefficients are those of even steps in sigma /
  alpha, which the times rarely are.

  Source: PNDM (Liu et al. 2022) eq. 12; the start, latent diffusion's code.
  """

  def start(
    denoiser: Denoiser, xt: Array, x0: Array, t: Array, s: Array
  ) -> Array:
    return trapezoid(schedule, denoiser, xt, x0, t, s)

  return _pseudo_multistep(schedule, start, 1)


def pndm(schedule: Schedule) -> Solver:
  """Builds PNDM: `plms` started by three pseudo Runge-Kutta steps.

  Each has four evaluations of eps, at t, twice in the middle of the times, and
  at s; every partial step is DDIM's. Order 2. The start is unstable where steps
  are long in sigma / alpha (a log-SNR of -15 in 20 steps): `plms` is not.

  Source: PNDM (Liu et al. 2022) eq. 13, algorithm 2.
  """

  def start(
    denoiser: Denoiser, xt: Array, x0: Array, t: Array, s: Array
  ) -> Array:

    def ahead(change: Array, time: Array) -> Array:
      """Computes the change of eps until a time."""
      x = _held(schedule, xt, x0, change, t, time)
      x0_s = estimate(denoiser, x, time)
      return noise_gain(schedule, x0, x0_s, t, time, change)

    middle = 0.5 * (t + s)
    second = ahead(jnp.zeros_like(xt), middle)
    third = ahead(second, middle)
    last = ahead(third, s)
    change = (2 * second + 2 * third + last) / 6
    return _held(schedule, xt, x0, change, t, s)

  return _pseudo_multistep(schedule, start, 3)


def _pseudo_multistep(
  schedule: Schedule, start: Callable[..., Array], num_starts: int
) -> Solver:
  def init(x: Array) -> EpsHistory:
    return EpsHistory(jnp.zeros((), int), jnp.zeros((4, *x.shape), x.dtype))

  def step(
    denoiser: Denoiser,
    keys: Array,
    xt: Array,
    t: Array,
    s: Array,
    past: EpsHistory,
  ) -> tuple[Array, EpsHistory]:
    del keys
    x0 = estimate(denoiser, xt, t)
    eps = eps_of(schedule, xt, x0, t)
    history = jnp.concatenate([eps[None], past.eps[:-1]])
    weights = jnp.asarray(_EVEN)[jnp.minimum(past.num, 3)]

    def multistep(xt: Array) -> Array:
      change = jnp.tensordot(
        weights, history, axes=1, precision=jax.lax.Precision.HIGHEST
      )
      return _held(schedule, xt, x0, change, t, s)

    starting = (past.num < num_starts) & jnp.isfinite(half_gain(schedule, t, s))
    xs = jax.lax.cond(
      starting,
      lambda xt: start(denoiser, xt, x0, t, s),
      multistep,
      xt,
    )
    return xs, EpsHistory(past.num + 1, history)

  return Solver(init, step)
