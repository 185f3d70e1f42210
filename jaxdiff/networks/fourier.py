"""Random Fourier features of time."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array


class Fourier(nn.Module):
  """Sines and cosines of 2 pi w t, w from N(0, 16^2) and not trained.

  Source: Song et al. 2021 (arXiv:2011.13456), appendix H; Tancik et al. 2020
  (arXiv:2006.10739), section 6.
  """

  @nn.compact
  def __call__(self, t: Array, dim: int, scale: float) -> Array:
    """Embeds t [B] times `scale` as [B, dim]."""
    normal = nn.initializers.normal(16.0)
    w = self.param('frequencies', normal, (dim // 2,))
    angles = 2 * jnp.pi * scale * t[:, None] * jax.lax.stop_gradient(w)[None]
    return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=-1)
