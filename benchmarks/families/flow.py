"""Normalizing flow: affine couplings and invertible linear maps of channels.

  z = f(x),  log p(x) = log N(z; 0, I) + log |det df/dx|

A coupling keeps one half of the channels and scales and shifts the other by
functions of the first. Before each an invertible matrix mixes the channels. Of
an image each square of `square` x `square` pixels is one position.

Source: Dinh et al. 2017 (arXiv:1605.08803), equations 4 to 8; Kingma and
Dhariwal 2018 (arXiv:1807.03039), section 3.2, for the matrices.
"""

import math
from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.stats import norm

from benchmarks.families.family import Family, Params
from jaxdiff.losses import Batch
from jaxdiff.networks import layers
from jaxdiff.networks.layers import Dense

EDGE = 0.05  # of the logit: data in [-1, 1] become logits of [0.05, 0.95]


class Coupling(nn.Module):
  """A linear map of the last axis, then an affine coupling."""

  width: int

  @nn.compact
  def __call__(self, x: Array, inverse: bool = False) -> tuple[Array, Array]:
    """Maps x to z, or z to x; returns it with log |det dz/dx| [B]."""
    channels = x.shape[-1]
    mix = self.param('mix', nn.initializers.orthogonal(), (channels,) * 2)
    positions = math.prod(x.shape[1:-1])
    log_det = positions * jnp.linalg.slogdet(mix)[1] * jnp.ones(len(x))
    if not inverse:
      x = x @ mix
    kept, moved = jnp.split(x, [channels // 2], axis=-1)
    raw = self._net(kept, 2 * moved.shape[-1])
    log_scale, shift = jnp.split(raw, 2, axis=-1)
    log_scale = 2.0 * jnp.tanh(0.5 * log_scale)
    log_det += jnp.sum(log_scale, axis=range(1, x.ndim))
    if inverse:
      moved = (moved - shift) * jnp.exp(-log_scale)
      return jnp.concatenate([kept, moved], -1) @ jnp.linalg.inv(mix), log_det
    moved = moved * jnp.exp(log_scale) + shift
    return jnp.concatenate([kept, moved], -1), log_det

  def _net(self, x: Array, out: int) -> Array:
    zeros = nn.initializers.zeros
    if x.ndim == 2:
      h = nn.swish(Dense(self.width)(x))
      return Dense(out, kernel_init=zeros)(nn.swish(Dense(self.width)(h)))
    h = nn.swish(layers.conv3x3(self.width, jnp.float32, 'in')(x))
    h = nn.swish(Dense(self.width)(h))
    return layers.conv3x3(out, jnp.float32, 'out', zero=True)(h)


class Flow(nn.Module):
  """Couplings of vectors, or of images if `square` is given."""

  width: int
  depth: int
  square: int | None = None

  def setup(self) -> None:
    self.couplings = [Coupling(self.width) for _ in range(self.depth)]

  def __call__(self, x: Array) -> tuple[Array, Array]:
    """Computes z, an image as squares, and log |det dz/dx| [B]."""
    log_det = jnp.zeros(len(x))
    if self.square:
      u = EDGE + (1 - 2 * EDGE) * (x + 1) / 2
      slope = jnp.log((1 - 2 * EDGE) / 2) - jnp.log(u) - jnp.log1p(-u)
      log_det += jnp.sum(slope, axis=range(1, x.ndim))
      logits = jnp.log(u) - jnp.log1p(-u)
      x = layers.space_to_depth(logits, self.square)
    for coupling in self.couplings:
      x, change = coupling(x)
      log_det += change
    return x, log_det

  def inverse(self, z: Array) -> Array:
    for coupling in reversed(self.couplings):
      z, _ = coupling(z, inverse=True)
    if not self.square:
      return z
    u = jax.nn.sigmoid(layers.depth_to_space(z, self.square))
    return 2 * (u - EDGE) / (1 - 2 * EDGE) - 1


def make(shape: Sequence[int], network: Flow) -> Family:
  """Builds the family."""
  size = math.prod(shape)

  def init(key: Array) -> Params:
    return network.init(key, jnp.zeros((1, *shape)))['params']

  def nats(params: Params, keys: Array, x: Array) -> Array:
    del keys
    z, log_det = network.apply({'params': params}, x)
    return -jnp.sum(norm.logpdf(z), axis=range(1, z.ndim)) - log_det

  def loss(params: Params, keys: Array, batch: Batch) -> tuple[Array, dict]:
    return nats(params, keys, batch['x0']) / size, {}

  def sample(params: Params, keys: Array) -> Array:
    x = jax.vmap(lambda key: jax.random.normal(key, tuple(shape)))(keys)
    z = layers.space_to_depth(x, network.square) if network.square else x
    return network.apply({'params': params}, z, method='inverse')

  return Family(init, loss, sample, nats, 'exact')
