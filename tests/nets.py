"""Small inputs and random parameters, for tests of networks; and `jit`."""

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict


def normal(*shape, seed=1):
  values = np.random.default_rng(seed).normal(size=shape)
  return jnp.asarray(values, jnp.float32)


def inputs(batch=2, size=8, channels=1):
  return normal(batch, size, size, channels), jnp.linspace(0.1, 0.9, batch)


def shapes(net, *args):
  return jax.eval_shape(net.init, jax.random.key(0), *args)['params']


def random_params(net, *args):
  """Every parameter random, those that start at zero or one too."""
  rng = np.random.default_rng(0)
  return jax.tree.map(
    lambda s: jnp.asarray(rng.normal(size=s.shape) / 5, jnp.float32),
    shapes(net, *args),
  )


def jit(function):
  """Compiled without XLA's optimiser, which takes longer than what is run."""
  options = {'xla_backend_optimization_level': 0}
  return jax.jit(function, compiler_options=options)


def forward(net, **settings):
  return jit(
    lambda params, *args, **kwargs: net.apply(
      {'params': params}, *args, **settings, **kwargs
    )
  )


def count(params):
  return sum(leaf.size for leaf in jax.tree.leaves(params))


def value_and_grads(net, params, *args):
  """Of the mean square of what `net` returns."""

  def loss(params):
    return jnp.mean(net.apply({'params': params}, *args) ** 2)

  return jit(jax.value_and_grad(loss))(params)


def without_gradient(grads):
  """Names of the parameters whose gradient is zero, but for rounding."""
  largest = {
    name: float(jnp.abs(grad).max())
    for name, grad in flatten_dict(grads, sep='/').items()
  }
  bound = 1e-6 * max(largest.values())
  return {name for name, size in largest.items() if size < bound}


def assert_same_values_and_grads(ours, theirs):
  """Of two networks with the same parameters: names and numbers."""
  (value, grads), (other_value, other_grads) = ours, theirs
  np.testing.assert_allclose(other_value, value, rtol=1e-6)
  largest = max(float(jnp.abs(g).max()) for g in jax.tree.leaves(grads))
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(
      a, b, rtol=1e-4, atol=1e-6 * largest
    ),
    other_grads,
    grads,
  )


def relative_error(out, exact):
  return float(jnp.std(out - exact) / jnp.std(exact))
