"""One device, eight under jit, eight under pmap: the same numbers."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tiny

from jaxdiff import (
  data,
  guidance,
  losses,
  parallel,
  predictions,
  samplers,
  schedules,
  training,
)

SHAPE = (8, 8, 1)
SCHEDULE = schedules.cosine()
MODES = [(1, 'jit'), (1, 'pmap'), (8, 'jit'), (8, 'pmap')]


@pytest.fixture(scope='module')
def params():
  return tiny.init(jax.random.key(0))


@pytest.fixture(scope='module')
def batch():
  return next(data.batches(data.load('digits'), 16, seed=0))


def mesh_of(num, **kwargs):
  return parallel.make_mesh(devices=jax.devices()[:num], **kwargs)


@pytest.fixture(scope='module')
def updates(params, batch):
  """State and metrics after one SGD step, in every mode."""
  optimizer = optax.sgd(0.1)
  loss = losses.denoising(tiny.apply, SCHEDULE, predictions.v)
  step = training.make_train_step(loss, optimizer)

  def run(num, mode, fsdp=1):
    mesh = mesh_of(num, fsdp=fsdp)
    # A copy: the step takes its state's buffers.
    state = training.init_state(
      jax.tree.map(jnp.copy, params), optimizer, jax.random.key(1)
    )
    sharding = parallel.state_sharding(state, mesh, min_size=64)
    compiled = parallel.compile_train_step(step, mesh, sharding, mode=mode)
    state, metrics = compiled(jax.device_put(state, sharding), batch)
    part = state.params, state.ema_params, metrics
    return jax.device_get(part), state

  results = {f'{mode}{num}': run(num, mode) for num, mode in MODES}
  return {**results, 'fsdp': run(8, 'jit', fsdp=4)}


@pytest.mark.parametrize('mode', ['pmap1', 'jit8', 'pmap8', 'fsdp'])
def test_a_training_step_is_the_same_in_every_mode(updates, mode):
  params, ema_params, metrics = updates['jit1'][0]
  params_here, ema_here, metrics_here = updates[mode][0]
  chex.assert_trees_all_close(metrics_here, metrics, rtol=1e-5)
  chex.assert_trees_all_close(params_here, params, atol=1e-6)
  chex.assert_trees_all_close(ema_here, ema_params, atol=1e-6)


@pytest.mark.parametrize(
  'num, mode, fsdp',
  [(1, 'jit', 1), (8, 'jit', 4), (8, 'pmap', 1)],
)
def test_steps_in_one_program_are_the_same_steps(params, num, mode, fsdp):
  optimizer = optax.sgd(0.1)
  loss = losses.denoising(tiny.apply, SCHEDULE, predictions.v)
  step = training.make_train_step(loss, optimizer)
  mesh = mesh_of(num, fsdp=fsdp)
  part = data.batches(data.load('digits'), 16, seed=0, at_once=3)

  def start():
    state = training.init_state(
      jax.tree.map(jnp.copy, params), optimizer, jax.random.key(1)
    )
    sharding = parallel.state_sharding(state, mesh, min_size=64)
    return jax.device_put(state, sharding), sharding

  state, sharding = start()
  single = parallel.compile_train_step(step, mesh, sharding, mode=mode)
  several = parallel.compile_train_step(
    step, mesh, sharding, mode=mode, num_steps=3
  )
  batches = next(part)
  here, metrics_here = several(start()[0], batches)
  metrics = []
  for i in range(3):
    batch = jax.tree.map(lambda x, i=i: x[i], batches)
    state, one = single(state, batch)
    metrics.append(one)
  assert int(here.step) == int(state.step) == 3
  for name, values in metrics_here.items():
    one_by_one = np.stack([m[name] for m in metrics])
    np.testing.assert_allclose(values, one_by_one, rtol=1e-5)
  chex.assert_trees_all_close(
    jax.device_get(here.params),
    jax.device_get(state.params),
    rtol=1e-5,
    atol=1e-6,
  )


def test_fsdp_divides_the_large_arrays(updates):
  state = updates['fsdp'][1]
  largest = max(jax.tree.leaves(state.params), key=lambda x: x.size)
  part = largest.addressable_data(0)
  assert part.size * 4 == largest.size
  whole = parallel.gather(state.params, mesh_of(8, fsdp=4))
  chex.assert_trees_all_close(
    jax.device_get(whole), updates['fsdp'][0][0], rtol=0
  )


@pytest.fixture(scope='module')
def drawn(params):
  """Images, and the noise they start from, in every mode and batch size."""
  options = {'seed': 5, 'eta': 1.0}

  def draw(params, options, index, axis_name=None):
    prior_keys, step_keys = samplers.sample_keys(options['seed'], index)
    x = jax.vmap(lambda key: jax.random.normal(key, SHAPE))(prior_keys)
    denoiser = samplers.denoiser(tiny.apply, predictions.v, SCHEDULE, params)
    step = samplers.ddim(SCHEDULE, options['eta'])
    times = samplers.uniform_times(3)
    return samplers.sample(step, guidance.clip(denoiser), step_keys, x, times)

  def noise(params, options, index, axis_name=None):
    prior_keys, step_keys = samplers.sample_keys(options['seed'], index)
    make = lambda key: jax.random.normal(key, SHAPE)
    return jax.vmap(make)(prior_keys), jax.vmap(make)(step_keys)

  def run(num, mode, batch_size):
    mesh = mesh_of(num)
    images = parallel.compile_sample_step(draw, mesh, mode=mode)
    start = parallel.compile_step(
      noise, mesh, mode=mode, in_axes=(None, None, 0), out_axes=(0, 0)
    )
    parts = [np.arange(i, i + batch_size) for i in range(0, 16, batch_size)]
    join = lambda fn: np.concatenate(
      [np.asarray(fn(params, options, part)) for part in parts]
    )
    return join(images), join(lambda *args: start(*args)[0])

  results = {f'{mode}{num}': run(num, mode, 16) for num, mode in MODES}
  return {**results, 'by_4': run(1, 'jit', 4), 'by_1': run(1, 'jit', 1)}


@pytest.mark.parametrize('mode', ['pmap1', 'jit8', 'pmap8', 'by_4', 'by_1'])
def test_samples_depend_on_seed_and_index_alone(drawn, mode):
  images, noise = drawn['jit1']
  images_here, noise_here = drawn[mode]
  np.testing.assert_array_equal(noise_here, noise)
  np.testing.assert_allclose(images_here, images, atol=2e-5)
  assert images.shape == (16, *SHAPE) and images.std() > 0.1


def test_initialise_is_init_and_lies_where_it_should():
  key, mesh = jax.random.key(3), mesh_of(8, fsdp=4)
  sharding = parallel.state_sharding(
    jax.eval_shape(tiny.init, key), mesh, min_size=64
  )
  params = parallel.initialise(tiny.init, key, sharding)
  chex.assert_trees_all_close(
    jax.device_get(params), jax.device_get(tiny.init(key)), rtol=1e-6
  )
  assert jax.tree.map(lambda x: x.sharding, params) == sharding
  assert not params['in'].sharding.is_fully_replicated


def test_impossible_settings_are_refused():
  mesh = mesh_of(8)
  with pytest.raises(ValueError, match='multiple of 8'):
    parallel.check_batch_size(20, mesh)
  with pytest.raises(ValueError, match='multiple of 16'):
    parallel.check_batch_size(24, mesh, accumulate=2)
  with pytest.raises(
    ValueError, match='--parallel.fsdp 3 does not divide the 8'
  ):
    mesh_of(8, fsdp=3)
  args = {'in_axes': (None,), 'out_axes': None}
  with pytest.raises(ValueError, match="'jit' or 'pmap', got 'xmap'"):
    parallel.compile_step(lambda x: x, mesh, mode='xmap', **args)
  with pytest.raises(ValueError, match='use parallel.mode=jit'):
    parallel.compile_step(lambda x: x, mesh_of(8, fsdp=2), mode='pmap', **args)


def test_sizes_of_batches_are_few_and_hardly_more_than_asked_for():
  for devices in (1, 8):
    mesh = mesh_of(devices)
    found = {n: parallel.batch_size(n, 64, mesh) for n in range(1, 65)}
    for n, size in found.items():
      assert size % devices == 0
      assert n <= size < 1.25 * n + devices
    assert len(set(found.values())) <= 20
  assert parallel.batch_size(1000, 64, mesh_of(1)) == 64
  assert parallel.batch_size(1000, 50, mesh_of(1)) == 50
