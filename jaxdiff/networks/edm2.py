"""The magnitude-preserving U-Net of EDM2.

No layer changes the expected size of what it is given. Weights are normed to
unit length for each output, sums and concatenations are divided by their
expected size, and there are neither biases nor norms with a scale:

  silu(x) / 0.596        sum(a, b) = ((1 - m) a + m b) / sqrt((1 - m)^2 + m^2)

A block of the encoder first norms its input for each pixel, and every block is

  h <- conv(drop(silu(conv(silu(h)) (1 + g W emb)))),  x <- sum(x, h),

followed by cosine attention at some sizes. The gains g start at zero.

EDM2-XS is `channels=128` for latents of 64x64x4 and 1000 classes, S is 192.
With `constrain` beside the optimizer the stored weights are normed after every
step too, the paper's forced weight norm.

Source: Karras et al. 2024 (arXiv:2312.02696), section 2 and appendix B.
"""

from collections.abc import Callable, Sequence
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import DTypeLike

from jaxdiff.cpu import convolution
from jaxdiff.networks import checks, embedding, layers
from jaxdiff.networks.blocks import rematerialised
from jaxdiff.networks.embedding import Cond

EPS = 1e-4  # added to the size by which a vector is divided
BALANCE = 0.3  # m of the residual branch and of attention
CLIP = 256.0  # of activations
HEAD_CHANNELS = 64


class EDM2(nn.Module):
  """The network: noisy image and time to an image of `out_channels`.

  A new network outputs exactly 0. Time enters by random Fourier features.

  Attributes:
    out_channels: Of the output.
    channels: Width of the first level; heads have 64 channels.
    channel_mults: Width of every level, in units of `channels`.
    num_res_blocks: Blocks of a level going down; one more coming up.
    attention_resolutions: Heights of the maps whose blocks attend.
    dropout: Rate, in training.

  `num_classes`, `dtype` and `remat` are those of `jaxdiff.networks`.
  """

  out_channels: int
  channels: int = 192
  channel_mults: Sequence[int] = (1, 2, 3, 4)
  num_res_blocks: int = 3
  attention_resolutions: Sequence[int] = (16, 8)
  dropout: float = 0.0
  num_classes: int | None = None
  dtype: DTypeLike = jnp.float32
  remat: bool | str = False

  @nn.compact
  def __call__(
    self, xt: Array, t: Array, cond: Cond | None = None, *, train: bool = False
  ) -> Array:
    """Computes [B, H, W, out_channels] from images [B, H, W, C], about [-1, 1].

    See `jaxdiff.networks`. In training, dropout takes random keys 'dropout'.
    """
    _check(self, xt, t)
    kinds = embedding.Kinds(self.num_classes)
    embedding.check(kinds, cond, xt.shape[0])
    widths = [self.channels * mult for mult in self.channel_mults]
    block = rematerialised(Block, self.remat)
    emb = self._embed(t, cond, max(widths))

    def run(h, width, name, attend=False, **settings):
      return block(
        width,
        attend=attend,
        dropout=self.dropout,
        deterministic=not train,
        dtype=self.dtype,
        name=name,
        **settings,
      )(h, emb)

    def stage(h, width, name, **settings):
      attend = h.shape[1] in self.attention_resolutions
      return run(h, width, name, attend, **settings)

    one = jnp.ones_like(xt[..., :1])  # in the place of biases
    h = jnp.concatenate([xt, one], axis=-1).astype(self.dtype)
    h = Conv(widths[0], self.dtype, name='conv_in')(h)
    skips = [h]
    for level, width in enumerate(widths):
      if level:
        half = layers.downsample
        h = run(h, widths[level - 1], f'down_{level}', resample=half)
        skips.append(h)
      for i in range(self.num_res_blocks):
        h = stage(h, width, f'encoder_{level}_{i}')
        skips.append(h)

    h = run(h, widths[-1], 'middle_0', True, decoder=True)
    h = run(h, widths[-1], 'middle_1', decoder=True)
    for level, width in reversed(list(enumerate(widths))):
      for i in range(self.num_res_blocks + 1):
        h = concatenate(h, skips.pop())
        h = stage(h, width, f'decoder_{level}_{i}', decoder=True)
      if level:
        double = partial(layers.upsample, size=skips[-1].shape[1:3])
        h = run(h, width, f'up_{level}', resample=double, decoder=True)
    gain = self.param('gain_out', nn.initializers.zeros, ())
    return gain * Conv(self.out_channels, jnp.float32, name='conv_out')(h)

  def _embed(self, t: Array, cond: Cond | None, width: int) -> Array:
    """Embeds time and label. [B, width]"""
    # Constants: drawn once for all networks, of unit variance for any t.
    rng = np.random.default_rng(0)
    frequency = 2 * np.pi * rng.normal(size=self.channels)
    phase = 2 * np.pi * rng.uniform(size=self.channels)
    angles = t[:, None] * jnp.float32(frequency)[None]
    waves = np.sqrt(2) * jnp.cos(angles + jnp.float32(phase)[None])
    emb = Dense(width, self.dtype, name='time')(waves)
    if self.num_classes is not None:
      n = self.num_classes
      label = jnp.full(t.shape, n) if cond is None else cond['label']
      # The null label has no 1 anywhere.
      hot = jnp.sqrt(float(n)) * jax.nn.one_hot(label, n)
      hot = jnp.where((label > n)[:, None], jnp.nan, hot)
      emb = add(emb, Dense(width, self.dtype, name='label')(hot), 0.5)
    return silu(emb)


class Block(nn.Module):
  """One block of the module's equations.

  Takes x [B, H, W, C] and emb [B, E]; returns [B, H', W', features].
  """

  features: int
  attend: bool
  dropout: float
  deterministic: bool
  dtype: DTypeLike
  resample: Callable[[Array], Array] | None = None
  decoder: bool = False

  @nn.compact
  def __call__(self, x: Array, emb: Array) -> Array:
    conv = partial(Conv, self.features, self.dtype)
    if self.resample is not None:
      x = self.resample(x)
    narrow = x.shape[-1] != self.features
    shortcut = conv((1, 1), name='shortcut') if narrow else lambda x: x
    if not self.decoder:
      x = normed(shortcut(x), -1)
    h = conv(name='conv_0')(silu(x))
    gain = self.param('gain', nn.initializers.zeros, ())
    emb = Dense(self.features, self.dtype, name='emb')(emb)
    h = silu(h * (1 + gain * emb)[:, None, None].astype(h.dtype))
    # Flat, as in `layers.ResidualBlock`.
    drop = nn.Dropout(self.dropout, deterministic=self.deterministic)
    h = drop(h.reshape(len(h), -1)).reshape(h.shape)
    h = conv(name='conv_1')(h)
    x = add(shortcut(x) if self.decoder else x, h, BALANCE)
    if self.attend:
      x = add(x, self._attended(x), BALANCE)
    return jnp.clip(x, -CLIP, CLIP)

  def _attended(self, x: Array) -> Array:
    """Attention with queries, keys and values of unit size."""
    b, height, width, c = x.shape
    qkv = Conv(3 * c, self.dtype, (1, 1), name='qkv')(x)
    heads = qkv.reshape(b, height * width, c // HEAD_CHANNELS, HEAD_CHANNELS, 3)
    q, k, v = jnp.moveaxis(normed(heads, -2), -1, 0)
    out = jax.nn.dot_product_attention(q, k, v)
    return Conv(c, self.dtype, (1, 1), name='proj')(out.reshape(x.shape))


class Conv(nn.Module):
  """A convolution whose kernel is normed for each output channel."""

  features: int
  dtype: DTypeLike
  window: tuple[int, int] = (3, 3)

  @nn.compact
  def __call__(self, x: Array) -> Array:
    shape = (*self.window, x.shape[-1], self.features)
    kernel = _unit(self.param('kernel', _normal, shape)).astype(self.dtype)
    x = x.astype(self.dtype)
    if self.window == (1, 1):
      return x @ kernel[0, 0]
    return convolution.conv_general_dilated(
      x, kernel, (1, 1), 'SAME', dimension_numbers=('NHWC', 'HWIO', 'NHWC')
    )


class Dense(nn.Module):
  """A matrix whose columns are normed. [..., C] -> [..., features]"""

  features: int
  dtype: DTypeLike

  @nn.compact
  def __call__(self, x: Array) -> Array:
    shape = (x.shape[-1], self.features)
    kernel = _unit(self.param('kernel', _normal, shape)).astype(self.dtype)
    return x.astype(self.dtype) @ kernel


def normed(x: Array, axes: int | Sequence[int]) -> Array:
  """Divides vectors along axes by the root of their mean square."""
  size = jnp.sqrt(
    jnp.mean(jnp.square(x.astype(jnp.float32)), axes, keepdims=True)
  )
  return x / (EPS + size).astype(x.dtype)


def silu(x: Array) -> Array:
  """x sigmoid(x) / 0.596, which keeps the size of a normal x (equation 81)."""
  return nn.silu(x) / 0.596


def add(a: Array, b: Array, balance: float) -> Array:
  """Sums a and b, `balance` of it b, at their size (equation 88)."""
  total = a + balance * (b - a)
  return total / np.sqrt((1 - balance) ** 2 + balance**2).astype(np.float32)


def concatenate(a: Array, b: Array) -> Array:
  """Concatenates channels of a and b, both with equal weight (equation 103)."""
  num_a, num_b = a.shape[-1], b.shape[-1]
  scale = np.sqrt((num_a + num_b) / 2)
  a, b = a * (scale / num_a**0.5), b * (scale / num_b**0.5)
  return jnp.concatenate([a, b], axis=-1)


def constrain(kernel: Array) -> Array:
  """Norms a stored kernel [..., C, C'] to mean square 1 for each output."""
  return normed(kernel, tuple(range(kernel.ndim - 1)))


def _unit(kernel: Array) -> Array:
  """The kernel that is applied: of length 1 for each output."""
  return constrain(kernel) / np.sqrt(kernel[..., 0].size).astype(np.float32)


def _normal(key: Array, shape: tuple[int, ...]) -> Array:
  # Drawn flat, as `layers.kernel_init`.
  return jax.random.normal(key, (int(np.prod(shape)),)).reshape(shape)


def _check(net: EDM2, xt: Array, t: Array) -> None:
  if not net.channel_mults:
    raise ValueError('channel_mults must name at least one level, got none')
  sizes = 'out_channels', 'channels', 'channel_mults', 'num_res_blocks'
  checks.check_settings(net, *sizes)
  checks.check_image(xt, t, 1)
  if net.channels % HEAD_CHANNELS:
    raise ValueError(
      f'channels must be a multiple of {HEAD_CHANNELS}, the width of a head, '
      f'got {net.channels}'
    )
  heights = [xt.shape[1]]
  for _ in net.channel_mults[1:]:
    heights.append((heights[-1] + 1) // 2)
  if min(xt.shape[1:3]) < 2 ** (len(net.channel_mults) - 1):
    raise ValueError(
      f'{len(net.channel_mults)} levels do not fit an image of '
      f'{xt.shape[1]}x{xt.shape[2]}: shorten channel_mults'
    )
  absent = sorted(set(net.attention_resolutions) - set(heights))
  if absent:
    raise ValueError(
      f'attention_resolutions must be among the heights {heights} of the '
      f'feature maps, got {absent}'
    )
