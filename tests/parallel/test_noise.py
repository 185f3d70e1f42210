"""Noise and initial parameters, however many parts they are divided into."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from jax.sharding import NamedSharding, PartitionSpec

from jaxdiff import parallel, processes, samplers, schedules

SHAPE = (8, 8, 2)
LOGITS = jnp.linspace(-1.0, 1.0, 5)
DRAWS = {
  'normal': jax.random.normal,
  'uniform': jax.random.uniform,
  'bernoulli': lambda key, shape: jax.random.bernoulli(key, 0.3, shape),
  'categorical': lambda key, shape: jax.random.categorical(
    key, LOGITS, shape=shape
  ),
}
# The batch over 2, 4, 8 devices, and rows of each image over others.
DIVIDED = [(2, 1), (4, 1), (8, 1), (1, 8), (2, 4), (4, 2)]


def on(num, fsdp, *spec):
  mesh = parallel.make_mesh(fsdp, jax.devices()[: num * fsdp])
  return NamedSharding(mesh, PartitionSpec(*spec))


@pytest.mark.parametrize('name', DRAWS)
def test_a_draw_does_not_depend_on_the_number_of_shards(name):
  """Keyed by example; jax's issue 40232 is about one key for a whole array."""

  def draw(index):
    keys, _ = samplers.sample_keys(7, index)
    return jax.vmap(lambda key: DRAWS[name](key, SHAPE))(keys)

  index = np.arange(16)
  expected = np.asarray(jax.jit(draw)(index))
  for num, fsdp in DIVIDED:
    where = on(num, fsdp, 'data', 'fsdp')
    found = jax.jit(draw, out_shardings=where)(index)
    assert len(found.sharding.device_set) == num * fsdp
    assert found.addressable_data(0).size * num * fsdp == found.size
    np.testing.assert_array_equal(np.asarray(found), expected)


def test_corrupted_examples_do_not_depend_on_the_number_of_shards():
  process = processes.gaussian(schedules.cosine())
  x0 = np.linspace(-1, 1, 16 * 128, dtype=np.float32).reshape(16, *SHAPE)

  def corrupt(index, x0):
    keys, _ = samplers.sample_keys(7, index)
    t = jnp.full(16, 0.5)
    return jax.vmap(process.corrupt)(keys, x0, t)

  expected = np.asarray(jax.jit(corrupt)(np.arange(16), x0))
  for num, fsdp in DIVIDED:
    where = on(num, fsdp, 'data', 'fsdp')
    found = jax.jit(corrupt, out_shardings=where)(np.arange(16), x0)
    # A fused multiplication rounds once less.
    np.testing.assert_allclose(np.asarray(found), expected, atol=3e-7)


@pytest.mark.slow
def test_initial_parameters_do_not_depend_on_fsdp():
  """One key draws a whole array here: what jax's issue 40232 is about."""
  key, task = jax.random.key(3), tiny.make_task(tiny.config)
  abstract = jax.eval_shape(task.init, key).params
  init = lambda key: task.init(key).params
  states = []
  for num, fsdp in ((1, 1), (4, 2), (1, 8)):
    mesh = parallel.make_mesh(fsdp, jax.devices()[: num * fsdp])
    sharding = parallel.state_sharding(abstract, mesh, min_size=16)
    states.append(parallel.initialise(init, key, sharding))
  divided = [
    x for x in jax.tree.leaves(states[-1]) if not x.sharding.is_fully_replicated
  ]
  assert len(divided) > 3
  for state in states[1:]:
    jax.tree.map(np.testing.assert_array_equal, state, states[0])
