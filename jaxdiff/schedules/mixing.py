"""Schedules for categories: xt ~ Cat(alpha x0 + sigma pi), alpha + sigma = 1.

alpha is the probability that an element has not been redrawn from pi by time t.
Gaussian noise has a sum of two variables, this a mixture of two distributions,
but the Schedule is the same. sigma is given beside alpha so that neither is
ever one minus the other. All are exactly (1, 0) at t = 0, as a categorical
process needs.

The continuous-time bound does not depend on the choice; the variance of its
estimate does, and so does where a sampler with even steps spends them.
"""

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from jaxdiff.checks import number, whole
from jaxdiff.schedules.levels import NoiseLevel, Schedule


def linear() -> Schedule:
  """Builds the linear schedule alpha = 1 - t, exactly (0, 1) at t = 1.

  For absorbing noise it is the mutual-information schedule, beta_i = 1 / (T - i
  + 1) on T steps.

  Source: D3PM (Austin et al. 2021) section 3.2.
  """

  def schedule(t: ArrayLike) -> NoiseLevel:
    t = jnp.asarray(t, jnp.float32)
    return NoiseLevel(1.0 - t, t)

  return schedule


def log_linear(eps: float = 1e-3) -> Schedule:
  """Builds the log-linear schedule alpha = 1 - (1 - eps) t.

  -log alpha stays finite: a fraction eps of x0 is left at t = 1. For uniform
  noise that is a small prior term; for absorbing noise an infinite one: use
  `linear` where the bound is wanted.

  Args:
    eps: in [0, 1).

  Source: SEDD (Lou et al. 2024), whose total noise -log alpha is -log(1 - (1 -
  eps) t).
  """
  number('eps', eps, '[0, 1)')

  def schedule(t: ArrayLike) -> NoiseLevel:
    t = jnp.asarray(t, jnp.float32)
    # Counted from t = 1, where 1 - (1 - eps) would have lost digits of eps.
    return NoiseLevel((1.0 - t) + eps * t, (1.0 - eps) * t)

  return schedule


def cosine() -> Schedule:
  """Builds MD4's cosine schedule alpha = 1 - sin(pi t / 2).

  Few masks are lifted at first, more later. sigma, the fraction that is masked,
  is the cosine of MaskGIT (Chang et al. 2022, section 3.3) in the time that
  runs from noise to data.

  Source: MD4 (Shi et al. 2024), its table of schedules.
  """

  def schedule(t: ArrayLike) -> NoiseLevel:
    t = jnp.asarray(t, jnp.float32)
    sigma = jnp.sin(0.5 * jnp.pi * t)
    # 1 - sin x = 2 sin^2((pi / 2 - x) / 2) keeps its digits at t = 1, but is
    # not exactly 1 at t = 0.
    half = jnp.sin(0.25 * jnp.pi * (1.0 - t))
    return NoiseLevel(jnp.where(t < 0.5, 1.0 - sigma, 2.0 * half**2), sigma)

  return schedule


def squared_cosine() -> Schedule:
  """Builds the schedule alpha = cos^2(pi t / 2), sigma = sin^2(pi t / 2).

  It is `offset_cosine` of power 2 without the offset.

  Source: iDDPM (Nichol & Dhariwal 2021) eq. 17.
  """

  def schedule(t: ArrayLike) -> NoiseLevel:
    t = jnp.asarray(t, jnp.float32)
    # cos x = sin(pi / 2 - x), which is exactly 0 at t = 1.
    return NoiseLevel(
      jnp.sin(0.5 * jnp.pi * (1.0 - t)) ** 2, jnp.sin(0.5 * jnp.pi * t) ** 2
    )

  return schedule


def offset_cosine(power: float = 2.0, offset: float = 0.008) -> Schedule:
  """Builds alpha = (cos(pi (t + offset) / (2 + 2 offset)) / its t = 0)^power.

  Args:
    power: 2 is iDDPM's and DiGress's, 1 that of the code of D3PM.
    offset: in [0, 1].

  Source: iDDPM (Nichol & Dhariwal 2021) eq. 17; DiGress (Vignac et al. 2023).
  """
  number('power', power, '[1, 10]')
  number('offset', offset, '[0, 1]')
  rate = 0.5 * np.pi / (1 + offset)
  first = rate * offset

  def schedule(t: ArrayLike) -> NoiseLevel:
    t = jnp.asarray(t, jnp.float32)
    # cos x = sin(pi / 2 - x), which is exactly 0 at t = 1.
    alpha = (jnp.sin(rate * (1.0 - t)) / np.cos(first)) ** power
    # 1 - cos x / cos y = 2 sin((x + y) / 2) sin((x - y) / 2) / cos y keeps its
    # digits at t = 0. Near t = 1 its logarithm is infinite.
    early = jnp.minimum(t, 0.5)
    half = jnp.sin(0.5 * rate * early + first) * jnp.sin(0.5 * rate * early)
    lost = -jnp.expm1(power * jnp.log1p(-2.0 * half / np.cos(first)))
    # At t = 0 alpha may be 1 but for rounding.
    return NoiseLevel(
      jnp.where(t < 0.5, 1.0 - lost, alpha),
      jnp.where(t < 0.5, lost, 1.0 - alpha),
    )

  return schedule


def mutual_information(
  data: ArrayLike, noise: ArrayLike, num_points: int = 1000
) -> Schedule:
  """Builds the mutual-information schedule: I(xt; x0) = (1 - t) H(x0).

  I is that of one element distributed as `data`. It holds exactly at t = i /
  num_points; alpha is linear between. For absorbing noise alpha = 1 - t.

  Args:
    data: [K] the distribution of x0, e.g. the frequencies of the characters.
    noise: [K] pi.
    num_points: of the table.

  Raises:
    ValueError: not two distributions over the same K, or x0 is certain.

  Source: D3PM (Austin et al. 2021) section 3.2.
  """
  whole('num_points', num_points, 1)
  data, noise = np.asarray(data, np.float64), np.asarray(noise, np.float64)
  for name, probs in (('data', data), ('noise', noise)):
    if probs.shape != data.shape or probs.ndim != 1 or (probs < 0).any():
      raise ValueError(
        f'{name} must be probabilities of K categories, got {probs.shape}'
      )
    if not abs(probs.sum() - 1) <= 1e-5:
      raise ValueError(f'{name} must sum to 1, got {probs.sum():g}')
  if (data > 0).sum() < 2:
    raise ValueError('mutual_information needs an x0 that is not certain')

  plog = lambda p: np.where(p > 0, p * np.log(np.where(p > 0, p, 1.0)), 0.0)

  def information(alpha: Array) -> Array:
    alpha = alpha[:, None]
    sigma = 1.0 - alpha
    marginal = plog(alpha * data + sigma * noise).sum(1)
    redrawn = plog(sigma * noise)
    # sum_j q(j | k) log q(j | k): all j but k only come from pi.
    given = plog(alpha + sigma * noise) - redrawn + redrawn.sum(1)[:, None]
    return (given * data).sum(1) - marginal

  grid = np.linspace(0.0, 1.0, num_points + 1)
  wanted = (1.0 - grid) * information(np.ones(1))
  low, high = np.zeros_like(grid), np.ones_like(grid)
  for _ in range(60):
    middle = 0.5 * (low + high)
    below = information(middle) < wanted
    low, high = np.where(below, middle, low), np.where(below, high, middle)
  alpha = 0.5 * (low + high)
  alpha[0], alpha[-1] = 1.0, 0.0
  times, kept, lost = (np.float32(x) for x in (grid, alpha, 1.0 - alpha))

  def schedule(t: ArrayLike) -> NoiseLevel:
    t = jnp.asarray(t, jnp.float32)
    return NoiseLevel(jnp.interp(t, times, kept), jnp.interp(t, times, lost))

  return schedule
