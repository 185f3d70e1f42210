"""Autoencoders of latent diffusion: AutoencoderKL, and one with a codebook.

An encoder halves an image once for each level but the first, a decoder doubles
it back. Both are the residual blocks of the U-Net without time and without
skips; the middle attends:

  encode  conv -> [residual x n, half] .. -> residual, attend, residual
          -> norm, swish, conv -> 1x1
  decode  1x1 -> conv -> residual, attend, residual
          -> [residual x (n + 1), double] .. -> norm, swish, conv

AutoencoderKL encodes an image as a normal distribution of latents,
AutoencoderVQ as the nearest codes of a codebook. The defaults are the
autoencoder of Stable Diffusion.

Source: Rombach et al. 2022 (arXiv:2112.10752), sections 3.1 and G; Esser et al.
2021 (arXiv:2012.09841), section 3.1.
"""

from collections.abc import Sequence
from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

from jaxdiff.networks import attention, checks, layers, upsampled
from jaxdiff.networks.blocks import rematerialised
from jaxdiff.networks.codebook import Codebook, Quantized

EPS = 1e-6  # of all norms
LOG_VARIANCE = (-30.0, 20.0)  # to which it is clipped


class Moments(NamedTuple):
  """Normal distributions of latents; float32."""

  mean: Array  # [B, h, w, latent_channels]
  log_variance: Array  # the same shape; -inf where there is no noise


class Autoencoder(nn.Module):
  """The encoder, the decoder, and 1x1 convolutions on both sides of a latent.

  Attributes:
    image_channels: C of images.
    latent_channels: Of a latent.
    channels: Width in units of `channel_mults`.
    channel_mults: Width of every level, from the image down. A level less than
      there are is the number of halvings.
    num_res_blocks: Residual blocks of a level of the encoder; the decoder has
      one more.
    attention: Whether the middle attends.
    quant: Whether a latent passes a 1x1 convolution on its way in and out.
    num_groups: Groups of the norms; must divide every width.
    dtype: Of computation, float32 or bfloat16.
    remat: Whether to recompute blocks in the backward pass.
  """

  image_channels: int = 3
  latent_channels: int = 4
  channels: int = 128
  channel_mults: Sequence[int] = (1, 2, 4, 4)
  num_res_blocks: int = 2
  attention: bool = True
  quant: bool = True
  num_groups: int = 32
  dtype: DTypeLike = jnp.float32
  remat: bool | str = False

  @property
  def factor(self) -> int:
    """The side length of the square of pixels that is one position."""
    return 2 ** (len(self.channel_mults) - 1)

  @property
  def blocks(self) -> 'Blocks':
    """The blocks of the encoder and of the decoder."""
    return Blocks(
      tuple(self.channels * mult for mult in self.channel_mults),
      self.num_res_blocks,
      self.attention,
      self.num_groups,
      self.dtype,
      self.remat,
    )

  @property
  def encoded_channels(self) -> int:
    """Channels of the output of the encoder."""
    return self.latent_channels

  def setup(self) -> None:
    _check(self)
    self.encoder = Encoder(self.blocks, self.encoded_channels)
    self.decoder = Decoder(self.blocks, self.image_channels)
    if self.quant:
      dense = lambda n: layers.Dense(
        n, dtype=jnp.float32, kernel_init=layers.kernel_init
      )
      self.quant_in = dense(self.encoded_channels)
      self.quant_out = dense(self.latent_channels)

  def _encoded(self, images: Array) -> Array:
    _check_images(self, images)
    h = self.encoder(images)
    return self.quant_in(h) if self.quant else h

  def _decoded(self, latents: Array) -> Array:
    if latents.ndim != 4 or latents.shape[-1] != self.latent_channels:
      raise ValueError(
        f'latents must be [B, h, w, {self.latent_channels}], got shape '
        f'{tuple(latents.shape)}'
      )
    return self.decoder(self.quant_out(latents) if self.quant else latents)


class AutoencoderKL(Autoencoder):
  """Images to normal distributions of latents, and latents to images.

  Its methods are `apply(.., method='moments')` and `method='decode'`. For its
  attributes see `Autoencoder`.
  """

  @property
  def encoded_channels(self) -> int:
    return 2 * self.latent_channels

  def moments(self, images: Array) -> Moments:
    """Computes q(z | x) of images [B, H, W, C] in [-1, 1].

    Returns:
      Mean and log variance, [B, H / factor, W / factor, latent_channels].
    """
    mean, log_variance = jnp.split(self._encoded(images), 2, axis=-1)
    return Moments(mean, jnp.clip(log_variance, *LOG_VARIANCE))

  def decode(self, latents: Array) -> Array:
    """Computes images [B, H, W, C], about [-1, 1], float32."""
    return self._decoded(latents)

  def __call__(self, images: Array) -> Array:
    """Reconstructs images from the means of their latents."""
    return self.decode(self.moments(images).mean)


class AutoencoderVQ(Autoencoder):
  """Images to codes of a codebook, and back.

  Attributes:
    num_codes: Size of the codebook. For the others see `Autoencoder`.
  """

  num_codes: int = 8192

  def setup(self) -> None:
    super().setup()
    self.codebook = Codebook(self.num_codes, self.latent_channels)

  def moments(self, images: Array) -> Moments:
    """Computes latents of images before they become codes: means, no noise."""
    mean = self._encoded(images)
    return Moments(mean, jnp.full_like(mean, -jnp.inf))

  def quantize(self, latents: Array) -> Quantized:
    """Finds the nearest codes of latents [B, h, w, latent_channels]."""
    return self.codebook(latents)

  def decode(self, latents: Array) -> Array:
    """Computes images [B, H, W, C] from the codes nearest to latents."""
    return self._decoded(self.codebook(latents).codes)

  def reconstruct(self, images: Array) -> tuple[Array, Quantized]:
    """Computes images from the codes of images, and those codes."""
    quantized = self.codebook(self._encoded(images))
    return self._decoded(quantized.codes), quantized

  def __call__(self, images: Array) -> Array:
    """Reconstructs images from their codes."""
    return self.reconstruct(images)[0]


class Blocks(NamedTuple):
  """Widths of the levels, and attributes of `Autoencoder`."""

  widths: tuple[int, ...]
  num_res_blocks: int
  attention: bool
  num_groups: int
  dtype: DTypeLike
  remat: bool | str


class Encoder(nn.Module):
  """Images [B, H, W, C] to [B, H / factor, W / factor, features]."""

  blocks: Blocks
  features: int

  @nn.compact
  def __call__(self, images: Array) -> Array:
    net = self.blocks
    h = layers.conv3x3(net.widths[0], net.dtype, 'conv_in')(images)
    for level, width in enumerate(net.widths):
      if level:
        h = layers.conv3x3(h.shape[-1], net.dtype, f'down_{level}', 2)(h)
      for i in range(net.num_res_blocks):
        h = _residual(net, h, width, f'level_{level}_{i}')
    return _out(net, _middle(net, h), self.features)


class Decoder(nn.Module):
  """Latents [B, h, w, latent_channels] to [B, H, W, features], float32."""

  blocks: Blocks
  features: int

  @nn.compact
  def __call__(self, latents: Array) -> Array:
    net = self.blocks
    h = layers.conv3x3(net.widths[-1], net.dtype, 'conv_in')(latents)
    h = _middle(net, h)
    for level, width in reversed(list(enumerate(net.widths))):
      for i in range(net.num_res_blocks + 1):
        h = _residual(net, h, width, f'level_{level}_{i}')
      if level:
        size = (2 * h.shape[1], 2 * h.shape[2])
        name = f'up_{level}'
        h = upsampled.conv_of_upsampled(h, width, size, net.dtype, name)
    return _out(net, h, self.features)


def _residual(net: Blocks, h: Array, features: int, name: str) -> Array:
  block = rematerialised(layers.ResidualBlock, net.remat)
  return block(
    features=features,
    dropout=0.0,
    scale_shift_norm=False,
    resample=None,
    deterministic=True,
    norm_eps=EPS,
    dtype=net.dtype,
    groups=net.num_groups,
    name=name,
  )(h, None)


def _middle(net: Blocks, h: Array) -> Array:
  width = h.shape[-1]
  h = _residual(net, h, width, 'middle_0')
  if net.attention:
    block = rematerialised(attention.AttentionBlock, net.remat)
    attend = block(1, EPS, net.dtype, net.num_groups, name='middle_attention')
    h = attend(h)
  return _residual(net, h, width, 'middle_1')


def _out(net: Blocks, h: Array, features: int) -> Array:
  width = h.shape[-1]
  norm = layers.group_norm(width, EPS, jnp.float32, 'norm_out', net.num_groups)
  return layers.conv3x3(features, jnp.float32, 'conv_out')(nn.swish(norm(h)))


def _check(net: Autoencoder) -> None:
  if not net.channel_mults:
    raise ValueError('channel_mults must name at least one level, got none')
  sizes = 'image_channels', 'latent_channels', 'channels', 'channel_mults'
  checks.check_settings(net, *sizes, 'num_res_blocks', 'num_groups')
  for width in net.blocks.widths:
    if width % net.num_groups:
      raise ValueError(
        f'num_groups must divide the {width} channels of every level, got '
        f'{net.num_groups}'
      )


def _check_images(net: Autoencoder, images: Array) -> None:
  shape = tuple(images.shape)
  if images.ndim != 4 or shape[-1] != net.image_channels:
    raise ValueError(
      f'images must be [B, H, W, {net.image_channels}], got shape {shape}'
    )
  if shape[1] % net.factor or shape[2] % net.factor:
    raise ValueError(
      f'{len(net.channel_mults)} levels need images whose sides are multiples '
      f'of {net.factor}, got {shape[1]}x{shape[2]}'
    )
