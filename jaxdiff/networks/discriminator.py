"""Patch discriminator (PatchGAN): images to a logit for each patch.

4x4 convolutions with stride 2 halve the image; two of stride 1 follow. Each
logit sees a patch: 70x70 pixels with the default depth.

Source: Isola et al. 2017 (arXiv:1611.07004), appendix 6.1.2.
"""

from functools import partial

import flax.linen as nn
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

from jaxdiff.networks import checks, layers

EPS = 1e-6  # of the norms


class PatchDiscriminator(nn.Module):
  """Images [B, H, W, C] to logits [B, h, w], float32.

  Group norms stand where the published one has batch norms: an example's
  logits do not depend on the others.

  Attributes:
    width: Channels of the first convolution; doubled by each, up to 8 times.
    depth: Number of convolutions that halve the image.
    dtype: Of computation.
  """

  width: int = 64
  depth: int = 3
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(self, images: Array) -> Array:
    checks.check_settings(self, 'width', 'depth')
    conv = partial(
      nn.Conv,
      kernel_size=(4, 4),
      padding=1,
      dtype=self.dtype,
      kernel_init=layers.kernel_init,
    )
    leaky = partial(nn.leaky_relu, negative_slope=0.2)
    h = leaky(conv(self.width, strides=2, name='conv_0')(images))
    for i in range(1, self.depth + 1):
      channels = self.width * min(2**i, 8)
      strides = 2 if i < self.depth else 1
      h = conv(channels, strides=strides, use_bias=False, name=f'conv_{i}')(h)
      h = leaky(layers.group_norm(channels, EPS, self.dtype, f'norm_{i}')(h))
    if min(h.shape[1:3]) < 2:
      raise ValueError(
        f'depth {self.depth} does not fit images of '
        f'{images.shape[1]}x{images.shape[2]}'
      )
    return conv(1, strides=1, dtype=jnp.float32, name='logits')(h)[..., 0]
