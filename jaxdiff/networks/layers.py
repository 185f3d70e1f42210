"""Layers that several networks share: norms, convolutions, residual blocks.

Parameters are float32 always. `dtype` is the type a layer computes in and
returns; means, variances and softmax are float32 whatever it is.
"""

import math
from collections.abc import Callable
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from jaxdiff.cpu import convolution, products

# For what is trained: its gradients are fast on a CPU too.
Dense = partial(nn.Dense, dot_general=products.dot_general)


def kernel_init(
  key: jax.Array, shape: tuple[int, ...], dtype: DTypeLike = jnp.float32
) -> jax.Array:
  """Draws a kernel from U(-a, a), a^2 = 6 / (fan_in + fan_out).

  Every DDPM kernel that does not start at zero starts so. That is
  `nn.initializers.glorot_uniform()` drawn flat: XLA on CPU compiles a draw of
  four dimensions several times slower, and a U-Net draws fifty.

  Args:
    key: random key.
    shape: [..., in, out]; what stands before is the receptive field.
    dtype: of the result.

  Source: Glorot and Bengio 2010, equation 16.
  """
  field = math.prod(shape[:-2])
  bound = math.sqrt(6 / (field * (shape[-2] + shape[-1])))
  flat = jax.random.uniform(key, (math.prod(shape),), dtype, -1.0, 1.0)
  return (bound * flat).reshape(shape)


def num_groups(channels: int) -> int:
  """Groups for a norm over `channels`: as many as divide it, within limits.

  The largest divisor g <= 32 of `channels` with channels / g >= 4, or 1 below
  4 channels. That is the usual 32 at every multiple of 32 from 128 up. A
  narrower network keeps groups of at least four channels, for a group of one
  channel in a small map would normalise away what it carries.
  """
  most = min(32, max(channels // 4, 1))
  return max(g for g in range(1, most + 1) if channels % g == 0)


class GroupNorm(nn.Module):
  """Group norm of [B, ..., C] over positions and the channels of a group.

  y = (x - mean) / sqrt(var + eps) scale + bias, statistics in float32.

  A group's moments are means of its channels' moments: a sum over positions
  reads x as it lies, one of a group does not, which is slow in XLA on CPU.

  Source: Wu and He 2018 (arXiv:1803.08494), equations 1, 2, 6 and 7.
  """

  num_groups: int
  eps: float
  dtype: DTypeLike

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    features = x.shape[-1]
    scale = self.param('scale', nn.initializers.ones, (features,))
    bias = self.param('bias', nn.initializers.zeros, (features,))
    positions = tuple(range(1, x.ndim - 1))

    def mean(x):
      """Of each group, for each of its channels: [B, 1, .., C]."""
      m = jnp.mean(x, positions, keepdims=True)
      grouped = m.reshape(*m.shape[:-1], self.num_groups, -1)
      over = jnp.mean(grouped, -1, keepdims=True)
      return jnp.broadcast_to(over, grouped.shape).reshape(m.shape)

    x = jnp.asarray(x, jnp.float32)
    # E[x^2] - E[x]^2 would lose its digits where the mean is far from zero.
    x = x - mean(x)
    wide = (1,) * (x.ndim - 1) + (-1,)
    factor = jax.lax.rsqrt(mean(x * x) + self.eps) * scale.reshape(wide)
    return (x * factor + bias.reshape(wide)).astype(self.dtype)


def group_norm(
  channels: int,
  eps: float,
  dtype: DTypeLike,
  name: str,
  groups: int | None = None,
) -> GroupNorm:
  """Group norm of `channels` channels in `groups`, or `num_groups`, groups."""
  return GroupNorm(groups or num_groups(channels), eps, dtype, name=name)


def layer_norm(
  eps: float, dtype: DTypeLike, name: str | None = None, affine: bool = True
) -> nn.LayerNorm:
  """Layer norm over the last axis, with scale and bias if `affine`.

  y = (x - mean) / sqrt(var + eps) scale + bias, statistics in float32.

  Source: Ba et al. 2016 (arXiv:1607.06450), equation 4.
  """
  return nn.LayerNorm(
    epsilon=eps,
    dtype=dtype,
    use_scale=affine,
    use_bias=affine,
    use_fast_variance=False,  # as in group_norm
    name=name,
  )


def downsample(x: jax.Array) -> jax.Array:
  """Means of 2x2 blocks: [B, H, W, C] -> [B, ceil(H/2), ceil(W/2), C].

  At an odd edge, the mean of those pixels of the block that exist.
  """
  odd_h, odd_w = x.shape[1] % 2, x.shape[2] % 2
  if odd_h or odd_w:  # a repeated edge leaves the mean over it as it was
    x = jnp.pad(x, ((0, 0), (0, odd_h), (0, odd_w), (0, 0)), mode='edge')
  b, h, w, c = x.shape
  return x.reshape(b, h // 2, 2, w // 2, 2, c).mean((2, 4))


def upsample(x: jax.Array, size: tuple[int, int]) -> jax.Array:
  """Repeats each pixel 2x2 and crops bottom and right to `size` = (H, W).

  [B, ceil(H/2), ceil(W/2), C] -> [B, H, W, C].
  """
  b, h, w, c = x.shape
  x = jnp.broadcast_to(x[:, :, None, :, None, :], (b, h, 2, w, 2, c))
  return x.reshape(b, 2 * h, 2 * w, c)[:, : size[0], : size[1]]


def space_to_depth(x: jax.Array, size: int) -> jax.Array:
  """Squares of size x size pixels as one: [B, H, W, C] -> [B, H / size, W /
  size, size^2 C]."""
  b, height, width, _ = x.shape
  grid = (height // size, width // size)
  x = x.reshape(b, grid[0], size, grid[1], size, -1).swapaxes(2, 3)
  return x.reshape(b, *grid, -1)


def depth_to_space(x: jax.Array, size: int) -> jax.Array:
  """The inverse of `space_to_depth`."""
  b, height, width, _ = x.shape
  x = x.reshape(b, height, width, size, size, -1).swapaxes(2, 3)
  return x.reshape(b, height * size, width * size, -1)


def conv3x3(
  features: int,
  dtype: DTypeLike,
  name: str,
  strides: int = 1,
  zero: bool = False,
  convolve: Callable[..., jax.Array] = convolution.conv_general_dilated,
  padding: str | int = 'SAME',
) -> nn.Conv:
  """A 3x3 convolution; stride 2 pads even sizes at the bottom and right.

  With `padding` 1 it pads every size on all sides.
  """
  init = nn.initializers.zeros if zero else kernel_init
  return nn.Conv(
    features,
    (3, 3),
    strides,
    dtype=dtype,
    kernel_init=init,
    padding=padding,
    conv_general_dilated=convolve,
    name=name,
  )


class ResidualBlock(nn.Module):
  """x + f(x, emb): two convolutions, told the time between them.

  f is norm, swish, [resample], conv; then h + W emb and norm, or with
  `scale_shift_norm` norm(h) (1 + W_1 emb) + W_2 emb; then swish, dropout and a
  conv that starts at zero. `resample` (ADM) also moves x to the new size.

  Takes x [B, H, W, C] and emb [B, E], None without time; returns [B, H', W',
  features].
  """

  features: int
  dropout: float
  scale_shift_norm: bool
  resample: Callable[[jax.Array], jax.Array] | None
  deterministic: bool
  norm_eps: float
  dtype: DTypeLike
  groups: int | None = None  # of the norms, as in `group_norm`
  # Divide the sum by sqrt(2), and project every x that is resampled.
  unit_sum: bool = False

  @nn.compact
  def __call__(self, x: jax.Array, emb: jax.Array | None) -> jax.Array:
    dense = partial(Dense, dtype=self.dtype, kernel_init=kernel_init)

    def norm(h, name):
      settings = self.norm_eps, self.dtype, name, self.groups
      return group_norm(h.shape[-1], *settings)(h)

    h = nn.swish(norm(x, 'norm_0'))
    if self.resample is not None:
      h, x = self.resample(h), self.resample(x)
    h = conv3x3(self.features, self.dtype, 'conv_0')(h)

    if emb is not None:
      width = 2 * self.features if self.scale_shift_norm else self.features
      emb = dense(width, name='emb')(emb)[:, None, None, :]
    if self.scale_shift_norm:
      scale, shift = jnp.split(emb, 2, axis=-1)
      h = norm(h, 'norm_1') * (1 + scale) + shift
    else:
      h = norm(h if emb is None else h + emb, 'norm_1')
    # Dropped as [B, H W C]: XLA on CPU is slow to compile a draw of four
    # dimensions, and there is one in every block.
    h = nn.swish(h)
    drop = nn.Dropout(self.dropout, deterministic=self.deterministic)
    h = drop(h.reshape(h.shape[0], -1)).reshape(h.shape)
    h = conv3x3(self.features, self.dtype, 'conv_1', zero=True)(h)

    resampled = self.unit_sum and self.resample is not None
    if x.shape[-1] != self.features or resampled:
      x = dense(self.features, name='shortcut')(x)
    return math.sqrt(0.5) * (x + h) if self.unit_sum else x + h
