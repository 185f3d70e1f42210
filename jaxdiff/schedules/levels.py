"""Noise levels, log-SNR and its inverse, for any schedule.

A schedule is one function, t in [0, 1] -> NoiseLevel(alpha, sigma). Its
derivatives come from `jax.jvp`; its log-SNR, 2 log(alpha / sigma), is strictly
decreasing.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike


class NoiseLevel(NamedTuple):
  """Scales of the data and of the noise: xt = alpha x0 + sigma eps."""

  alpha: Array
  sigma: Array


Schedule = Callable[[ArrayLike], NoiseLevel]


def log_snr(schedule: Schedule, t: ArrayLike) -> Array:
  """Computes the log signal-to-noise ratio 2 log(alpha / sigma), in nats.

  Returns:
    [...] like t; +inf where sigma is 0 (a table at t = 0).
  """
  alpha, sigma = schedule(t)
  return 2.0 * (jnp.log(alpha) - jnp.log(sigma))


def variance_preserving(log_snr: ArrayLike) -> NoiseLevel:
  """Computes the level with alpha^2 + sigma^2 = 1 at a log-SNR.

  alpha^2 = sigmoid(log_snr), sigma^2 = sigmoid(-log_snr): neither is one minus
  the other, so both keep full precision at both ends. (VDM, eq. 3.)
  """
  return NoiseLevel(
    jnp.sqrt(jax.nn.sigmoid(log_snr)), jnp.sqrt(jax.nn.sigmoid(-log_snr))
  )


def inverse(schedule: Schedule, value: ArrayLike) -> Array:
  """Computes the time at which a schedule has a log-SNR.

  Bisects the 2^30 float32 numbers in [0, 1], whose bits, read as integers, are
  in order: thirty halvings leave one, exact to the last digit near 0 too.

  Args:
    value: [...] log-SNR, in nats; may be infinite.

  Returns:
    t [...], the last at which the log-SNR is at least the value; 0 and 1 for
    values beyond the schedule's ends. Not differentiable.
  """
  value = jnp.asarray(value, jnp.float32)
  as_time = lambda bits: jax.lax.bitcast_convert_type(bits, jnp.float32)
  low = jnp.zeros(value.shape, jnp.int32)
  # One past the bits of 1.0.
  high = jnp.full(value.shape, 0x3F800001, jnp.int32)

  def halve(_: int, ends: tuple[Array, Array]) -> tuple[Array, Array]:
    low, high = ends
    middle = low + (high - low) // 2
    early = log_snr(schedule, as_time(middle)) >= value
    return jnp.where(early, middle, low), jnp.where(early, high, middle)

  return as_time(jax.lax.fori_loop(0, 30, halve, (low, high))[0])
