"""The diffusion transformer, DiT, with adaLN-Zero.

An image is cut into patches, each a token. With e the embedding of time and of
the conditions that are vectors, every block makes from swish(e), by a matrix
that starts at zero, two shifts b, two scales a and two gates g:

  x <- x + g_1 attention((1 + a_1) norm(x) + b_1)
  x <- x + attention(norm(x), text)                       with `text_dim`
  x <- x + g_2 mlp((1 + a_2) norm(x) + b_2)

so a new block is the identity. DiT-XL/2 is `patch_size=2, width=1152,
depth=28, num_heads=16, num_classes=1000` and out_channels twice the data's.

The attention to a text stands where PixArt has it, without a gate, its
projection starting at zero. Unlike there it is normed before, and the text has
no MLP of its own.

Source: Peebles and Xie 2022 (arXiv:2212.09748), section 3; Chen et al. 2023
(arXiv:2310.00426), section 2.3.
"""

from functools import partial

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import DTypeLike

from jaxdiff.networks import checks, embedding, layers
from jaxdiff.networks.attention import Attention
from jaxdiff.networks.blocks import modulation, stacked
from jaxdiff.networks.embedding import Cond
from jaxdiff.networks.layers import Dense, kernel_init

NORM_EPS = 1e-6
FREQUENCIES = 256  # dimension of the sinusoidal embedding of time


def positions(height: int, width: int, dim: int) -> np.ndarray:
  """Computes the fixed embedding of positions: sines of column and row.

  With w_i = 10000^(-4 i / dim), i = 0 .. dim / 4 - 1, a position is
  [sin(column w), cos(column w), sin(row w), cos(row w)].

  Args:
    height: Of the grid.
    width: Of the grid.
    dim: A multiple of 4.

  Returns:
    [height width, dim], float32, row by row.

  Source: Peebles and Xie 2022, in the order of the released code.
  """
  frequencies = np.power(10000.0, -4 * np.arange(dim // 4) / dim)
  row, column = np.indices((height, width)).reshape(2, -1, 1) * frequencies
  waves = [np.sin(column), np.cos(column), np.sin(row), np.cos(row)]
  return np.concatenate(waves, axis=-1).astype(np.float32)


class DiTBlock(nn.Module):
  """One block of the module's equations.

  Takes x [B, L, C], emb [B, C] (after the swish), text [B, S, D] or None and
  its mask [B, S] or None; returns [B, L, C], and None for `stacked`.
  """

  num_heads: int
  dtype: DTypeLike

  @nn.compact
  def __call__(
    self, x: Array, emb: Array, text: Array | None, mask: Array | None
  ) -> tuple[Array, None]:
    width = x.shape[-1]
    dense = partial(Dense, dtype=self.dtype, kernel_init=kernel_init)
    attention = partial(Attention, self.num_heads, self.dtype)

    def norm(x):
      return layers.layer_norm(NORM_EPS, self.dtype, affine=False)(x)

    b_1, a_1, g_1, b_2, a_2, g_2 = modulation(emb, 6, width, self.dtype)
    h = (1 + a_1) * norm(x) + b_1
    x = x + g_1 * attention(name='attention')(h)
    if text is not None:
      attend = attention(zero_init=True, name='text_attention')
      x = x + attend(norm(x), text, mask)
    h = dense(4 * width, name='mlp_0')((1 + a_2) * norm(x) + b_2)
    h = dense(width, name='mlp_1')(nn.gelu(h, approximate=True))
    return x + g_2 * h, None


class DiT(nn.Module):
  """The transformer: noisy image and time to an image of `out_channels`.

  The last layer starts at zero, so a new network outputs exactly 0. There is
  no dropout. Time is embedded as in the U-Net.

  Attributes:
    out_channels: Of the output: the data's, or twice that for learned
      variances.
    patch_size: Height and width of a patch; must divide those of the image.
    width: Of a token; a multiple of 4 and of `num_heads`.
    depth: Number of blocks.
    num_heads: Attention heads.

  `num_classes`, `text_dim`, `pooled_dim`, `low_res`, `dtype` and `remat` are
  those of `jaxdiff.networks`.
  """

  out_channels: int
  patch_size: int = 2
  width: int = 384
  depth: int = 12
  num_heads: int = 6
  num_classes: int | None = None
  text_dim: int | None = None
  pooled_dim: int | None = None
  low_res: bool = False
  dtype: DTypeLike = jnp.float32
  remat: bool = False

  @nn.compact
  def __call__(
    self, xt: Array, t: Array, cond: Cond | None = None, *, train: bool = False
  ) -> Array:
    """Computes [B, H, W, out_channels] from images [B, H, W, C], about [-1, 1].

    See `jaxdiff.networks`. `train` is not used.
    """
    sizes = 'out_channels', 'patch_size', 'width', 'depth', 'num_heads'
    checks.check_settings(self, *sizes)
    checks.check_image(xt, t, self.patch_size)
    if self.width % 4 or self.width % self.num_heads:
      raise ValueError(
        f'width must be a multiple of 4 and of num_heads={self.num_heads}, got '
        f'{self.width}'
      )
    kinds = embedding.Kinds(
      self.num_classes, self.text_dim, self.pooled_dim, self.low_res
    )
    embedding.check(kinds, cond, xt.shape[0])

    emb = embedding.embed(
      kinds,
      t,
      cond,
      FREQUENCIES,
      self.width,
      self.dtype,
      init=nn.initializers.normal(0.02),
      label_std=0.02,
    )
    # Every modulation begins with this swish: once here serves them all.
    emb = nn.swish(emb)
    text = mask = None
    if self.text_dim is not None:
      text, mask = cond['text'], cond.get('mask')

    x = embedding.beside_low_res(xt, cond) if self.low_res else xt
    p = self.patch_size
    x = layers.space_to_depth(x, p)
    grid = x.shape[1:3]
    dense = Dense(
      self.width, dtype=self.dtype, kernel_init=kernel_init, name='patch_in'
    )
    x = dense(x.reshape(len(x), grid[0] * grid[1], -1))
    x = x + positions(*grid, self.width)[None].astype(x.dtype)
    blocks = stacked(DiTBlock, self.depth, self.remat)
    x, _ = blocks(self.num_heads, self.dtype, name='blocks')(x, emb, text, mask)

    shift, scale = modulation(emb, 2, self.width, jnp.float32)
    x = layers.layer_norm(NORM_EPS, jnp.float32, affine=False)(x)
    zeros = nn.initializers.zeros
    out = Dense(p * p * self.out_channels, kernel_init=zeros, name='patch_out')
    x = out((1 + scale) * x + shift)
    return layers.depth_to_space(x.reshape(len(x), *grid, -1), p)
