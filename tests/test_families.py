"""The families of benchmarks.families against closed forms."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy.stats import norm

from benchmarks.families import flow, gan, vae
from benchmarks.families.nets import Perceptron


@pytest.mark.parametrize(
  ('shape', 'network'),
  [
    ((2,), flow.Flow(8, 3)),
    pytest.param((4, 4, 1), flow.Flow(8, 2, square=4), marks=pytest.mark.slow),
  ],
)
def test_a_flow_is_inverted_and_its_determinant_is_the_jacobians(
  shape, network
):
  family = flow.make(shape, network)
  params = family.init(jax.random.key(0))
  # Away from the start, where all couplings are the identity.
  params = jax.tree.map(
    lambda p: p + 0.1 * jax.random.normal(jax.random.key(1), p.shape), params
  )
  keys = jax.random.split(jax.random.key(2), 3)
  x = jnp.clip(jax.jit(family.sample)(params, keys), -0.99, 0.99)
  apply = jax.jit(lambda x: network.apply({'params': params}, x))
  z, log_det = apply(x)
  inverse = lambda z: network.apply({'params': params}, z, method='inverse')
  np.testing.assert_allclose(jax.jit(inverse)(z), x, atol=1e-5)

  one = jax.jacobian(lambda x: apply(x[None])[0].ravel())
  jacobian = jax.jit(jax.vmap(one))(x)
  jacobian = jacobian.reshape(3, x[0].size, x[0].size)
  exact = jnp.linalg.slogdet(jacobian)[1]
  np.testing.assert_allclose(log_det, exact, atol=1e-4)
  log_p = jnp.sum(norm.logpdf(z.reshape(3, -1)), axis=1) + exact
  found = jax.jit(family.nats)(params, keys, x)
  np.testing.assert_allclose(found, -log_p, rtol=1e-5)


class Slope(nn.Module):
  """x -> w x, one number."""

  @nn.compact
  def __call__(self, x):
    return x * self.param('w', nn.initializers.constant(0.5), ())


def test_each_network_of_a_gan_is_trained_by_its_own_term():
  family = gan.make((1,), Slope(), Slope(), latent=1, r1=2.0)
  params = {'G': {'w': jnp.float32(0.3)}, 'D': {'w': jnp.float32(0.7)}}
  keys, x = jax.random.split(jax.random.key(0), 4), jnp.ones((4, 1))
  mean = lambda p: family.loss(p, jax.random.clone(keys), {'x0': x})[0].mean()
  found = jax.grad(mean)(params)

  z = jax.vmap(lambda key: jax.random.normal(key, (1,)))(keys)[:, 0]
  fools = lambda g: jax.nn.softplus(-0.7 * g * z).mean()
  tells = lambda d: (
    jax.nn.softplus(d * 0.3 * z).mean() + jax.nn.softplus(-d) + d**2
  )
  np.testing.assert_allclose(found['G']['w'], jax.grad(fools)(0.3), rtol=1e-5)
  np.testing.assert_allclose(found['D']['w'], jax.grad(tells)(0.7), rtol=1e-5)


def test_the_bound_of_a_vae_that_ignores_its_latent_is_the_likelihood():
  family = vae.make((2,), Perceptron(2, 4), Perceptron(2, 4), 1, noise=True)
  params = jax.tree.map(jnp.zeros_like, family.init(jax.random.key(0)))
  x = jnp.array([[0.5, -1.0], [2.0, 0.0]])
  keys = jax.random.split(jax.random.key(1), 2)
  # q = N(0, 1) is the prior and p(x | z) = N(0, I) for every z.
  exact = -norm.logpdf(x).sum(axis=1)
  np.testing.assert_allclose(family.nats(params, keys, x), exact, rtol=1e-6)
