"""Multistep ODE solvers: DPM-Solver++(2M, 3M), UniPC, PLMS, PNDM.

They solve the probability-flow ODE with one evaluation a step, as they remember
estimates. The exponential ones (DPM-Solver++, UniPC) integrate

  xs = (sigma_s / sigma_t) xt + alpha_s int_0^h e^(u - h) x0(u) du

with x0(u) the polynomial through the last few estimates; the pseudo linear
multistep ones (PLMS, PNDM) use an average of the last few eps in DDIM's step.

Where h is infinite, at the ends of some schedules, they take DDIM's step; see
`solvers`. An estimate at alpha = 0 is not used again. The first steps, with
little to remember, are of lower order too: together O(dt^2), unless the times
begin finely.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxdiff import predictions
from jaxdiff.checks import whole
from jaxdiff.samplers.sampling import (
  Denoiser,
  Solver,
  advance,
  estimate,
  transfer,
)
from jaxdiff.samplers.solvers import half_gain, trapezoid
from jaxdiff.schedules import Schedule, log_snr


class History(NamedTuple):
  """Estimates and their log-SNRs, the newest first.

  A log-SNR of -inf stands for none: either nothing has been estimated yet, or
  it was infinitely far away, at alpha = 0.
  """

  log_snr: Array  # [K]
  x0: Array  # [K, B, ...]


def no_history(num: int, x: Array) -> History:
  """Builds a history of `num` estimates that have not been made."""
  return History(jnp.full(num, -jnp.inf), jnp.zeros((num, *x.shape), x.dtype))


def remember(history: History, log_snr: Array, x0: Array) -> History:
  """Adds an estimate to a history, which forgets the oldest."""
  push = lambda new, old: jnp.concatenate([new[None], old[:-1]])
  return History(push(log_snr, history.log_snr), push(x0, history.x0))


# Gauss-Legendre on [0, 1]; 16 points are exact to float32 for h up to 20.
_POINTS, _WEIGHTS = (
  np.polynomial.legendre.leggauss(16) * np.array([[0.5], [0.5]])
) + np.array([[0.5], [0.0]])


def bend(schedule: Schedule, known: History, t: Array, s: Array) -> Array:
  """Computes what the bend of the estimate adds to `advance`, over alpha_s.

  With p the polynomial through the known estimates, in v = u / h,

    int_0^1 h e^(h (v - 1)) (p(v) - p(0)) dv,

  by Newton's divided differences. Through two estimates, where p is a line, its
  slope gets (1 - e^-h) / 2 for the exact 1 - (1 - e^-h) / h: this is 2M's
  choice, and UniPC's; the order is the same.

  Args:
    known: the estimates; the first is that at t, others may lie at s or before
      t, those not known last.
    t, s: the time now, and the next.

  Returns:
    [B, ...]; 0 where h is infinite.
  """
  h = half_gain(schedule, t, s)
  nodes = 0.5 * (known.log_snr - known.log_snr[0]) / h
  used = jnp.isfinite(known.log_snr) & jnp.isfinite(h)
  kernel = h * jnp.exp(h * (_POINTS - 1.0)) * _WEIGHTS
  differences, basis = known.x0, jnp.ones_like(_POINTS)
  total = jnp.zeros_like(known.x0[0])
  for k in range(1, len(nodes)):
    gaps = nodes[k:] - nodes[:-k]
    gaps = gaps.reshape(gaps.shape + (1,) * (known.x0.ndim - 1))
    differences = (differences[1:] - differences[:-1]) / gaps
    basis = basis * (_POINTS - nodes[k - 1])
    weight = jnp.sum(kernel * basis)
    if k == 1:
      line = ~used[2] if len(nodes) > 2 else True
      weight = jnp.where(line, -0.5 * jnp.expm1(-h), weight)
    total = total + jnp.where(used[k], weight * differences[0], 0.0)
  return total


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


class UniPCState(NamedTuple):
  """The start of the last step, to be done again, and the estimates."""

  x: Array  # [B, ...]
  t: Array
  past: History


def unipc(schedule: Schedule, order: int = 2) -> Solver:
  """Builds UniPC: a predictor, each step corrected by the next estimate.

  The estimate at t serves twice: it corrects the step that led to xt, by
  integrating the polynomial through it too, and it predicts xs from there. It
  is not made again at the corrected xt, so a step costs one evaluation. The
  predictor with `order` 2 (1 to 3) estimates is `dpmpp_2m`, with 3 `dpmpp_3m`;
  the corrector makes it one more.

  Source: UniPC (Zhao et al. 2023) algorithms 5-8, with B(h) = e^h - 1 (bh2).
  """
  whole('order', order, 1, 3)

  def init(x: Array) -> UniPCState:
    return UniPCState(x, jnp.ones(()), no_history(order, x))

  def step(
    denoiser: Denoiser,
    keys: Array,
    xt: Array,
    t: Array,
    s: Array,
    state: UniPCState,
  ) -> tuple[Array, UniPCState]:
    del keys
    x0, level, past = (
      estimate(denoiser, xt, t),
      log_snr(schedule, t),
      state.past,
    )
    # The newest of the past is where the last step started, the estimate at t
    # where it led to.
    insert = lambda old, new: jnp.concatenate([old[:1], new[None], old[1:]])
    known = History(insert(past.log_snr, level), insert(past.x0, x0))
    again = advance(schedule, state.x, past.x0[0], state.t, t)
    again += schedule(t).alpha * bend(schedule, known, state.t, t)
    # No step has led here, or one from alpha = 0, of which no more is known.
    xt = jnp.where(jnp.isfinite(past.log_snr[0]), again, xt)

    past = remember(past, level, x0)
    xs = advance(schedule, xt, x0, t, s)
    xs += schedule(s).alpha * bend(schedule, past, t, s)
    return xs, UniPCState(xt, t, past)

  return Solver(init, step)


# Adams-Bashforth with 1 to 4 values, the newest first.
_ADAMS = np.array(
  [
    [1, 0, 0, 0],
    [3 / 2, -1 / 2, 0, 0],
    [23 / 12, -16 / 12, 5 / 12, 0],
    [55 / 24, -59 / 24, 37 / 24, -9 / 24],
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
    denoiser: Denoiser, xt: Array, eps: Array, t: Array, s: Array
  ) -> Array:
    x0 = predictions.to_x0(predictions.eps, schedule, eps, xt, t)
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
    denoiser: Denoiser, xt: Array, eps: Array, t: Array, s: Array
  ) -> Array:
    def ahead(eps: Array, time: Array) -> Array:
      x = transfer(schedule, xt, eps, t, time)
      return _eps(schedule, denoiser, x, time)

    middle = 0.5 * (t + s)
    eps_2 = ahead(eps, middle)
    eps_3 = ahead(eps_2, middle)
    eps_4 = ahead(eps_3, s)
    mean = (eps + 2 * eps_2 + 2 * eps_3 + eps_4) / 6
    return transfer(schedule, xt, mean, t, s)

  return _pseudo_multistep(schedule, start, 3)


def _eps(schedule: Schedule, denoiser: Denoiser, xt: Array, t: Array) -> Array:
  x0 = estimate(denoiser, xt, t)
  return predictions.to_eps(predictions.x0, schedule, x0, xt, t)


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
    eps = predictions.to_eps(predictions.x0, schedule, x0, xt, t)
    history = jnp.concatenate([eps[None], past.eps[:-1]])
    weights = jnp.asarray(_ADAMS)[jnp.minimum(past.num, 3)]

    def multistep(xt: Array) -> Array:
      mean = jnp.tensordot(
        weights, history, axes=1, precision=jax.lax.Precision.HIGHEST
      )
      return jnp.where(
        schedule(t).alpha > 0,
        transfer(schedule, xt, mean, t, s),
        advance(schedule, xt, x0, t, s),
      )

    starting = (past.num < num_starts) & jnp.isfinite(half_gain(schedule, t, s))
    xs = jax.lax.cond(
      starting,
      lambda xt: start(denoiser, xt, eps, t, s),
      multistep,
      xt,
    )
    return xs, EpsHistory(past.num + 1, history)

  return Solver(init, step)
