"""Generative adversarial network: the non-saturating loss with R1.

  generator       softplus(-D(G(z)))
  discriminator   softplus(D(G(z))) + softplus(-D(x)) + r1/2 |grad_x D(x)|^2

Both are one loss on two trees of parameters: each term sees the parameters of
the other network as constants, so one gradient trains both at once.

Source: Goodfellow et al. 2014 (arXiv:1406.2661); Mescheder et al. 2018
(arXiv:1801.04406), equation 9.
"""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from benchmarks.families.family import Family, Params
from jaxdiff.losses import Batch


def make(
  shape: tuple[int, ...],
  generator: nn.Module,
  discriminator: nn.Module,
  latent: int,
  squash: Callable[[Array], Array] = lambda x: x,
  r1: float = 1.0,
) -> Family:
  """Builds the family; `squash` maps outputs of the generator to data."""

  def init(key: Array) -> Params:
    g_key, d_key = jax.random.split(key)
    return {
      'G': generator.init(g_key, jnp.zeros((1, latent)))['params'],
      'D': discriminator.init(d_key, jnp.zeros((1, *shape)))['params'],
    }

  def generate(params: Params, keys: Array) -> Array:
    z = jax.vmap(lambda key: jax.random.normal(key, (latent,)))(keys)
    return squash(generator.apply({'params': params}, z))

  def logits(params: Params, x: Array) -> Array:
    return discriminator.apply({'params': params}, x)[:, 0]

  def loss(params: Params, keys: Array, batch: Batch) -> tuple[Array, dict]:
    constant = jax.lax.stop_gradient
    fake, x = generate(params['G'], keys), batch['x0']
    fools = jax.nn.softplus(-logits(constant(params['D']), fake))
    slope = jax.grad(lambda x: logits(params['D'], x).sum())(x)
    steep = jnp.sum(jnp.square(slope), axis=range(1, x.ndim))
    tells = jax.nn.softplus(logits(params['D'], constant(fake)))
    tells += jax.nn.softplus(-logits(params['D'], x)) + 0.5 * r1 * steep
    return fools + tells, {'generator': fools, 'discriminator': tells}

  return Family(
    init, loss, lambda params, keys: generate(params['G'], keys), b1=0.5
  )
