"""A multilayer perceptron for points, and for other small arrays, flattened.

With e the embedding of time and label, a block is

  x <- x + W_1 swish(W_0 norm(x) + W_e swish(e)).

The last layer starts at zero, as those of the other networks.
"""

import math
from functools import partial

import flax.linen as nn
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

from jaxdiff.networks import checks, embedding, layers
from jaxdiff.networks.blocks import stacked
from jaxdiff.networks.embedding import Cond
from jaxdiff.networks.layers import Dense, kernel_init

NORM_EPS = 1e-5
FREQUENCIES = 64  # dimension of the sinusoidal embedding of time


class MLPBlock(nn.Module):
  """One block of the module's equation.

  Takes x [B, C] and emb [B, C] (after the swish); returns [B, C], and None for
  `stacked`.
  """

  dtype: DTypeLike

  @nn.compact
  def __call__(self, x: Array, emb: Array) -> tuple[Array, None]:
    width = x.shape[-1]
    dense = partial(Dense, width, dtype=self.dtype, kernel_init=kernel_init)
    h = layers.layer_norm(NORM_EPS, self.dtype, 'norm')(x)
    h = dense(name='dense_0')(h) + dense(name='emb')(emb)
    return x + dense(name='dense_1')(nn.swish(h)), None


class MLP(nn.Module):
  """The perceptron: noisy points and times to predictions.

  The last layer starts at zero, so a new network outputs exactly 0. There is
  no dropout.

  Attributes:
    out_channels: Size of the last axis of the output: the data's, or twice that
      for learned variances.
    width: Of the hidden layers.
    depth: Number of blocks.

  `num_classes`, `second_time`, `time_scale`, `dtype` and `remat` are
  those of `jaxdiff.networks`.
  """

  out_channels: int
  width: int = 128
  depth: int = 4
  num_classes: int | None = None
  second_time: bool = False
  time_scale: float = 1000.0
  dtype: DTypeLike = jnp.float32
  remat: bool | str = False

  @nn.compact
  def __call__(
    self, xt: Array, t: Array, cond: Cond | None = None, *, train: bool = False
  ) -> Array:
    """Computes [B, ..., out_channels] from points xt [B, ..., C].

    See `jaxdiff.networks`. `train` is not used.
    """
    checks.check_settings(self, 'out_channels', 'width', 'depth')
    if xt.ndim < 2 or t.shape != xt.shape[:1]:
      raise ValueError(
        'xt must be [B, ..., C] and t [B], got shapes '
        f'{tuple(xt.shape)} and {tuple(t.shape)}'
      )
    kinds = embedding.Kinds(
      self.num_classes,
      second_time=self.second_time,
      time_scale=self.time_scale,
    )
    embedding.check(kinds, cond, len(xt))
    emb = embedding.embed(kinds, t, cond, FREQUENCIES, self.width, self.dtype)
    emb = nn.swish(emb)

    dense = Dense(
      self.width, dtype=self.dtype, kernel_init=kernel_init, name='in'
    )
    x = dense(xt.reshape(len(xt), -1))
    blocks = stacked(MLPBlock, self.depth, self.remat)
    x, _ = blocks(self.dtype, name='blocks')(x, emb)
    x = layers.layer_norm(NORM_EPS, jnp.float32, 'norm_out')(x)
    size = math.prod(xt.shape[1:-1]) * self.out_channels
    x = Dense(size, kernel_init=nn.initializers.zeros, name='out')(x)
    return x.reshape(*xt.shape[:-1], self.out_channels)
