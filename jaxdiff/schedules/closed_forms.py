"""Schedules in closed form: cosine, VP, VE, EDM, rectified flow and others."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxdiff.checks import number
from jaxdiff.schedules.levels import NoiseLevel, Schedule, variance_preserving


def cosine(log_snr_min: float = -15.0, log_snr_max: float = 15.0) -> Schedule:
  """Builds the cosine schedule: alpha = cos(angle), sigma = sin(angle).

  The angle is linear in t, over the part of [0, pi/2] where the log-SNR lies
  within [log_snr_min, log_snr_max]; both ends are met exactly. Truncation is
  needed: cos(pi / 2) is -4.4e-8 in float32.

  Example:
    >>> from jaxdiff import schedules
    >>> alpha, sigma = schedules.cosine()(0.5)
    >>> f'{alpha:.4f} {sigma:.4f}'
    '0.7071 0.7071'

  Source: iDDPM (Nichol & Dhariwal 2021) eq. 17, in the truncated continuous
  form of simple diffusion (Hoogeboom et al. 2023), appendix A.
  """
  number('log_snr_min', log_snr_min, '(-inf, inf)')
  number('log_snr_max', log_snr_max, f'({log_snr_min}, inf)')
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
  """Builds the VP schedule, beta(t) = beta_min + t (beta_max - beta_min).

  log alpha = -t^2 (beta_max - beta_min) / 4 - t beta_min / 2. At t = 0 it is
  exactly (1, 0).

  Source: score SDE (Song et al. 2021) eq. 33.
  """
  number('beta_min', beta_min, '[0, inf)')
  number('beta_max', beta_max, f'[{beta_min}, inf)')
  number('beta_max', beta_max, '(0, inf)')

  def schedule(t: ArrayLike) -> NoiseLevel:
    t = jnp.asarray(t, jnp.float32)
    log_alpha = -0.25 * t * t * (beta_max - beta_min) - 0.5 * t * beta_min
    # expm1: sqrt(1 - alpha^2) is 2.4 % off near t = 0 in float32.
    return NoiseLevel(jnp.exp(log_alpha), jnp.sqrt(-jnp.expm1(2 * log_alpha)))

  return schedule


def sub_vp(beta_min: float = 0.1, beta_max: float = 20.0) -> Schedule:
  """Builds the sub-VP schedule: alpha of `linear_vp`, sigma = 1 - alpha^2.

  Less noise than `linear_vp` at every t, and (1, 0) at t = 0.

  Source: score SDE (Song et al. 2021) eq. 29.
  """
  vp = linear_vp(beta_min, beta_max)

  def schedule(t: ArrayLike) -> NoiseLevel:
    alpha, sigma = vp(t)
    return NoiseLevel(alpha, sigma**2)

  return schedule


def ve(sigma_min: float = 0.01, sigma_max: float = 50.0) -> Schedule:
  """Builds the VE schedule: sigma = sigma_min (sigma_max / sigma_min)^t.

  alpha = 1, and the prior is N(0, sigma_max^2). At t = 0 noise of sigma_min is
  left; see `edm` for the step on to none.

  Source: score SDE (Song et al. 2021) eq. 31; NCSN's geometric levels (Song &
  Ermon 2019) are a uniform grid in t.
  """
  number('sigma_min', sigma_min, '(0, inf)')
  number('sigma_max', sigma_max, f'({sigma_min}, inf)')
  first, span = np.log(sigma_min), np.log(sigma_max / sigma_min)

  def schedule(t: ArrayLike) -> NoiseLevel:
    t = jnp.asarray(t, jnp.float32)
    return NoiseLevel(jnp.ones_like(t), jnp.exp(first + span * t))

  return schedule


def edm(
  sigma_min: float = 0.002, sigma_max: float = 80.0, rho: float = 7.0
) -> Schedule:
  """Builds EDM's schedule: alpha = 1, sigma^(1 / rho) linear in t.

  sigma = (sigma_min^(1/rho) + t (sigma_max^(1/rho) - sigma_min^(1/rho)))^rho,
  so an even grid in t from 1 to 0 is the Karras grid from sigma_max to
  sigma_min. The last step of their sampler, from sigma_min to no noise, is not
  a t: it is the estimate of x0 itself, denoiser(x, 0).

  Source: EDM (Karras et al. 2022) eq. 5.
  """
  number('sigma_min', sigma_min, '(0, inf)')
  number('sigma_max', sigma_max, f'({sigma_min}, inf)')
  # Beyond these ends sigma^(1 / rho) leaves float32, or is 1 to its rounding.
  number('rho', rho, '[0.1, 1000]')
  first, last = sigma_min ** (1 / rho), sigma_max ** (1 / rho)

  def schedule(t: ArrayLike) -> NoiseLevel:
    t = jnp.asarray(t, jnp.float32)
    return NoiseLevel(jnp.ones_like(t), (first + t * (last - first)) ** rho)

  return schedule


def rectified_flow() -> Schedule:
  """Builds the rectified flow, alpha = 1 - t, sigma = t: a line to the noise.

  Exactly (1, 0) at t = 0 and (0, 1) at t = 1, where a network that predicts eps
  or the score says nothing of x0: predict the velocity, eps - x0.

  Source: rectified flow (Liu et al. 2023) eq. 1; flow matching (Lipman et al.
  2023) with its optimal-transport path.
  """

  def schedule(t: ArrayLike) -> NoiseLevel:
    t = jnp.asarray(t, jnp.float32)
    return NoiseLevel(1.0 - t, t)

  return schedule


def linear_log_snr(
  log_snr_min: float = -5.0, log_snr_max: float = 13.3
) -> Schedule:
  """Builds the schedule whose log-SNR is linear in t. Variance preserving.

  Source: VDM (Kingma et al. 2021) appendix H, the fixed linear schedule; its
  released configuration for CIFAR-10 begins with these ends.
  """
  number('log_snr_min', log_snr_min, '(-inf, inf)')
  number('log_snr_max', log_snr_max, f'({log_snr_min}, inf)')

  def schedule(t: ArrayLike) -> NoiseLevel:
    t = jnp.asarray(t, jnp.float32)
    return variance_preserving((1.0 - t) * log_snr_max + t * log_snr_min)

  return schedule


def laplace(
  mean: float = 0.0,
  scale: float = 0.5,
  log_snr_min: float = -15.0,
  log_snr_max: float = 15.0,
) -> Schedule:
  """Builds the schedule whose log-SNR has a Laplace distribution for t uniform.

  log_snr(t) is the upper t-quantile of Laplace(mean, scale), truncated to
  [log_snr_min, log_snr_max]: most of the training goes where signal and noise
  are of the same size. Variance preserving.

  Source: Hang et al. 2024, "Improved noise schedule for diffusion training".
  """
  number('mean', mean, '(-inf, inf)')
  number('scale', scale, '(0, inf)')
  number('log_snr_min', log_snr_min, f'(-inf, {mean})')
  number('log_snr_max', log_snr_max, f'({mean}, inf)')
  # Probability beyond each end.
  above = 0.5 * float(np.exp((mean - log_snr_max) / scale))
  below = 0.5 * float(np.exp((log_snr_min - mean) / scale))
  inside = 1.0 - above - below

  def schedule(t: ArrayLike) -> NoiseLevel:
    t = jnp.asarray(t, jnp.float32)
    # The two tails apart, so that neither is one minus the other.
    high = mean - scale * jnp.log(2 * (above + inside * t))
    low = mean + scale * jnp.log(2 * (below + inside * (1.0 - t)))
    return variance_preserving(jnp.where(high > mean, high, low))

  return schedule


def shifted(schedule: Schedule, shift: float) -> Schedule:
  """Builds the schedule with `shift` times the noise for the same data.

  log_snr(t) <- log_snr(t) - 2 log(shift). What is constant of the schedule,
  alpha^2 + sigma^2, alpha + sigma or alpha, stays so. On `rectified_flow` this
  is SD3's change of time, t <- shift t / (1 + (shift - 1) t).

  Args:
    schedule: with one of the three equal to 1.
    shift: more than 1 for images larger than the schedule was made for: the
      ratio of their side lengths.

  Raises:
    ValueError: shift is not positive, or none of the three is 1.

  Source: simple diffusion (Hoogeboom et al. 2023) section 3.1; SD3 (Esser et
  al. 2024) eq. 23.
  """
  number('shift', shift, '(0, inf)')
  for total in (
    lambda alpha, sigma: alpha,
    lambda alpha, sigma: alpha + sigma,
    lambda alpha, sigma: jnp.sqrt(alpha**2 + sigma**2),
  ):
    # A number even where the caller is being traced.
    with jax.ensure_compile_time_eval():
      kept = total(*schedule(np.array([0.25, 0.5, 0.75])))
    if np.allclose(kept, 1.0, atol=1e-5):
      break
  else:
    raise ValueError(
      'shifted needs a schedule with alpha^2 + sigma^2 = 1, alpha + sigma = 1 '
      'or alpha = 1, so as to keep it'
    )

  def moved(t: ArrayLike) -> NoiseLevel:
    alpha, sigma = schedule(t)
    norm = total(alpha, shift * sigma)
    return NoiseLevel(alpha / norm, shift * sigma / norm)

  return moved
