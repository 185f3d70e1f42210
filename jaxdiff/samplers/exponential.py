"""Exponential integrators: the solution between two times, x0 a polynomial.

With h half the log-SNR gained from t to s, and eta of the noise, between the
probability-flow ODE (0) and the SDE (1), the solution is

  xs = (sigma_s / sigma_t) e^(-eta h) xt
       + alpha_s (1 + eta) int_0^h e^((1 + eta) (u - h)) x0(u) du
       + sigma_s sqrt(1 - e^(-2 eta h)) z.

`drift` has x0(u) = x0(0), for eta = 0 it is `advance`; `bend` is what the
polynomial through several estimates adds, `added_noise` the size of the last
term. (DPM-Solver++, Lu et al. 2022, eq. 8; with eta, SA-Solver, Xue et al.
2023, eq. 13.)
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from jaxdiff.schedules import NoiseLevel, Schedule, log_snr


def half_gain(schedule: Schedule, t: Array, s: Array) -> Array:
  """Computes h = (log_snr(s) - log_snr(t)) / 2; may be infinite."""
  return 0.5 * (log_snr(schedule, s) - log_snr(schedule, t))


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


def decay(t: NoiseLevel, s: NoiseLevel) -> Array:
  """Computes e^-h, as a ratio: finite, 0, where h is not."""
  return t.alpha * s.sigma / (s.alpha * t.sigma)


def advance(
  schedule: Schedule, xt: Array, x0: Array, t: Array, s: Array
) -> Array:
  """Computes DDIM's step, the ODE with the estimate held at x0. [B, ...]

  xs = (sigma_s / sigma_t) xt + alpha_s (1 - e^-h) x0
  """
  # Each level once: XLA rounds levels that are computed twice otherwise.
  now, then = schedule(t), schedule(s)
  left = decay(now, then)
  return then.sigma / now.sigma * xt + then.alpha * (1.0 - left) * x0


def noise_change(
  schedule: Schedule, change: Array, t: Array, s: Array
) -> Array:
  """Computes what a change of the noise adds to `advance`. [B, ...]

  alpha_s (rho_s - rho_t) change, alpha_t > 0. Beside `advance`, which holds x0:
  where alpha_t is small, x0 is lost in a noise that is held, as in `transfer`.
  """
  (alpha_t, sigma_t), (alpha_s, sigma_s) = schedule(t), schedule(s)
  return (sigma_s - alpha_s * sigma_t / alpha_t) * change


def noise_gain(
  schedule: Schedule,
  x0_t: Array,
  x0_s: Array,
  t: Array,
  s: Array,
  change: ArrayLike = 0.0,
) -> Array:
  """Computes eps_s - eps_t of a step from t to s, of its estimates. [B, ...]

    (x0_t - x0_s) / rho_s + (1 - rho_t / rho_s) change

  after `advance` and `noise_change`, alpha_t and sigma_s > 0. The noises are so
  alike where alpha_t is small that their difference has no digits left.
  """
  left = decay(schedule(t), schedule(s))
  alpha, sigma = schedule(s)
  return alpha / sigma * (x0_t - x0_s) + (1.0 - 1.0 / left) * change


def transfer(
  schedule: Schedule, xt: Array, eps: Array, t: Array, s: Array
) -> Array:
  """Computes DDIM's step with the noise held at eps, alpha_t > 0. [B, ...]

    xs = (alpha_s / alpha_t) (xt - sigma_t eps) + sigma_s eps

  Source: PNDM (Liu et al. 2022) eq. 11.
  """
  (alpha_t, sigma_t), (alpha_s, sigma_s) = schedule(t), schedule(s)
  return alpha_s / alpha_t * (xt - sigma_t * eps) + sigma_s * eps


def drift(
  schedule: Schedule, xt: Array, x0: Array, t: Array, s: Array, eta: ArrayLike
) -> Array:
  """Computes the solution without noise, the estimate held at x0. [B, ...]"""
  now, then = schedule(t), schedule(s)
  left = decay(now, then)
  scale = then.sigma / now.sigma * left**eta
  return scale * xt + then.alpha * (1.0 - left ** (1.0 + eta)) * x0


def added_noise(
  schedule: Schedule, t: Array, s: Array, eta: ArrayLike
) -> Array:
  """Computes sigma_s sqrt(1 - e^(-2 eta h))."""
  then = schedule(s)
  # At s = t rounding may leave it below 0.
  added = jnp.maximum(1.0 - decay(schedule(t), then) ** (2.0 * eta), 0.0)
  return then.sigma * jnp.sqrt(added)


# Gauss-Legendre on [0, 1]; 16 points are exact to float32 for h up to 20.
POINTS, WEIGHTS = (
  np.polynomial.legendre.leggauss(16) * np.array([[0.5], [0.5]])
) + np.array([[0.5], [0.0]])


def curvature(
  nodes: Array,
  values: Array,
  used: Array,
  kernel: Array,
  line: ArrayLike | None = None,
) -> Array:
  """Computes int_0^1 kernel(v) (p(v) - p(0)) dv. [B, ...]

  p is the polynomial with p(nodes[j]) = values[j], built by Newton's divided
  differences from those that are used.

  Args:
    nodes: [K] the first is 0; those not used come last.
    values: [K, B, ...].
    used: [K] bool.
    kernel: [16] at POINTS, times WEIGHTS.
    line: where p is a line, the weight of its slope instead of the integral's.
  """
  differences, basis = values, jnp.ones_like(POINTS)
  total = jnp.zeros_like(values[0])
  for i in range(1, len(nodes)):
    gaps = nodes[i:] - nodes[:-i]
    gaps = gaps.reshape(gaps.shape + (1,) * (values.ndim - 1))
    differences = (differences[1:] - differences[:-1]) / gaps
    basis = basis * (POINTS - nodes[i - 1])
    weight = jnp.sum(kernel * basis)
    if i == 1 and line is not None:
      is_line = ~used[2] if len(nodes) > 2 else True
      weight = jnp.where(is_line, line, weight)
    total = total + jnp.where(used[i], weight * differences[0], 0.0)
  return total


def bend(
  schedule: Schedule,
  known: History,
  t: Array,
  s: Array,
  eta: ArrayLike = 0.0,
  line: str = 'bh2',
) -> Array:
  """Computes what the bend of the estimate adds to `drift`, over alpha_s.

  With p the polynomial through the known estimates, v = u / h and k = (1 + eta)
  h, it is int_0^1 k e^(k (v - 1)) (p(v) - p(0)) dv. Where p is a line its slope
  gets B / 2 for the exact 1 - (1 - e^-k) / k, B = 1 - e^-k ('bh2', also 2M's)
  or B = k ('bh1', also SA-Solver's); the order is the same.

  Args:
    known: the estimates; the first is that at t, others may lie at s or before
      t, those not known last.
    t, s: the time now, and the next.
    eta: of the noise.
    line: 'bh1' or 'bh2'.

  Returns:
    [B, ...]; 0 where h is infinite.
  """
  h = half_gain(schedule, t, s)
  k = (1.0 + eta) * h
  nodes = 0.5 * (known.log_snr - known.log_snr[0]) / h
  used = jnp.isfinite(known.log_snr) & jnp.isfinite(h)
  kernel = k * jnp.exp(k * (POINTS - 1.0)) * WEIGHTS
  slope = 0.5 * k if line == 'bh1' else -0.5 * jnp.expm1(-k)
  return curvature(nodes, known.x0, used, kernel, slope)
