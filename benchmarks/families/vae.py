"""Variational autoencoder with a normal likelihood of learned scale.

  -log p(x) <= -log N(x; decode(z), s^2 I) + KL(q(z | x) || N(0, I)), z ~ q

A sample is decode(z) of z ~ N(0, I). With `noise` it is drawn from p(x | z): s
times normal noise is added.

Source: Kingma and Welling 2014 (arXiv:1312.6114); Rybkin et al. 2021
(arXiv:2006.13202), section 3.1, for s.
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from benchmarks.families.family import Family, Params
from jaxdiff.losses import Batch, autoencoding


def make(
  shape: tuple[int, ...],
  encoder: nn.Module,
  decoder: nn.Module,
  latent: int,
  noise: bool,
) -> Family:
  """Builds the family; the encoder has 2 latent outputs.

  Args:
    noise: Whether samples are drawn from p(x | z), or are its means.
  """

  def init(key: Array) -> Params:
    q_key, p_key = jax.random.split(key)
    return {
      'encoder': encoder.init(q_key, jnp.zeros((1, *shape)))['params'],
      'decoder': decoder.init(p_key, jnp.zeros((1, latent)))['params'],
      'log_scale': jnp.zeros(()),
    }

  def moments(params: Params, x: Array) -> autoencoding.Moments:
    mean, log_variance = jnp.split(
      encoder.apply({'params': params['encoder']}, x), 2, axis=-1
    )
    return mean, jnp.clip(log_variance, -20, 10)

  def decode(params: Params, z: Array) -> Array:
    return decoder.apply({'params': params['decoder']}, z)

  def loss(params: Params, keys: Array, batch: Batch) -> tuple[Array, dict]:
    likelihood = autoencoding.gaussian(jnp.exp(params['log_scale']))
    elbo = autoencoding.elbo(
      autoencoding.Autoencoder(moments, decode), likelihood
    )
    return elbo(params, keys, batch)

  def sample(params: Params, keys: Array) -> Array:
    def one(key: Array) -> tuple[Array, Array]:
      z_key, x_key = jax.random.split(key)
      z = jax.random.normal(z_key, (latent,))
      return z, jax.random.normal(x_key, shape)

    z, eps = jax.vmap(one)(keys)
    scale = jnp.exp(params['log_scale']) if noise else 0.0
    return decode(params, z) + scale * eps

  def nats(params: Params, keys: Array, x: Array) -> Array:
    return math.prod(shape) * loss(params, keys, {'x0': x})[0]

  return Family(init, loss, sample, nats, 'ELBO, one draw')
