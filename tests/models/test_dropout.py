"""Dropout belongs to the example, wherever the batch is cut."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from jaxdiff import config as c
from jaxdiff.models import networks


@pytest.mark.slow
def test_dropout_does_not_depend_on_the_rest_of_the_batch():
  network = c.Transformer(
    width=8, depth=1, num_heads=2, dropout=0.5, remat=True
  )
  config = c.Config(
    data=c.Data(name='sums'),
    diffusion=c.Categorical(),
    network=network,
    sampling=c.Sampling(sampler='ancestral'),
  )
  spec = tiny.text_spec(6, 'abc')
  net = networks.make(config, spec, num_categories=4)
  params = net.init(jax.random.key(0))
  # Blocks start as the identity.
  normal = np.random.default_rng(0).standard_normal
  params = jax.tree.map(lambda x: jnp.float32(normal(x.shape)), params)
  apply = jax.jit(net.apply)
  xt = jnp.asarray([[0, 1, 2, 3, 0, 1]] * 4)  # one text, four times
  keys = jax.random.split(jax.random.key(1), 4)
  whole = apply(params, xt, jnp.full(4, 0.5), {}, keys)
  for rows in ([0, 2, 0, 2], [1, 3, 3, 1]):
    part = apply(params, xt, jnp.full(4, 0.5), {}, keys[np.array(rows)])
    np.testing.assert_allclose(part, whole[np.array(rows)], atol=1e-5)
  # Each example its own, and something is dropped.
  assert not np.allclose(whole[0], whole[1])
  plain = apply(params, xt, jnp.full(4, 0.5), {})
  np.testing.assert_allclose(plain[0], plain[1], rtol=1e-5)
  assert not np.allclose(plain[0], whole[0])
