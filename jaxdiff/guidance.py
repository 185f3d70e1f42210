"""Guidance: Denoiser -> Denoiser.

Whatever changes the estimate of x0 before a sampler uses it wraps the
denoiser; the sampler does not know. Scales may be traced: changing one never
recompiles.
"""

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from jaxdiff.samplers import Denoiser


def clip(denoiser: Denoiser, low: float = -1.0, high: float = 1.0) -> Denoiser:
  """The estimate of x0, held to the data's range. (DDPM, official code.)"""
  return lambda xt, t: jnp.clip(denoiser(xt, t), low, high)


def dynamic_threshold(
  denoiser: Denoiser, quantile: ArrayLike = 0.995
) -> Denoiser:
  """Each estimate clipped at a quantile of its own size, then scaled back.

  With p the quantile of |x0| over one example and c = max(p, 1),
  x0 <- clip(x0, -c, c) / c: strong guidance does not saturate it.

  Args:
    denoiser: estimates x0 for data in [-1, 1].
    quantile: in (0, 1].

  Source: Imagen (Saharia et al. 2022) section 2.3.
  """

  def thresholded(xt: Array, t: Array) -> Array:
    x0 = denoiser(xt, t)
    dims = tuple(range(1, x0.ndim))
    size = jnp.quantile(jnp.abs(x0), quantile, axis=dims, keepdims=True)
    size = jnp.maximum(size, 1.0)
    return jnp.clip(x0, -size, size) / size

  return thresholded
