"""Uncertainty of each noise level, learned, by which a loss is divided."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxdiff.checks import whole
from jaxdiff.losses.regression import Params, Uncertainty
from jaxdiff.schedules import Schedule, log_snr


def learned_uncertainty(
  schedule: Schedule, channels: int = 128
) -> tuple[Params, Uncertainty]:
  """Builds EDM2's uncertainty of each noise level, and its first parameters.

  u = w . cos(2 pi (f c + p)) sqrt(2), c = log(sigma / alpha) / 4, with f normal
  and p uniform, drawn once for all runs, and w zero at first.

  Returns:
    The parameters and (params, t[B]) -> u[B].

  Source: EDM2 (Karras et al. 2024, arXiv:2312.02696), equations 14 to 22.
  """
  whole('channels', channels, 1)
  rng = np.random.default_rng(0)
  frequency = np.float32(2 * np.pi * rng.normal(size=channels))
  phase = np.float32(2 * np.pi * rng.uniform(size=channels))

  def one(params: Params, t: Array) -> Array:
    # The log-SNR is infinite where alpha or sigma is 0: clipped.
    level = jnp.clip(-0.125 * log_snr(schedule, t), -10.0, 10.0)
    return params['weight'] @ (2**0.5 * jnp.cos(frequency * level + phase))

  return {'weight': jnp.zeros(channels)}, jax.vmap(one, in_axes=(None, 0))
