"""Fourier features: of pixels, and random ones of time."""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array


def of_pixels(xt: Array, exponents: Sequence[int]) -> Array:
  """Computes sines and cosines of 2 pi 2^n xt for each n.

  The likelihood of an image depends on the last bits of its pixels, which a
  network does not tell apart in values of [-1, 1].

  Args:
    xt: [B, H, W, C], float32.
    exponents: n, K of them; 6 and 7 in the paper's code.

  Returns:
    [B, H, W, 2 K C], all sines before all cosines.

  Source: Kingma et al. 2021 (arXiv:2107.00630), appendix C.
  """
  angles = [2 * jnp.pi * 2.0**n * xt for n in exponents]
  waves = [wave(x) for wave in (jnp.sin, jnp.cos) for x in angles]
  return jnp.concatenate(waves, axis=-1)


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
