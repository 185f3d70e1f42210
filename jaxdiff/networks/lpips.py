"""Convolutions of VGG-16 and AlexNet: the feature maps that LPIPS compares.

Images are shifted and scaled as LPIPS does. A map is what comes after the last
max(x, 0) before a pool, in AlexNet after each convolution. Layers are called
as in torchvision, `features.N` by its number.

Source: Zhang et al. 2018 (arXiv:1801.03924); Simonyan and Zisserman 2015
(arXiv:1409.1556), table 1, D; Krizhevsky 2014 (arXiv:1404.5997).
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import numpy as np
from jax import Array

from jaxdiff.networks import layers

_SHIFT = np.array([-0.030, -0.088, -0.188], np.float32)
_SCALE = np.array([0.458, 0.448, 0.450], np.float32)


class Layer(NamedTuple):
  """A convolution; `pool` halves before it, `shown` makes its output a map."""

  index: int
  channels: int
  size: int = 3
  stride: int = 1
  pool: bool = False
  shown: bool = True


def _vgg16() -> tuple[Layer, ...]:
  found, index = [], 0
  for i, (channels, num) in enumerate(
    ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
  ):
    for j in range(num):
      pool, shown = i > 0 and j == 0, j == num - 1
      index += int(pool)
      found.append(Layer(index, channels, pool=pool, shown=shown))
      index += 2
  return tuple(found)


VGG16 = _vgg16()
ALEXNET = (
  Layer(0, 64, 11, 4),
  Layer(3, 192, 5, pool=True),
  Layer(6, 384, pool=True),
  Layer(8, 256),
  Layer(10, 256),
)


class LpipsFeatures(nn.Module):
  """Images [B, H, W, 3] in [-1, 1] to five maps [B, h, w, C], float32.

  Attributes:
    net: `VGG16` or `ALEXNET`.
  """

  net: tuple[Layer, ...] = VGG16

  @nn.compact
  def __call__(self, images: Array) -> tuple[Array, ...]:
    x = (images - _SHIFT[None, None, None]) / _SCALE[None, None, None]
    side = 3 if self.net == ALEXNET else 2  # of the window of a pool
    maps = []
    with jax.default_matmul_precision('highest'):
      for layer in self.net:
        if layer.pool:
          x = nn.max_pool(x, (side, side), (2, 2))
        padding = 2 if layer.size > 3 else 1
        x = nn.relu(
          nn.Conv(
            layer.channels,
            (layer.size, layer.size),
            layer.stride,
            padding,
            kernel_init=layers.kernel_init,
            name=f'features_{layer.index}',
          )(x)
        )
        if min(x.shape[1:3]) < 1:
          raise ValueError(
            f'images of {images.shape[1]}x{images.shape[2]} are too small for '
            'LPIPS'
          )
        maps += [x] * layer.shown
    return tuple(maps)
