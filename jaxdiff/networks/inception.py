"""Inception-v3, in the variant that defines FID.

The stem halves a 299x299 image three times, to 35x35. `Mixed` blocks run
branches side by side and concatenate their channels, at 35, 17 and 8 pixels a
side. The mean over the last map is the feature vector. Each convolution is

  relu((conv(x) - mean) / sqrt(var + 1e-3) * scale + bias),

with the running mean and variance of training as plain parameters: the network
is never trained here. The published weights are those of the TensorFlow graph
of 5 December 2015, which differs from the paper: 1008 outputs, average pools
that do not count the padding, and a max pool instead of the average pool of the
last block.

Blocks and branches have the names of the published files.

Source: Szegedy et al. 2016 (arXiv:1512.00567), section 6; Heusel et al. 2017
(arXiv:1706.08500) for FID; Nash et al. 2021 (arXiv:2103.03841) for sFID.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxdiff.networks import layers


class InceptionFeatures(NamedTuple):
  """Features of B images; float32.

  Attributes:
    pool: [B, 2048], the mean of the last map: FID, KID, precision, recall.
    spatial: [B, 2023], seven channels of a 17x17 map, flattened: sFID.
    logits: [B, 1008], without the bias of the last layer: Inception Score.
    class_logits: [B, 1008], with the bias: the logits of the classes.
  """

  pool: Array
  spatial: Array
  logits: Array
  class_logits: Array


class Inception(nn.Module):
  """Images to `InceptionFeatures`.

  Products have full float32 precision on every device: a metric must not
  depend on it.
  """

  @nn.compact
  def __call__(self, images: Array) -> InceptionFeatures:
    """Applies the network.

    Args:
      images: [B, 299, 299, 3], float32 in [-1, 1], resized by the caller, whose
        rule is part of the metric. Other sizes, from 75 pixels up, give
        features that no published result uses.

    Raises:
      ValueError: Images are of another shape.
    """
    if images.ndim != 4 or images.shape[-1] != 3 or min(images.shape[1:3]) < 75:
      raise ValueError(
        'images must be [B, 299, 299, 3] (grey ones repeated to 3 channels, '
        f'small ones resized), got shape {tuple(images.shape)}'
      )
    with jax.default_matmul_precision('highest'):
      return self._features(images)

  def _features(self, x):
    x = ConvNorm(32, (3, 3), 2, 'VALID', name='Conv2d_1a_3x3')(x)
    x = ConvNorm(32, (3, 3), 1, 'VALID', name='Conv2d_2a_3x3')(x)
    x = ConvNorm(64, (3, 3), name='Conv2d_2b_3x3')(x)
    x = _halve(x)
    x = ConvNorm(80, name='Conv2d_3b_1x1')(x)
    x = ConvNorm(192, (3, 3), 1, 'VALID', name='Conv2d_4a_3x3')(x)
    x = _halve(x)
    x = BlockA(32, name='Mixed_5b')(x)
    x = BlockA(64, name='Mixed_5c')(x)
    x = BlockA(64, name='Mixed_5d')(x)
    x = BlockB(name='Mixed_6a')(x)
    x = BlockC(128, name='Mixed_6b')(x)
    x = BlockC(160, name='Mixed_6c')(x)
    x = BlockC(160, name='Mixed_6d')(x)
    # The first channels of the first branch, branch1x1.
    spatial = x[..., :7].reshape(x.shape[0], -1)
    x = BlockC(192, name='Mixed_6e')(x)
    x = BlockD(name='Mixed_7a')(x)
    x = BlockE(mean=True, name='Mixed_7b')(x)
    x = BlockE(mean=False, name='Mixed_7c')(x)
    pool = jnp.mean(x, axis=(1, 2))
    logits = nn.Dense(1008, use_bias=False, name='fc')(pool)
    bias = self.param('fc_bias', nn.initializers.zeros, (1008,))
    return InceptionFeatures(pool, spatial, logits, logits + bias[None])


class ConvNorm(nn.Module):
  """Convolution, the norm of the module's docstring, ReLU; NHWC."""

  features: int
  window: tuple[int, int] = (1, 1)
  stride: int = 1
  padding: str = 'SAME'

  @nn.compact
  def parts(self, in_features: int) -> tuple[Array, Callable[[Array], Array]]:
    """Returns the kernel, and the norm and ReLU after the convolution."""
    shape = (*self.window, in_features, self.features)
    kernel = self.param('kernel', layers.kernel_init, shape)
    zeros, ones = nn.initializers.zeros, nn.initializers.ones
    scale = self.param('scale', ones, (self.features,))
    bias = self.param('bias', zeros, (self.features,))
    mean = self.param('mean', zeros, (self.features,))
    var = self.param('var', ones, (self.features,))
    gain = scale * jax.lax.rsqrt(var + 1e-3)
    shift = bias - mean * gain
    # One multiplication and one addition for each value.
    norm = lambda x: x * gain[None, None, None] + shift[None, None, None]
    return kernel, lambda x: nn.relu(norm(x))

  def __call__(self, x: Array) -> Array:
    kernel, after = self.parts(x.shape[-1])
    if self.window == (1, 1):  # a matrix product, which is faster on a CPU
      return after(x @ kernel[0, 0])
    return after(
      jax.lax.conv_general_dilated(
        x,
        kernel,
        (self.stride, self.stride),
        self.padding,
        dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
      )
    )


def _together(
  x: Array, branches: Sequence[ConvNorm], pool: ConvNorm | None = None
) -> list[Array]:
  """Applies 1x1 branches of one input as one wide product, which is faster.

  `pool` is a last branch, a mean over neighbours and then a convolution. Here
  the convolution is first, which is the same and leaves fewer channels.
  """
  every = [*branches, *([pool] if pool else [])]
  kernels, after = zip(*(b.parts(x.shape[-1]) for b in every), strict=True)
  y = x @ jnp.concatenate([kernel[0, 0] for kernel in kernels], axis=-1)
  ends = np.cumsum([branch.features for branch in every])[:-1]
  ys = jnp.split(y, ends, axis=-1)
  if pool:
    ys[-1] = _mean3x3(ys[-1])
  return [f(y) for f, y in zip(after, ys, strict=True)]


class BlockA(nn.Module):
  """At 35x35: 1x1, 5x5, two 3x3, and an average pool."""

  pool_features: int

  @nn.compact
  def __call__(self, x: Array) -> Array:
    one, five, three, pool = _together(
      x,
      [
        ConvNorm(64, name='branch1x1'),
        ConvNorm(48, name='branch5x5_1'),
        ConvNorm(64, name='branch3x3dbl_1'),
      ],
      ConvNorm(self.pool_features, name='branch_pool'),
    )
    five = ConvNorm(64, (5, 5), name='branch5x5_2')(five)
    three = ConvNorm(96, (3, 3), name='branch3x3dbl_2')(three)
    three = ConvNorm(96, (3, 3), name='branch3x3dbl_3')(three)
    return _join([one, five, three, pool])


class BlockB(nn.Module):
  """From 35x35 to 17x17."""

  @nn.compact
  def __call__(self, x: Array) -> Array:
    one = ConvNorm(384, (3, 3), 2, 'VALID', name='branch3x3')(x)
    two = ConvNorm(64, name='branch3x3dbl_1')(x)
    two = ConvNorm(96, (3, 3), name='branch3x3dbl_2')(two)
    two = ConvNorm(96, (3, 3), 2, 'VALID', name='branch3x3dbl_3')(two)
    return _join([one, two, _halve(x)])


class BlockC(nn.Module):
  """At 17x17: 7x7 windows, each as a row and a column."""

  width: int

  @nn.compact
  def __call__(self, x: Array) -> Array:
    width = self.width
    plain, one, two, pool = _together(
      x,
      [
        ConvNorm(192, name='branch1x1'),
        ConvNorm(width, name='branch7x7_1'),
        ConvNorm(width, name='branch7x7dbl_1'),
      ],
      ConvNorm(192, name='branch_pool'),
    )
    one = ConvNorm(width, (1, 7), name='branch7x7_2')(one)
    one = ConvNorm(192, (7, 1), name='branch7x7_3')(one)
    two = ConvNorm(width, (7, 1), name='branch7x7dbl_2')(two)
    two = ConvNorm(width, (1, 7), name='branch7x7dbl_3')(two)
    two = ConvNorm(width, (7, 1), name='branch7x7dbl_4')(two)
    two = ConvNorm(192, (1, 7), name='branch7x7dbl_5')(two)
    return _join([plain, one, two, pool])


class BlockD(nn.Module):
  """From 17x17 to 8x8."""

  @nn.compact
  def __call__(self, x: Array) -> Array:
    three, seven = _together(
      x,
      [
        ConvNorm(192, name='branch3x3_1'),
        ConvNorm(192, name='branch7x7x3_1'),
      ],
    )
    three = ConvNorm(320, (3, 3), 2, 'VALID', name='branch3x3_2')(three)
    seven = ConvNorm(192, (1, 7), name='branch7x7x3_2')(seven)
    seven = ConvNorm(192, (7, 1), name='branch7x7x3_3')(seven)
    seven = ConvNorm(192, (3, 3), 2, 'VALID', name='branch7x7x3_4')(seven)
    return _join([three, seven, _halve(x)])


class BlockE(nn.Module):
  """At 8x8: rows and columns of 3 side by side; the pool is mean or max."""

  mean: bool

  @nn.compact
  def __call__(self, x: Array) -> Array:
    def cross(x, row, column):
      return [
        ConvNorm(384, (1, 3), name=row)(x),
        ConvNorm(384, (3, 1), name=column)(x),
      ]

    pool = ConvNorm(192, name='branch_pool')
    plain, one, two, *rest = _together(
      x,
      [
        ConvNorm(320, name='branch1x1'),
        ConvNorm(384, name='branch3x3_1'),
        ConvNorm(448, name='branch3x3dbl_1'),
      ],
      pool if self.mean else None,
    )
    two = ConvNorm(384, (3, 3), name='branch3x3dbl_2')(two)
    return _join(
      [
        plain,
        *cross(one, 'branch3x3_2a', 'branch3x3_2b'),
        *cross(two, 'branch3x3dbl_3a', 'branch3x3dbl_3b'),
        *(rest or [pool(_max3x3(x))]),
      ]
    )


def _join(branches: Sequence[Array]) -> Array:
  return jnp.concatenate(branches, axis=-1)


def _halve(x: Array) -> Array:
  return nn.max_pool(x, (3, 3), (2, 2), 'VALID')


def _max3x3(x: Array) -> Array:
  return nn.max_pool(x, (3, 3), (1, 1), 'SAME')


def _mean3x3(x: Array) -> Array:
  """The mean of the neighbours that are inside the image."""
  return nn.avg_pool(x, (3, 3), (1, 1), 'SAME', count_include_pad=False)
