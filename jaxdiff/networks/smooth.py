"""Maps halved and doubled by a smooth filter, which does not alias.

Source: Song et al. 2021 (arXiv:2011.13456), appendix H; Zhang 2019
(arXiv:1904.11486).
"""

import jax
import jax.numpy as jnp


def downsample(x: jax.Array, pad: int = 1) -> jax.Array:
  """Halves even sides by the filter [1, 3, 3, 1] / 8 along both.

  Zeros are beyond the edges: `pad` of them, or none.

  Takes [B, H, W, C]; returns [B, H / 2, W / 2, C].
  """
  for axis in (1, 2):
    padding = [(0, 0)] * x.ndim
    padding[axis] = (pad, pad)
    x = jnp.pad(x, padding)
    size = (x.shape[axis] - 2) // 2
    a, b, c, d = (
      jax.lax.slice_in_dim(x, i, i + 2 * size - 1, 2, axis) for i in range(4)
    )
    x = (a + 3 * b + 3 * c + d) / 8
  return x


def upsample(x: jax.Array, size: tuple[int, int]) -> jax.Array:
  """Doubles both sides to `size`, 4 times the transpose of `downsample`."""
  for axis in (1, 2):
    padding = [(0, 0)] * x.ndim
    padding[axis] = (1, 1)
    padded = jnp.pad(x, padding)
    before, after = (
      jax.lax.slice_in_dim(padded, i, i + x.shape[axis], 1, axis)
      for i in (0, 2)
    )
    x = jnp.stack([(before + 3 * x) / 4, (3 * x + after) / 4], axis + 1)
    x = x.reshape(*x.shape[:axis], -1, *x.shape[axis + 2 :])
  return x
