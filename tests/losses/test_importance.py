"""Importance sampling: the same mean with less variance."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from exact import SCHEDULES

from jaxdiff import losses, parallel, predictions, training
from jaxdiff.losses import importance

PARTS = 16
EVEN = (jnp.arange(4096) + 0.5) / 4096


def full(sampler, sizes):
  """The state after `history` losses of these sizes in each part."""
  state = sampler.init()
  values = jnp.broadcast_to(sizes[:, None], state.values.shape)
  count = jnp.full_like(state.count, state.values.shape[1])
  return importance.Losses(values, count)


def part_of(u):
  return np.floor(np.asarray(u) * PARTS).astype(int)


@pytest.mark.parametrize('uniform', [1e-3, 0.3, 1.0])
def test_the_mean_of_any_function_of_the_part_stays(uniform):
  sampler = importance.second_moment(PARTS, uniform=uniform)
  sizes = jnp.exp(jnp.linspace(-3, 3, PARTS))
  u, weights = sampler.draw(full(sampler, sizes), EVEN)
  f = np.random.default_rng(0).normal(size=PARTS)
  assert np.all((u >= 0) & (u < 1))
  mean = np.mean(np.asarray(weights) * f[part_of(u)])
  # Positions are cut into 4096: a part has one more or one less.
  np.testing.assert_allclose(mean, f.mean(), atol=0.02)


def test_losses_of_the_known_sizes_have_no_variance():
  sampler = importance.second_moment(PARTS, uniform=1e-6)
  sizes = jnp.exp(jnp.linspace(-3, 3, PARTS))
  u, weights = sampler.draw(full(sampler, sizes), EVEN)
  weighted = np.asarray(weights) * np.asarray(sizes)[part_of(u)]
  np.testing.assert_allclose(weighted, np.mean(sizes), rtol=1e-3)
  fraction = np.bincount(part_of(u), minlength=PARTS) / len(EVEN)
  np.testing.assert_allclose(fraction, sizes / sizes.sum(), atol=1 / 2048)


def test_within_a_part_times_are_even():
  sampler = importance.second_moment(2)
  u, _ = sampler.draw(full(sampler, jnp.asarray([1.0, 3.0])), EVEN)
  for part in (0.0, 0.5):
    inside = u[(u >= part) & (u < part + 0.5)] - part
    found = np.quantile(inside, [0.25, 0.5, 0.75])
    np.testing.assert_allclose(found, [0.125, 0.25, 0.375], atol=2e-3)


def test_all_are_equally_likely_until_each_has_its_history():
  sampler = importance.second_moment(PARTS, history=2)
  state = full(sampler, jnp.arange(1.0, PARTS + 1))
  early = state._replace(count=state.count.at[3].set(1))
  u, weights = sampler.draw(early, EVEN)
  np.testing.assert_array_equal(u, EVEN)
  np.testing.assert_array_equal(weights, 1.0)
  u, weights = sampler.draw(state, EVEN)
  assert np.ptp(weights) > 1
  # Losses of 0 everywhere say nothing.
  np.testing.assert_array_equal(
    sampler.draw(full(sampler, 0 * EVEN[:16]), EVEN)[1], 1.0
  )


@pytest.mark.parametrize('size', [1, 2, 5, 7])
def test_the_last_losses_of_each_part_are_kept(size):
  """As a list of each part that forgets its oldest, whatever the batches."""
  sampler, rng = (
    importance.second_moment(4, history=3),
    np.random.default_rng(1),
  )
  update = jax.jit(sampler.update)
  state, lists = sampler.init(), [[] for _ in range(4)]
  for _ in range(12):
    u = rng.uniform(size=size) ** 3
    values = rng.uniform(size=size)
    for part, value in zip((u * 4).astype(int), values, strict=True):
      lists[part] = [*lists[part], np.float32(value)][-3:]
    state = update(state, jnp.float32(u), jnp.float32(values))
  for kept, count, want in zip(state.values, state.count, lists, strict=True):
    assert sorted(np.asarray(kept)[: min(int(count), 3)]) == sorted(want)


def linear(params, xt, t, cond, dropout_key=None):
  return params['scale'] * xt


LOSS = losses.denoising(linear, SCHEDULES['cosine'], predictions.eps)


def run(steps, *, accumulate=1, devices=1, mode='jit', sampler=None, size=32):
  sampler = sampler or importance.second_moment(4, history=2)
  task = training.make_task(
    lambda key: {'scale': jnp.float32(0.5)},
    LOSS,
    optax.sgd(0.01),
    importance=sampler,
    accumulate=accumulate,
  )
  mesh = parallel.make_mesh(devices=jax.devices()[:devices])
  state = parallel.initialise(
    task.init, jax.random.key(0), parallel.replicated(mesh)
  )
  sharding = parallel.state_sharding(state, mesh)
  step = parallel.compile_train_step(task.step, mesh, sharding, mode=mode)
  x0 = np.random.default_rng(0).normal(size=(size, 8)).astype(np.float32)
  metrics = []
  for _ in range(steps):
    state, found = step(state, {'x0': x0, 'cond': {}})
    metrics.append(float(found['loss']))
  return jax.device_get(state._replace(key=0)), metrics


@pytest.mark.parametrize(
  'how',
  [{'accumulate': 4}, {'devices': 8}, {'devices': 8, 'mode': 'pmap'}],
)
def test_a_step_is_the_same_however_the_batch_is_divided(how):
  (one, losses_one), (other, losses_other) = run(5), run(5, **how)
  assert int(one.losses.count.sum()) == 5 * 32
  np.testing.assert_array_equal(one.losses.count, other.losses.count)
  np.testing.assert_allclose(losses_one, losses_other, rtol=1e-5)
  chex.assert_trees_all_close(one.losses, other.losses, rtol=1e-5)
  chex.assert_trees_all_close(one.params, other.params, rtol=1e-6)


def test_a_reported_loss_stays_the_mean_over_t():
  """A loss of t alone, the same at every step but for the positions."""

  def loss(params, keys, batch):
    return 0 * params['scale'] + jnp.exp(6 * batch['u']), {'again': batch['u']}

  sampler = importance.second_moment(64, history=1)
  step = jax.jit(
    training.make_train_step(loss, optax.sgd(0.1), importance=sampler)
  )
  params = {'scale': jnp.float32(0.0)}
  state = training.init_state(
    params, optax.sgd(0.1), jax.random.key(0), importance=sampler
  )
  found = []
  for _ in range(40):
    state, metrics = step(state, {'x0': jnp.zeros((64, 2)), 'cond': {}})
    found.append((metrics['loss'], metrics['again']))
  want = [(np.exp(6) - 1) / 6, 0.5]
  np.testing.assert_allclose(np.mean(found[1:], axis=0), want, rtol=0.01)
  # Each loss is kept where it was found.
  u = np.log(state.losses.values[:, 0]) / 6
  np.testing.assert_array_equal(np.floor(u * 64), np.arange(64))


@pytest.mark.parametrize(
  ('arguments', 'message'),
  [
    ({'num_steps': 0}, 'num_steps'),
    ({'num_steps': 4, 'history': 0}, 'history'),
    ({'num_steps': 4, 'uniform': 0.0}, 'uniform'),
    ({'num_steps': 4, 'uniform': 1.5}, 'uniform'),
  ],
)
def test_impossible_numbers_are_named(arguments, message):
  with pytest.raises(ValueError, match=message):
    importance.second_moment(**arguments)
