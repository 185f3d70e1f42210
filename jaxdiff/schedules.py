"""Noise schedules: t in [0, 1] -> NoiseLevel(alpha, sigma).

  xt = alpha(t) x0 + sigma(t) eps,  eps ~ N(0, I);  t = 0 is data, t = 1 prior

A schedule is one function; its derivatives come from `jax.jvp`. What all of
them share is log_snr(t) = 2 log(alpha / sigma), strictly decreasing. A DDPM
table of T betas is a schedule too: step i of the table is t = i / T.

Tables are built in numpy float64, evaluated in float32.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike


class NoiseLevel(NamedTuple):
  """alpha scales the data, sigma the noise: xt = alpha x0 + sigma eps."""

  alpha: Array
  sigma: Array


Schedule = Callable[[ArrayLike], NoiseLevel]


def log_snr(schedule: Schedule, t: ArrayLike) -> Array:
  """Log signal-to-noise ratio 2 log(alpha / sigma), in nats.

  Returns:
    [...] like t; +inf where sigma is 0 (a table at t = 0).
  """
  alpha, sigma = schedule(t)
  return 2.0 * (jnp.log(alpha) - jnp.log(sigma))


def variance_preserving(log_snr: ArrayLike) -> NoiseLevel:
  """The level with alpha^2 + sigma^2 = 1 at a log-SNR.

  alpha^2 = sigmoid(log_snr), sigma^2 = sigmoid(-log_snr): neither is taken as
  one minus the other, so both keep full precision at both ends. (VDM, eq. 3.)
  """
  return NoiseLevel(
    jnp.sqrt(jax.nn.sigmoid(log_snr)), jnp.sqrt(jax.nn.sigmoid(-log_snr))
  )


def cosine(log_snr_min: float = -15.0, log_snr_max: float = 15.0) -> Schedule:
  """alpha = cos(angle), sigma = sin(angle), angle linear in t.

  The angle runs over the part of [0, pi/2] where the log-SNR lies within
  [log_snr_min, log_snr_max]; both ends are met exactly. Truncation is needed:
  cos(pi / 2) is -4.4e-8 in float32.

  Source: iDDPM (Nichol & Dhariwal 2021) eq. 17, in the truncated continuous
  form of simple diffusion (Hoogeboom et al. 2023), appendix A.
  """
  if not log_snr_min < log_snr_max:
    raise ValueError(
      'cosine needs log_snr_min < log_snr_max, got '
      f'{log_snr_min} and {log_snr_max}'
    )
  first = float(np.arctan(np.exp(-0.5 * log_snr_max)))
  # The complement pi/2 - angle, so that a small alpha keeps its digits too.
  last = float(np.arctan(np.exp(0.5 * log_snr_min)))
  span = np.pi / 2 - first - last

  def schedule(t: ArrayLike) -> NoiseLevel:
    t = jnp.asarray(t, jnp.float32)
    return NoiseLevel(
      jnp.sin(last + span * (1.0 - t)), jnp.sin(first + span * t)
    )

  return schedule


def linear_vp(beta_min: float = 0.1, beta_max: float = 20.0) -> Schedule:
  """The VP SDE with beta(t) = beta_min + t (beta_max - beta_min).

  log alpha = -t^2 (beta_max - beta_min) / 4 - t beta_min / 2. At t = 0 it is
  exactly (1, 0).

  Source: score SDE (Song et al. 2021) eq. 33.
  """
  if not 0 <= beta_min <= beta_max or beta_max == 0:
    raise ValueError(
      'linear_vp needs 0 <= beta_min <= beta_max, beta_max > 0, got '
      f'{beta_min} and {beta_max}'
    )

  def schedule(t: ArrayLike) -> NoiseLevel:
    t = jnp.asarray(t, jnp.float32)
    log_alpha = -0.25 * t * t * (beta_max - beta_min) - 0.5 * t * beta_min
    # expm1: sqrt(1 - alpha^2) is 2.4 % off near t = 0 in float32.
    return NoiseLevel(jnp.exp(log_alpha), jnp.sqrt(-jnp.expm1(2 * log_alpha)))

  return schedule


def from_betas(betas: ArrayLike) -> Schedule:
  """The schedule of a DDPM table: alpha(i / T)^2 = prod_{j <= i} (1 - beta_j).

  Exact at the grid points t = i / T, and exactly (1, 0) at t = 0. Between grid
  points the log-SNR is linear in t; in the first interval, where it comes from
  +inf, sigma^2 is.

  Args:
    betas: [T] the forward variances, each in (0, 1).

  Raises:
    ValueError: betas not one-dimensional, or outside (0, 1).

  Source: DDPM (Ho et al. 2020) eq. 4.
  """
  betas = np.asarray(betas, np.float64)
  if betas.ndim != 1 or not len(betas):
    raise ValueError(f'betas must be one-dimensional, got {betas.shape}')
  if not ((betas > 0) & (betas < 1)).all():
    raise ValueError(
      'betas must lie in (0, 1), got values from '
      f'{betas.min():g} to {betas.max():g}'
    )
  num_steps = len(betas)
  log_alpha_squared = np.cumsum(np.log1p(-betas))
  log_sigma_squared = np.log(-np.expm1(log_alpha_squared))
  table = log_alpha_squared - log_sigma_squared

  def schedule(t: ArrayLike) -> NoiseLevel:
    step = jnp.clip(jnp.asarray(t, jnp.float32), 0.0, 1.0) * num_steps
    # t = i / T has no exact float32, so snap to the step it stands for; the
    # derivative passes through.
    nearest = jnp.round(step)
    snap = jnp.where(jnp.abs(step - nearest) < 1e-3, nearest - step, 0.0)
    step = step + jax.lax.stop_gradient(snap)
    values = jnp.asarray(table, jnp.float32)
    # The clip makes every index lie in the table.
    below = jnp.clip(jnp.floor(step), 1, max(num_steps - 1, 1)).astype(int)
    left, right = values[below - 1], values[jnp.minimum(below, num_steps - 1)]
    inner = left + (step - below) * (right - left)
    first = jnp.log1p(-betas[0] * step) - jnp.log(betas[0] * step)
    return variance_preserving(jnp.where(step < 1.0, first, inner))

  return schedule


def linear_betas(
  num_steps: int = 1000, first: float = 1e-4, last: float = 0.02
) -> np.ndarray:
  """Betas linear in the step. [T] float64. (DDPM, section 4.)"""
  return np.linspace(first, last, num_steps, dtype=np.float64)


def scaled_linear_betas(
  num_steps: int = 1000, first: float = 0.00085, last: float = 0.012
) -> np.ndarray:
  """sqrt(beta) linear in the step. [T] float64.

  Source: latent diffusion (Rombach et al. 2022); the defaults are Stable
  Diffusion's.
  """
  return np.linspace(first**0.5, last**0.5, num_steps, dtype=np.float64) ** 2


def cosine_betas(
  num_steps: int = 1000, offset: float = 0.008, max_beta: float = 0.999
) -> np.ndarray:
  """Betas whose cumulative product follows cos^2, capped. [T] float64.

  beta_i = min(1 - f(i/T) / f((i-1)/T), max_beta),
  f(t) = cos^2((t + offset) / (1 + offset) pi / 2).

  Source: iDDPM (Nichol & Dhariwal 2021) eq. 17.
  """
  t = np.linspace(0, 1, num_steps + 1, dtype=np.float64)
  f = np.cos((t + offset) / (1 + offset) * np.pi / 2) ** 2
  return np.minimum(1 - f[1:] / f[:-1], max_beta)


def sigmoid_betas(
  num_steps: int = 1000, first: float = 1e-4, last: float = 0.02
) -> np.ndarray:
  """Betas along a logistic curve over [-6, 6]. [T] float64.

  Source: GeoDiff (Xu et al. 2022), appendix.
  """
  curve = 1 / (1 + np.exp(-np.linspace(-6, 6, num_steps, dtype=np.float64)))
  return first + (last - first) * curve
