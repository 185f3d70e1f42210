"""A multilayer perceptron for points: residual blocks told time and label.

With e the embedding of time and label, a block is

  h <- h + W_2 swish(swish(W_1 (norm(h) + W_e swish(e)))).

The last layer starts at zero, as those of the other networks.
"""

import math
from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from jaxdiff.networks import embedding, layers

NORM_EPS = 1e-5
FREQUENCIES = 64  # dimension of the sinusoidal embedding of time


class MLP(nn.Module):
  """Noisy points and times to predictions.

  Attributes:
    out_channels: numbers predicted for each position: D for points [D].
    width: of the hidden layers.
    depth: number of blocks.
    num_classes: number of labels; None: no labels.
    dtype: of computation, float32 or bfloat16; parameters are float32.
    remat: recompute each block in the backward pass: less memory.
  """

  out_channels: int
  width: int = 128
  depth: int = 4
  num_classes: int | None = None
  dtype: DTypeLike = jnp.float32
  remat: bool = False

  @nn.compact
  def __call__(
    self,
    xt: jax.Array,
    t: jax.Array,
    cond: Mapping[str, jax.Array] | None = None,
    *,
    train: bool = False,
  ) -> jax.Array:
    """Applies the network.

    Args:
      xt: noisy points [B, ..., C].
      t: times in [0, 1], [B].
      cond: {'label': integers [B]}, or None.
      train: not used: there is no dropout.

    Returns:
      float32 [B, ..., out_channels].
    """
    del train
    kinds = embedding.Kinds(self.num_classes)
    embedding.check(kinds, cond, len(xt))
    emb = embedding.embed(kinds, t, cond, FREQUENCIES, self.width, self.dtype)
    emb = nn.swish(emb)

    def dense(features, name, init=layers.kernel_init):
      return layers.Dense(
        features, dtype=self.dtype, kernel_init=init, name=name
      )

    def block(module: 'MLP', h: jax.Array, emb: jax.Array, i: int) -> jax.Array:
      del module
      y = layers.layer_norm(NORM_EPS, self.dtype, f'norm_{i}')(h)
      y = y + dense(self.width, f'emb_{i}')(emb)
      y = nn.swish(dense(self.width, f'dense_{i}_0')(y))
      return h + dense(self.width, f'dense_{i}_1')(nn.swish(y))

    if self.remat:
      block = nn.remat(block, static_argnums=(3,))
    h = dense(self.width, 'in')(xt.reshape(len(xt), -1).astype(self.dtype))
    for i in range(self.depth):
      h = block(self, h, emb, i)
    h = layers.layer_norm(NORM_EPS, jnp.float32, 'norm_out')(h)
    size = math.prod(xt.shape[1:-1]) * self.out_channels
    out = layers.Dense(size, kernel_init=nn.initializers.zeros, name='out')(h)
    return out.reshape(*xt.shape[:-1], self.out_channels)
