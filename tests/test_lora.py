"""Low-rank factors: what they change, and what they cost."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tiny
from flax.traverse_util import flatten_dict

from jaxdiff import config as c
from jaxdiff import lora, models, training

# Its blocks are stacked: a kernel is [depth, in, out].
NETWORK = c.DiT(width=8, depth=2, num_heads=2, patch_size=4)
CONFIG = dataclasses.replace(
  tiny.config, network=NETWORK, init='run', lora=c.Lora(rank=2, alpha=6.0)
)
PARAMS = tiny.random_params(CONFIG)


def test_the_product_is_added_to_kernels_of_attention_alone():
  factors = lora.init(jax.random.key(0), PARAMS, 2)
  same = lora.merged(PARAMS, factors, 3.0)
  jax.tree.map(np.testing.assert_array_equal, same, PARAMS)
  factors = jax.tree.map(lambda x: x + 1, factors)
  changed = flatten_dict(lora.merged(PARAMS, factors, 3.0))
  before, flat = flatten_dict(PARAMS), flatten_dict(factors)
  moved = {k for k, x in changed.items() if np.any(x != before[k])}
  names = {path[-3:] for path in moved}
  assert names == {('attention', n, 'kernel') for n in ('q', 'k', 'v', 'out')}
  for path in moved:
    product = np.einsum('lir,lro->lio', flat[*path, 'a'], flat[*path, 'b'])
    wanted = before[path] + 3 * product
    np.testing.assert_allclose(changed[path], wanted, rtol=1e-5)


@pytest.mark.slow
def test_what_is_trained_is_as_small_as_the_factors():
  model = models.make(CONFIG, tiny.SPEC)
  trained = models.trained(CONFIG, model, PARAMS)
  task = training.make_task(optimizer=optax.adam(1e-2), **trained._asdict())
  state = jax.eval_shape(task.init, jax.random.key(0))
  size = lambda tree: sum(x.size for x in jax.tree.leaves(tree))
  # Four matrices of 8 x 8 in each of two blocks.
  assert size(state.params) == 2 * 4 * 2 * (8 + 8)
  assert size(state.opt_state) == 2 * size(state.params) + 1

  # The loss is that of the merged network, and a step lowers it.
  batch = {'x0': jnp.linspace(-1, 1, 256).reshape(4, 8, 8, 1), 'cond': {}}
  first = task.init(jax.random.key(0))
  step = jax.jit(task.step)
  state, metrics = step(first, batch, task.frozen)
  plain = training.make_task(model.init, model.loss, optax.adam(1e-2))
  whole = first._replace(params=PARAMS, opt_state=optax.adam(0).init(PARAMS))
  whole = whole._replace(ema_params=PARAMS)
  value = jax.jit(plain.step)(whole, batch)[1]['loss']
  np.testing.assert_allclose(metrics['loss'], value, rtol=1e-5)
  again = first._replace(params=state.params)
  assert step(again, batch, task.frozen)[1]['loss'] < metrics['loss']
  merged = lora.merged(PARAMS, state.params, 3.0)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6),
    task.whole(state.params),
    merged,
  )


def test_a_network_without_attention_is_refused():
  params = {'conv_in': {'kernel': np.zeros((3, 3, 1, 4))}}
  with pytest.raises(ValueError, match='this network has none'):
    lora.init(jax.random.key(0), params, 2)


def test_a_rank_above_that_of_a_kernel_is_refused():
  with pytest.raises(ValueError, match='--lora.rank must be at most'):
    lora.init(jax.random.key(0), PARAMS, 2000)
