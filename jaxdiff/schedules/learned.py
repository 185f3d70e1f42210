"""A schedule with parameters: a monotone network for the log-SNR.

  log_snr(t) = max - (max - min) (m(t) - m(0)) / (m(1) - m(0)),
  m(t) = |a| t + sum_j |b_j| sigmoid(|c_j| t + d_j)

m increases because every weight is made positive (by softplus, |.| above), so
the log-SNR decreases strictly from max to min whatever the parameters are.

The continuous-time bound depends on the parameters through the two ends alone;
what lies between changes only the variance of its estimate. Adding the
parameters to a network's (`params = {'network': .., 'schedule': ..}`) and
building the loss from `schedule(params['schedule'])` inside it trains both.

Source: VDM (Kingma et al. 2021) appendix H.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from jaxdiff.schedules.levels import NoiseLevel, Schedule, variance_preserving


def init(
  key: Array,
  width: int = 64,
  log_snr_min: float = -5.0,
  log_snr_max: float = 13.3,
) -> dict[str, Array]:
  """Parameters of a schedule that starts out nearly linear in log-SNR.

  Args:
    key: for the weights.
    width: number of sigmoids.
    log_snr_min, log_snr_max: the ends, at t = 1 and t = 0. (The defaults are
      VDM's.)

  Returns:
    {'min' [], 'span' [], 'slope' [], 'gain' [width], 'rate' [width],
    'offset' [width]}; span, slope, gain and rate before softplus.
  """
  if not log_snr_min < log_snr_max:
    raise ValueError(
      f'log_snr_min must be below log_snr_max, got {log_snr_min} and '
      f'{log_snr_max}'
    )
  # softplus^-1, in a form that does not overflow.
  before = lambda y: y + np.log(-np.expm1(-y))
  full = lambda y, *shape: jnp.full(shape, before(y), jnp.float32)
  # Each sigmoid turns over somewhere in [0, 1], over about a tenth of it.
  centre = jax.random.uniform(key, (width,))
  return {
    'min': jnp.float32(log_snr_min),
    'span': full(log_snr_max - log_snr_min),
    'slope': full(1.0),
    'gain': full(0.1 / width, width),
    'rate': full(10.0, width),
    'offset': -10.0 * centre,
  }


def schedule(params: Mapping[str, Array], learn_ends: bool = True) -> Schedule:
  """The variance-preserving schedule of these parameters.

  Args:
    params: see `init`.
    learn_ends: whether gradients reach 'min' and 'span'; without, the ends stay
      where `init` put them.
  """
  low, span = params['min'], jax.nn.softplus(params['span'])
  if not learn_ends:
    low, span = jax.lax.stop_gradient((low, span))
  slope, gain, rate = (
    jax.nn.softplus(params[name]) for name in ('slope', 'gain', 'rate')
  )

  @jnp.vectorize
  def monotone(t: Array) -> Array:
    bumps = jax.nn.sigmoid(rate * t + params['offset'])
    return slope * t + jnp.sum(gain * bumps)

  def level(t: ArrayLike) -> NoiseLevel:
    t = jnp.asarray(t, jnp.float32)
    first, last = monotone(jnp.float32(0)), monotone(jnp.float32(1))
    # Counted from t = 1, where 1 - part would not meet 0 exactly.
    part = (last - monotone(t)) / (last - first)
    return variance_preserving(low + span * part)

  return level
