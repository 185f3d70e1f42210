"""The diffusion transformer, DiT, with adaLN-Zero.

An image is cut into patches, each a token. With e the embedding of time and of
the conditions that are vectors, every block makes from swish(e), by a matrix
that starts at zero, two shifts b, two scales a and two gates g:

  x <- x + g_1 attention((1 + a_1) norm(x) + b_1)
  x <- x + attention(norm(x), text)                       with `text_dim`
  x <- x + g_2 mlp((1 + a_2) norm(x) + b_2)

so a new block is the identity. DiT-XL/2 is `patch_size=2, width=1152,
depth=28, num_heads=16, num_classes=1000` and out_channels twice the data's.

JiT's networks, on pixels, have further switches, each off by default: JiT-B/16
is `patch_size=16, width=768, depth=12, num_heads=12, num_classes=1000,
patch_channels=128, qk_norm=True, rms_norm=True, swiglu=True, rotary=True,
class_tokens=32, class_tokens_from=4`, trained to predict x0.

The attention to a text stands where PixArt has it, without a gate, its
projection starting at zero. Unlike there it is normed before, and the text has
no MLP of its own.

With `skips`, as in U-ViT, x <- W [x, output of block i] before block depth - i.

Source: Peebles and Xie 2022 (arXiv:2212.09748), section 3; Chen et al. 2023
(arXiv:2310.00426), section 2.3; Li and He 2025 (arXiv:2511.13720), section 4
and appendix A, JiT; Bao et al. 2022 (arXiv:2209.12152), section 3, U-ViT.
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

  Takes x [B, L, C], emb [B, C] (after the swish), text [B, S, D] or None, its
  mask, and a skip [B, L, C] or None; returns [B, L, C], with `collect` twice.
  """

  num_heads: int
  dtype: DTypeLike
  qk_norm: bool
  rms_norm: bool
  swiglu: bool
  grid: tuple[int, int] | None  # of the patches, with rotary attention
  collect: bool = False

  @nn.compact
  def __call__(
    self,
    x: Array,
    emb: Array,
    text: Array | None,
    mask: Array | None,
    skip: Array | None = None,
  ) -> tuple[Array, Array | None]:
    width = x.shape[-1]
    dense = partial(Dense, dtype=self.dtype, kernel_init=kernel_init)
    attention = partial(
      Attention, self.num_heads, self.dtype, qk_norm=self.qk_norm
    )

    if skip is not None:
      x = dense(width, name='skip')(jnp.concatenate([x, skip], -1))
    norm = partial(_norm, rms=self.rms_norm, dtype=self.dtype)
    b_1, a_1, g_1, b_2, a_2, g_2 = modulation(emb, 6, width, self.dtype)
    h = (1 + a_1) * norm(x, 'norm_0') + b_1
    rotary = {'rotary': self.grid is not None, 'grid': self.grid}
    x = x + g_1 * attention(**rotary, name='attention')(h)
    if text is not None:
      attend = attention(zero_init=True, name='text_attention')
      x = x + attend(norm(x, 'norm_text'), text, mask)
    h = (1 + a_2) * norm(x, 'norm_1') + b_2
    if self.swiglu:
      inner = dense(2 * (8 * width // 3), name='mlp_0')(h)
      gate, value = jnp.split(inner, 2, axis=-1)
      h = nn.swish(gate) * value
    else:
      h = nn.gelu(dense(4 * width, name='mlp_0')(h), approximate=True)
    x = x + g_2 * dense(width, name='mlp_1')(h)
    return x, x if self.collect else None


def _norm(x: Array, name: str, rms: bool, dtype: DTypeLike) -> Array:
  """The norm before a modulation; only an RMS norm has a scale of its own."""
  if rms:
    return nn.RMSNorm(NORM_EPS, dtype=dtype, name=name)(x)
  return layers.layer_norm(NORM_EPS, dtype, affine=False)(x)


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
    patch_channels: Channels to which a patch is projected on its way to a
      token, without a bias; None: it becomes a token at once.
    qk_norm: As in `Attention`.
    rms_norm: Whether norms are x / rms(x) with a scale, not layer norms.
    swiglu: Whether MLPs are W (swish(a) b), a and b each 8 / 3 of the width
      (Shazeer 2020, arXiv:2002.05202, equation 6).
    rotary: Whether attention is rotary over rows and columns too.
    class_tokens: How many tokens of the class are put before the patches, each
      its embedding and a learned position.
    class_tokens_from: The block from which on they are there.
    skips: Whether the last half of the blocks reads the first.
    frequency_shift: As in `embedding.sinusoidal`; 0 in the published DiTs.

  `num_classes`, `text_dim`, `pooled_dim`, `low_res`, `second_time`, `dtype`,
  `augment_labels`, `time_scale` and `remat` are those of `jaxdiff.networks`.
  """

  out_channels: int
  patch_size: int = 2
  width: int = 384
  depth: int = 12
  num_heads: int = 6
  patch_channels: int | None = None
  qk_norm: bool = False
  rms_norm: bool = False
  swiglu: bool = False
  rotary: bool = False
  class_tokens: int = 0
  class_tokens_from: int = 0
  skips: bool = False
  frequency_shift: int = 1
  num_classes: int | None = None
  text_dim: int | None = None
  pooled_dim: int | None = None
  low_res: bool = False
  second_time: bool = False
  augment_labels: int = 0
  time_scale: float = 1000.0
  dtype: DTypeLike = jnp.float32
  remat: bool | str = False

  @nn.compact
  def __call__(
    self, xt: Array, t: Array, cond: Cond | None = None, *, train: bool = False
  ) -> Array:
    """Computes [B, H, W, out_channels] from images [B, H, W, C], about [-1, 1].

    See `jaxdiff.networks`. `train` is not used.
    """
    _check(self, xt, t)
    kinds = embedding.Kinds(
      self.num_classes,
      self.text_dim,
      self.pooled_dim,
      self.low_res,
      self.second_time,
      self.time_scale,
      augment_labels=self.augment_labels,
    )
    embedding.check(kinds, cond, xt.shape[0])

    label = embedding.embed_label(kinds, t, cond, self.width, self.dtype, 0.02)
    emb = embedding.embed(
      kinds,
      t,
      cond,
      FREQUENCIES,
      self.width,
      self.dtype,
      init=nn.initializers.normal(0.02),
      label=label,
      waves=partial(embedding.sinusoidal, frequency_shift=self.frequency_shift),
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
    dense = partial(Dense, dtype=self.dtype, kernel_init=kernel_init)
    x = x.reshape(len(x), grid[0] * grid[1], -1)
    if self.patch_channels is not None:
      x = dense(self.patch_channels, use_bias=False, name='patch_down')(x)
    x = dense(self.width, name='patch_in')(x)
    x = x + positions(*grid, self.width)[None].astype(x.dtype)

    def stack(x, depth, name, skips=None, collect=False):
      axes = (nn.broadcast,) * 3 + (0 if skips is not None else nn.broadcast,)
      run = stacked(DiTBlock, depth, self.remat, axes)(
        self.num_heads,
        self.dtype,
        self.qk_norm,
        self.rms_norm,
        self.swiglu,
        grid if self.rotary else None,
        collect,
        name=name,
      )
      return run(x, emb, text, mask, skips)

    def blocks(x, depth, name):
      side = max(depth - 1, 0) // 2 if self.skips else 0
      if side:
        x, outputs = stack(x, side, f'{name}_in', collect=True)
      if depth:
        x, _ = stack(x, depth - 2 * side, name)
      if side:
        x, _ = stack(x, side, f'{name}_out', outputs[::-1])
      return x

    if self.class_tokens:
      x = blocks(x, self.class_tokens_from, 'blocks_before')
      init = nn.initializers.normal(0.02)
      shape = (self.class_tokens, self.width)
      tokens = self.param('class_positions', init, shape)[None]
      tokens = label[:, None] + tokens.astype(x.dtype)
      x = jnp.concatenate([tokens, x], axis=1)
      x = blocks(x, self.depth - self.class_tokens_from, 'blocks')
      x = x[:, self.class_tokens :]
    else:
      x = blocks(x, self.depth, 'blocks')

    shift, scale = modulation(emb, 2, self.width, jnp.float32)
    x = _norm(x, 'norm_out', self.rms_norm, jnp.float32)
    zeros = nn.initializers.zeros
    out = Dense(p * p * self.out_channels, kernel_init=zeros, name='patch_out')
    x = out((1 + scale) * x + shift)
    return layers.depth_to_space(x.reshape(len(x), *grid, -1), p)


def _check(net: DiT, xt: Array, t: Array) -> None:
  sizes = 'out_channels', 'patch_size', 'width', 'depth', 'num_heads'
  checks.check_settings(net, *sizes, 'patch_channels')
  checks.check_image(xt, t, net.patch_size)
  if net.width % 4 or net.width % net.num_heads:
    raise ValueError(
      f'width must be a multiple of 4 and of num_heads={net.num_heads}, got '
      f'{net.width}'
    )
  if net.rotary and net.width // net.num_heads % 4:
    raise ValueError(
      'rotary needs heads of a multiple of 4 channels, got width '
      f'{net.width} and num_heads {net.num_heads}'
    )
  if net.class_tokens < 0 or (net.class_tokens and net.num_classes is None):
    raise ValueError(
      'class_tokens must be 0, or positive with num_classes, got '
      f'{net.class_tokens}'
    )
  if net.skips and (net.depth < 3 or net.class_tokens_from):
    raise ValueError('skips needs depth 3 or more, and class_tokens_from 0')
  if not 0 <= net.class_tokens_from < net.depth:
    raise ValueError(
      f'class_tokens_from must be a block below depth={net.depth}, got '
      f'{net.class_tokens_from}'
    )
