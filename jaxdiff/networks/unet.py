"""The U-Net of DDPM, with the options of ADM, DDPM++ and Stable Diffusion.

Feature maps on several levels, each half the height and width of the one above.
The encoder goes down and keeps every map; the decoder comes up and, before each
of its blocks, concatenates the kept map of that depth:

  h -> [residual, attend?] x n -> half -> ... -> residual, attend, residual
  -> ... -> [concatenate, residual, attend?] x (n + 1) -> double -> ...

ADM's networks are `scale_shift_norm=True, resblock_updown=True,
head_channels=64, attention_resolutions=(32, 16, 8), norm_eps=1e-5` with
out_channels twice the data's, for its learned variances. Stable Diffusion 1
is, for latents of 64x64x4, `channels=320, channel_mults=(1, 2, 4, 4),
attention_resolutions=(64, 32, 16), num_heads=8, norm_eps=1e-5, text_dim=768,
cosine_first=True, frequency_shift=0, padded_halving=True`. EDM's for CIFAR-10
is `variant='ddpm++', channel_mults=(2, 2, 2), num_res_blocks=4,
resblock_updown=True`.

Source: Ho et al. 2020 (arXiv:2006.11239), appendix B; Dhariwal and Nichol 2021
(arXiv:2105.05233), section 3; Rombach et al. 2022 (arXiv:2112.10752); Karras et
al. 2022 (arXiv:2206.00364), appendix F.2.
"""

import math
from collections.abc import Sequence
from functools import partial

import flax.linen as nn
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

from jaxdiff.networks import (
  attention,
  embedding,
  fourier,
  layers,
  smooth,
  unet_checks,
  upsampled,
)
from jaxdiff.networks.blocks import rematerialised
from jaxdiff.networks.embedding import Cond


class UNet(nn.Module):
  """The U-Net: noisy image and time to an image of `out_channels`.

  The last convolution starts at zero, so a new network outputs exactly 0.

  Attributes:
    out_channels: Of the output: the data's, or twice that for learned
      variances.
    channels: Width of the first level; even, at least 4.
    channel_mults: Width of every level, from the top, in units of `channels`.
    num_res_blocks: Residual blocks of a level going down; one more coming up.
    attention_resolutions: Heights of the feature maps whose blocks attend. The
      middle always attends.
    num_heads: Attention heads, unless `head_channels` is set.
    head_channels: Width of one head (ADM): more channels, more heads.
    dropout: Rate, in residual blocks, in training.
    scale_shift_norm: Whether time scales and shifts the second norm (ADM).
    resblock_updown: Whether residual blocks change the size, by average and
      repeat (ADM); else a stride-2 convolution, and one after repeat.
    patch_size: Side length of the squares of pixels that are one position of
      the first level (Hoogeboom et al. 2023, "simple diffusion", section 3.2):
      the work falls with its square. Heights are then in these positions.
    transformer_depth: Blocks of a spatial transformer, which attends to a text
      where blocks attend.
    transformer_depths: The same for each level (SDXL); the middle has the last.
    beside: Channels of the condition `beside`, a map that is concatenated to
      the noisy image: a mask and a masked image, of a network that fills in.
    pooled_mlp: Whether the vector `pooled` passes two layers, and not one.
    norm_eps: Added to the variance in norms: 1e-6 in DDPM, 1e-5 in ADM.
    num_groups: Groups of the norms; None: `layers.num_groups` of each width.
    cosine_first, frequency_shift: Of the embedding of time, see
      `embedding.sinusoidal`.
    padded_halving: Whether convolutions that halve a map pad it on all sides,
      and not at the bottom and right alone.
    variant: 'ddpm++' (Song et al. 2021, section 4.3): sums are divided by
      sqrt(2), residual blocks that change the size project what they skip, of
      the decoder's blocks the last of a level attends, and labels are embedded
      beside the time, before its two layers. 'ncsn++': also random frequencies
      of time, a smooth filter where the size changes, and the noisy image added
      on every level going down.
    pixel_exponents: n of Fourier features of the pixels, sines and cosines of
      2 pi 2^n xt beside xt; none by default, see `fourier.of_pixels`.

  `num_classes`, `text_dim`, `pooled_dim`, `low_res`, `second_time`, `dtype`,
  `augment_labels`, `time_scale` and `remat` are those of `jaxdiff.networks`.
  """

  out_channels: int
  channels: int = 128
  channel_mults: Sequence[int] = (1, 2, 2, 2)
  num_res_blocks: int = 2
  attention_resolutions: Sequence[int] = (16,)
  num_heads: int = 1
  head_channels: int | None = None
  dropout: float = 0.0
  scale_shift_norm: bool = False
  resblock_updown: bool = False
  patch_size: int = 1
  num_classes: int | None = None
  text_dim: int | None = None
  transformer_depth: int = 1
  transformer_depths: Sequence[int] = ()
  pooled_dim: int | None = None
  pooled_mlp: bool = False
  beside: int = 0
  low_res: bool = False
  second_time: bool = False
  augment_labels: int = 0
  time_scale: float = 1000.0
  norm_eps: float = 1e-6
  num_groups: int | None = None
  cosine_first: bool = False
  frequency_shift: int = 1
  padded_halving: bool = False
  variant: str = 'ddpm'
  pixel_exponents: Sequence[int] = ()
  dtype: DTypeLike = jnp.float32
  remat: bool | str = False

  @nn.compact
  def __call__(
    self, xt: Array, t: Array, cond: Cond | None = None, *, train: bool = False
  ) -> Array:
    """Computes [B, H, W, out_channels] from images [B, H, W, C], about [-1, 1].

    See `jaxdiff.networks`. In training, dropout takes random keys 'dropout'.
    """
    unet_checks.check(self, xt, t)
    kinds = embedding.Kinds(
      self.num_classes,
      self.text_dim,
      self.pooled_dim,
      self.low_res,
      self.second_time,
      self.time_scale,
      self.pooled_mlp,
      self.beside,
      self.augment_labels,
    )
    embedding.check(kinds, cond, xt.shape[0])
    again = partial(rematerialised, remat=self.remat)
    residual_block = again(layers.ResidualBlock)
    attention_block = again(attention.AttentionBlock)
    text_block = again(attention.SpatialTransformer)

    waves = partial(
      embedding.sinusoidal,
      cosine_first=self.cosine_first,
      frequency_shift=self.frequency_shift,
    )
    width = 4 * self.channels
    plus, ncsn = self.variant != 'ddpm', self.variant == 'ncsn++'
    num_waves = (2 if ncsn else 1) * self.channels
    early: Array | float = 0.0
    if plus and self.num_classes is not None:
      early = embedding.embed_label(kinds, t, cond, num_waves, self.dtype)
      kinds = kinds._replace(num_classes=None)
    if ncsn:
      waves = fourier.Fourier(name='time')
    emb = embedding.embed(
      kinds,
      t,
      cond,
      num_waves,
      width,
      self.dtype,
      waves=waves,
      early=early,
    )
    # Every residual block begins with this swish: once here serves them all.
    emb = nn.swish(emb)

    def residual(h, features, name, resample=None):
      return residual_block(
        features=features,
        dropout=self.dropout,
        scale_shift_norm=self.scale_shift_norm,
        resample=resample,
        deterministic=not train,
        norm_eps=self.norm_eps,
        dtype=self.dtype,
        groups=self.num_groups,
        unit_sum=plus,
        name=name,
      )(h, emb)

    def attend(h, name, level):
      heads = self.num_heads
      if self.head_channels is not None:
        heads = h.shape[-1] // self.head_channels
      if self.text_dim is None:
        settings = heads, self.norm_eps, self.dtype, self.num_groups, plus
        return attention_block(*settings, name=name)(h)
      depths = self.transformer_depths or [self.transformer_depth] * len(widths)
      settings = heads, depths[level], self.dtype, self.num_groups
      block = text_block(*settings, name=name)
      return block(h, cond['text'], cond.get('mask'))

    def stage(h, features, name, level, attends=True):
      h = residual(h, features, name)
      if attends and h.shape[1] in self.attention_resolutions:
        h = attend(h, f'{name}_attention', level)
      return h

    widths = [self.channels * mult for mult in self.channel_mults]
    halving = {'strides': 2, 'padding': 1 if self.padded_halving else 'SAME'}

    h = embedding.beside_low_res(xt, cond) if self.low_res else xt
    if self.pixel_exponents:
      features = fourier.of_pixels(xt, self.pixel_exponents)
      h = jnp.concatenate([h, features], axis=-1)
    if self.beside:
      h = jnp.concatenate([h, cond['beside']], axis=-1)
    side = layers.space_to_depth(h, self.patch_size)
    h = layers.conv3x3(self.channels, self.dtype, 'conv_in')(side)
    skips = [h]
    halve = smooth.downsample if ncsn else layers.downsample
    double = smooth.upsample if ncsn else layers.upsample
    for level, width in enumerate(widths):
      if level:
        name = f'down_{level}'
        if self.resblock_updown:
          h = residual(h, h.shape[-1], name, halve)
        else:
          h = layers.conv3x3(h.shape[-1], self.dtype, name, **halving)(h)
        if ncsn:
          settings = h.shape[-1], self.dtype, f'side_{level}'
          side = layers.conv3x3(*settings, padding=2)(side)
          side = halve(side, pad=0)
          h = side = math.sqrt(0.5) * (h + side)
        skips.append(h)
      for i in range(self.num_res_blocks):
        h = stage(h, width, f'encoder_{level}_{i}', level)
        skips.append(h)

    h = residual(h, h.shape[-1], 'middle_0')
    h = attend(h, 'middle_attention', len(widths) - 1)
    h = residual(h, h.shape[-1], 'middle_1')

    for level, width in reversed(list(enumerate(widths))):
      for i in range(self.num_res_blocks + 1):
        h = jnp.concatenate([h, skips.pop()], axis=-1)
        attends = i == self.num_res_blocks or not plus
        h = stage(h, width, f'decoder_{level}_{i}', level, attends)
      if level:
        name = f'up_{level}'
        size = skips[-1].shape[1:3]
        if self.resblock_updown:
          h = residual(h, width, name, partial(double, size=size))
        else:
          h = upsampled.conv_of_upsampled(h, width, size, self.dtype, name)

    norm = layers.group_norm(
      h.shape[-1], self.norm_eps, jnp.float32, 'norm_out', self.num_groups
    )
    features = self.patch_size**2 * self.out_channels
    out = layers.conv3x3(features, jnp.float32, 'conv_out', zero=True)
    return layers.depth_to_space(out(nn.swish(norm(h))), self.patch_size)
