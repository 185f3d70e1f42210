"""A small convolutional classifier, the features of which measure images.

3x3 convolutions, two at each size, halve the map until it is 4x4 or less. Its
mean is the feature vector, and the logits are linear in that. Each convolution
is followed by a group norm and max(x, 0).
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from jaxdiff.cpu import convolution
from jaxdiff.networks import layers


class ClassifierFeatures(NamedTuple):
  """Features of B images; float32."""

  pool: Array  # [B, D], the mean of the last map
  logits: Array  # [B, num_classes]
  maps: tuple[Array, ...]  # [B, h, w, C], the last one of each size


class Classifier(nn.Module):
  """Images to `ClassifierFeatures`.

  Attributes:
    num_classes: Number of logits.
    width: Channels at the first size; twice that at the second, and four times
      from the third on.
  """

  num_classes: int
  width: int = 32

  @nn.compact
  def __call__(self, images: Array) -> ClassifierFeatures:
    """Applies the network to images [B, H, W, C], float32 in [-1, 1]."""
    x, maps = images, []
    # A metric must not depend on the device.
    with jax.default_matmul_precision('highest'):
      for i, stride in enumerate(_strides(min(images.shape[1:3]))):
        channels = self.width * min(2**i, 4)
        for j, step in enumerate((stride, 1)):
          x = nn.Conv(
            channels,
            (3, 3),
            step,
            use_bias=False,
            kernel_init=layers.kernel_init,
            conv_general_dilated=convolution.conv_general_dilated,
            name=f'conv_{i}_{j}',
          )(x)
          norm = layers.group_norm(channels, 1e-6, jnp.float32, f'norm_{i}_{j}')
          x = nn.relu(norm(x))
        maps.append(x)
      pool = jnp.mean(x, axis=(1, 2))
      logits = nn.Dense(self.num_classes, name='logits')(pool)
      return ClassifierFeatures(pool, logits, tuple(maps))


def _strides(side: int) -> list[int]:
  """Strides of the first convolution at each size.

  Images above 16 pixels a side are halved at once: most of the work would be
  at their full size.
  """
  strides = [1 if side <= 16 else 2]
  size = -(-side // strides[0])
  while size > 4:
    strides.append(2)
    size = -(-size // 2)
  return strides
