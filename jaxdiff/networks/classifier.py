"""A small convolutional classifier, whose inner features measure images.

Convolutions of 3x3, two at each size, halve the map until it is 4x4 or less;
its mean is the feature vector, and one product makes the logits of it. Each
convolution is followed by a group norm and max(x, 0).
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxdiff.cpu import convolution
from jaxdiff.networks import layers


class ClassifierFeatures(NamedTuple):
  """What it makes of B images; float32.

  Attributes:
    pool: [B, D], the mean of the last map: what comes before the logits.
    logits: [B, num_classes].
  """

  pool: jax.Array
  logits: jax.Array


class Classifier(nn.Module):
  """Images to `ClassifierFeatures`.

  Attributes:
    num_classes: logits.
    width: channels at the first size; twice that at the second, and four
      times from the third on.
  """

  num_classes: int
  width: int = 32

  @nn.compact
  def __call__(self, images: jax.Array) -> ClassifierFeatures:
    """Applies the network.

    Args:
      images: [B, H, W, C], float32 in [-1, 1].

    Returns:
      The features of each image.
    """
    x = images
    # A figure must not depend on where it was computed.
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
      pool = jnp.mean(x, axis=(1, 2))
      return ClassifierFeatures(
        pool, nn.Dense(self.num_classes, name='logits')(pool)
      )


def _strides(edge: int) -> list[int]:
  """Of the first convolution at each size; larger images are halved at once,
  for nearly all the work would be at their full size."""
  strides = [1 if edge <= 16 else 2]
  size = -(-edge // strides[0])
  while size > 4:
    strides.append(2)
    size = -(-size // 2)
  return strides
