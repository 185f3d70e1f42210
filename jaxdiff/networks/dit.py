"""The diffusion transformer, DiT with adaLN-Zero.

An image is cut into patches, each a token. With e the embedding of time and of
the conditions that are vectors, every block makes from swish(e), by a matrix
that starts at zero, two shifts b, two scales a and two gates g:

  x <- x + g_1 attention((1 + a_1) norm(x) + b_1)
  x <- x + attention(norm(x), text)                       with `text_dim`
  x <- x + g_2 mlp((1 + a_2) norm(x) + b_2)

so a new block is the identity. DiT-XL/2 is `patch_size=2, width=1152,
depth=28, num_heads=16, num_classes=1000` and out_channels twice the data's.

The attention to a text stands where PixArt has it, ungated, its projection
starting at zero; here it is normed before, and takes the text's keys and
values without an MLP of their own.

Source: Peebles and Xie 2022 (arXiv:2212.09748), section 3; Chen et al. 2023
(arXiv:2310.00426), section 2.3.
"""

from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from jaxdiff.networks import embedding, layers
from jaxdiff.networks.attention import Attention

NORM_EPS = 1e-6
FREQUENCIES = 256  # dimension of the sinusoidal embedding of time


def positions(height: int, width: int, dim: int) -> np.ndarray:
  """Sines and cosines of column and row, the fixed embedding of positions.

  With w_i = 10000^(-4 i / dim), i = 0 .. dim / 4 - 1, a position is
  [sin(column w), cos(column w), sin(row w), cos(row w)].

  Args:
    height: of the grid.
    width: of the grid.
    dim: a multiple of 4.

  Returns:
    [height width, dim], float32, row by row.

  Source: Peebles and Xie 2022, in the order of the released code.
  """
  frequencies = np.power(10000.0, -4 * np.arange(dim // 4) / dim)
  row, column = np.indices((height, width)).reshape(2, -1, 1) * frequencies
  waves = [np.sin(column), np.cos(column), np.sin(row), np.cos(row)]
  return np.concatenate(waves, axis=-1).astype(np.float32)


class DiTBlock(nn.Module):
  """One block, as the module has it.

  Takes x [B, L, C], emb [B, C] (after the swish), text [B, S, D] or None and
  its mask [B, S] or None; returns [B, L, C], and None for `nn.scan`.
  """

  num_heads: int
  dtype: DTypeLike

  @nn.compact
  def __call__(
    self,
    x: jax.Array,
    emb: jax.Array,
    text: jax.Array | None,
    mask: jax.Array | None,
  ) -> tuple[jax.Array, None]:
    width = x.shape[-1]

    def dense(features, name):
      return layers.Dense(
        features, dtype=self.dtype, kernel_init=layers.kernel_init, name=name
      )

    def norm(x):
      return layers.layer_norm(NORM_EPS, self.dtype, affine=False)(x)

    b_1, a_1, g_1, b_2, a_2, g_2 = _modulation(emb, 6, self.dtype)
    attend = Attention(self.num_heads, self.dtype, name='attention')
    x = x + g_1 * attend((1 + a_1) * norm(x) + b_1)
    if text is not None:
      attend = Attention(
        self.num_heads, self.dtype, zero_init=True, name='text_attention'
      )
      x = x + attend(norm(x), text, mask)
    h = dense(4 * width, 'mlp_0')((1 + a_2) * norm(x) + b_2)
    h = dense(width, 'mlp_1')(nn.gelu(h, approximate=True))
    return x + g_2 * h, None


class DiT(nn.Module):
  """The transformer: noisy image and time to an image of `out_channels`.

  The last layer starts at zero, so a new network outputs exactly 0. There is
  no dropout. Time is embedded as in the U-Net.

  Attributes:
    out_channels: of the output; the data's, or twice that where variances are
      learned too.
    patch_size: height and width of a patch; must divide those of the image.
    width: of a token; a multiple of 4 and of `num_heads`.
    depth: number of blocks.
    num_heads: attention heads.
    num_classes: labels; their embedding is added to that of time. None: no
      labels.
    text_dim: D of a text to attend to. None: no text.
    pooled_dim: P of a text as one vector, whose projection is added to the
      embedding of time. None: no vector.
    low_res: a smaller image is given, resized and concatenated to xt, and the
      embedding of its noise is added to that of time.
    dtype: of computation, float32 or bfloat16. Parameters, the norms'
      statistics, softmax and the output layer are float32.
    remat: recompute each block in the backward pass instead of keeping what is
      inside: the same numbers, less memory, about a third more work.
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
    self,
    xt: jax.Array,
    t: jax.Array,
    cond: Mapping[str, jax.Array] | None = None,
    *,
    train: bool = False,
  ) -> jax.Array:
    """Applies the network.

    Args:
      xt: noisy images [B, H, W, C], float32, of the order of [-1, 1].
      t: times in [0, 1], [B].
      cond: what the network was built for, as `conditions` lists it. None is
        the null label for all. A label above the null label gives NaN.
      train: changes nothing.

    Returns:
      [B, H, W, out_channels], float32.

    Raises:
      ValueError: settings out of range; an image that patches do not tile;
        conditions other than those the network was built for.
    """
    _check(self, xt, t)
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
    x = layers.Dense(
      self.width,
      dtype=self.dtype,
      kernel_init=layers.kernel_init,
      name='patch_in',
    )(x.reshape(len(x), grid[0] * grid[1], -1))
    x = x + positions(*grid, self.width)[None].astype(x.dtype)
    # A loop, its parameters stacked: one block is compiled, not `depth`, and
    # XLA on CPU cannot fuse the residuals of later blocks into earlier ones,
    # which was most of the time of a training step at depth 6.
    block = nn.remat(DiTBlock, prevent_cse=False) if self.remat else DiTBlock
    blocks = nn.scan(
      block,
      variable_axes={'params': 0},
      split_rngs={'params': True},
      in_axes=nn.broadcast,
      length=self.depth,
    )(self.num_heads, self.dtype, name='blocks')
    x, _ = blocks(x, emb, text, mask)

    shift, scale = _modulation(emb, 2, jnp.float32)
    x = layers.layer_norm(NORM_EPS, jnp.float32, affine=False)(x)
    x = layers.Dense(
      p * p * self.out_channels,
      kernel_init=nn.initializers.zeros,
      name='patch_out',
    )((1 + scale) * x + shift)
    return layers.depth_to_space(x.reshape(len(x), *grid, -1), p)


def _modulation(emb, parts, dtype):
  """W emb in `parts`, each [B, 1, C]; W starts at zero."""
  modulation = layers.Dense(
    parts * emb.shape[-1],
    dtype=dtype,
    kernel_init=nn.initializers.zeros,
    name='modulation',
  )(emb)
  return jnp.split(modulation[:, None], parts, axis=-1)


def _check(net: DiT, xt: jax.Array, t: jax.Array) -> None:
  """Raises ValueError for settings or inputs that make no network."""
  if xt.ndim != 4 or t.shape != xt.shape[:1]:
    raise ValueError(
      'xt must be [B, H, W, C] and t [B], got shapes '
      f'{tuple(xt.shape)} and {tuple(t.shape)}'
    )
  if jnp.dtype(net.dtype) not in (jnp.float32, jnp.bfloat16):
    raise ValueError(f'dtype must be float32 or bfloat16, got {net.dtype}')
  for name in ('out_channels', 'patch_size', 'width', 'depth', 'num_heads'):
    if getattr(net, name) < 1:
      raise ValueError(f'{name} must be at least 1, got {getattr(net, name)}')
  if net.width % 4 or net.width % net.num_heads:
    raise ValueError(
      f'width must be a multiple of 4 and of num_heads={net.num_heads}, got '
      f'{net.width}'
    )
  if xt.shape[1] % net.patch_size or xt.shape[2] % net.patch_size:
    raise ValueError(
      f'patch_size must divide the height and width of a '
      f'{xt.shape[1]}x{xt.shape[2]} image, got {net.patch_size}'
    )
