"""Encoders and decoders of the families: perceptrons and small convolutions."""

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from jaxdiff.networks import layers, upsampled
from jaxdiff.networks.layers import Dense

EPS = 1e-5  # of the norms


class Perceptron(nn.Module):
  """Vectors [B, n] to [B, out]."""

  out: int
  width: int
  depth: int = 3

  @nn.compact
  def __call__(self, x: Array) -> Array:
    for _ in range(self.depth):
      x = nn.swish(Dense(self.width)(x))
    return Dense(self.out)(x)


class Encoder(nn.Module):
  """Images [B, H, W, C] to [B, out]; the sides must be multiples of 4."""

  out: int
  width: int

  @nn.compact
  def __call__(self, x: Array) -> Array:
    for i, channels in enumerate((self.width, 2 * self.width)):
      x = layers.space_to_depth(x, 2)
      x = layers.conv3x3(channels, jnp.float32, f'conv_{i}')(x)
      x = nn.leaky_relu(x, 0.2)
    return Dense(self.out)(x.reshape(len(x), -1))


class Decoder(nn.Module):
  """Latents [B, n] to images [B, *shape]."""

  shape: tuple[int, int, int]
  width: int

  @nn.compact
  def __call__(self, z: Array) -> Array:
    height, width, channels = self.shape
    start = height // 4, width // 4, 2 * self.width
    x = Dense(start[0] * start[1] * start[2])(z).reshape(len(z), *start)
    for i, name in enumerate(('up_0', 'up_1')):
      norm = layers.group_norm(x.shape[-1], EPS, jnp.float32, f'norm_{i}')
      size = 2 * x.shape[1], 2 * x.shape[2]
      x = upsampled.conv_of_upsampled(
        nn.swish(norm(x)), self.width, size, jnp.float32, name
      )
    return layers.conv3x3(channels, jnp.float32, 'out')(nn.swish(x))
