"""What a noise schedule is, and what all of them share.

  xt = alpha(t) x0 + sigma(t) eps,  eps ~ N(0, I);  t = 0 is data, t = 1 prior

A schedule is one function, t in [0, 1] -> NoiseLevel(alpha, sigma); its
derivatives come from `jax.jvp`, and its log-SNR, 2 log(alpha / sigma), is
strictly decreasing. `schedules` has them by name, and these names too.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
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


def inverse(schedule: Schedule, value: ArrayLike) -> Array:
  """The time at which a schedule has a log-SNR: log_snr(schedule, t) = value.

  Bisection, which asks only that the log-SNR decreases. It halves not [0, 1]
  but the 2^30 float32 numbers in it, whose bits, read as integers, are in
  order: thirty halvings leave one, exact to the last digit near 0 too.

  Args:
    schedule: any.
    value: [...] log-SNR, in nats; +-inf are welcome.

  Returns:
    t [...], the last at which the log-SNR is still at least the value; 0 and 1
    for values beyond the schedule's ends. Not differentiable.
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
