"""Conditions: how often they are dropped; both branches are trained."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdiff import conditioning, losses, predictions, schedules


def conditions_of(num):
  return {
    'label': jnp.arange(num) % 10,
    'tokens': jnp.arange(num * 3).reshape(num, 3) + 100,
    'low_res': jnp.ones((num, 2, 2, 1)),
  }


NULL = {'label': np.int32(10), 'tokens': np.array([1, 2, 0])}


def test_the_stated_fraction_is_dropped_each_on_its_own(key):
  num, probability = 40_000, 0.1
  cond = conditions_of(num)
  keys = jax.random.split(key, num)
  out = conditioning.drop(keys, cond, NULL, probability)
  dropped = np.asarray(out['label'] == 10)
  # Five standard deviations of the fraction, and of the correlation of
  # neighbours, for independent coins.
  std = np.sqrt(probability * (1 - probability) / num)
  assert abs(dropped.mean() - probability) < 5 * std
  neighbours = np.corrcoef(dropped[:-1], dropped[1:])[0, 1]
  assert abs(neighbours) < 5 / np.sqrt(num)
  # All conditions of an example go together, and nothing else changes.
  tokens = np.asarray(out['tokens'])
  np.testing.assert_array_equal((tokens == NULL['tokens']).all(1), dropped)
  np.testing.assert_array_equal(tokens[~dropped], cond['tokens'][~dropped])
  np.testing.assert_array_equal(out['low_res'], cond['low_res'])


def test_a_small_image_stays_in_its_range():
  # A cubic filter overshoots at an edge.
  edge = jnp.where(jnp.arange(16) < 7, -1.0, 1.0)
  small = conditioning.shrink(
    jnp.broadcast_to(edge[:, None], (1, 16, 16, 1)), 8
  )
  assert small.min() == -1 and small.max() == 1


def test_noise_of_a_small_image_is_that_of_no_step(key):
  keys = jax.random.split(key, 3)
  data = jax.random.key_data
  steps = jax.vmap(lambda n: data(jax.random.fold_in(keys[1], n)))
  of_steps = steps(jnp.arange(1000, dtype=jnp.uint32))
  own = data(conditioning.augment_keys(keys)[1])
  assert not (of_steps == own[None]).all(-1).any()


@pytest.mark.parametrize(('probability', 'label'), [(0.0, 3), (1.0, 10)])
def test_never_and_always(key, probability, label):
  cond = {'label': jnp.full(50, 3)}
  null = {'label': 10}
  keys = jax.random.split(key, 50)
  out = conditioning.drop(keys, cond, null, probability)
  assert set(np.asarray(out['label']).tolist()) == {label}


def test_what_cannot_be_dropped_is_named(key):
  keys = jax.random.split(key, 2)
  with pytest.raises(ValueError, match=r"null has \['text'\]"):
    conditioning.drop(keys, {'label': jnp.zeros(2)}, {'text': 0}, 0.1)


def test_both_branches_are_trained(key):
  """A table of one number a label: the null row learns the mean of all, each
  label's row its own, by nothing but gradients through the dropped loss."""
  schedule = schedules.cosine()
  means = jnp.array([-1.0, 0.0, 2.0])

  def apply(params, xt, t, cond, dropout_key=None):
    return jnp.broadcast_to(params[cond['label']][:, None], xt.shape)

  loss = conditioning.dropping(
    losses.denoising(apply, schedule, predictions.x0), {'label': 3}, 0.25
  )
  label = jnp.arange(3000) % 3
  data = {'x0': means[label][:, None], 'cond': {'label': label}}

  @jax.jit
  def step(params, key):
    keys = jax.random.split(key, len(label))
    value = lambda params: jnp.mean(loss(params, keys, data)[0])
    return params - 2.0 * jax.grad(value)(params)

  params = jnp.zeros(4)
  for i in range(40):
    params = step(params, jax.random.fold_in(key, i))
  np.testing.assert_allclose(params[:3], means, atol=1e-3)
  # 750 of the 3000 are dropped: the mean of their labels errs by 0.05.
  assert abs(params[3] - means.mean()) < 0.15


def test_shrinking_keeps_what_is_constant_and_the_mean(key):
  flat = jnp.full((2, 8, 8, 3), 0.3)
  np.testing.assert_allclose(conditioning.shrink(flat, 4), 0.3, atol=1e-6)
  x0 = 0.3 * jax.random.uniform(key, (2, 32, 32, 1), minval=-1)
  with pytest.raises(ValueError, match='needs square images, got 16x8'):
    conditioning.shrink(jnp.zeros((1, 16, 8, 1)), 4)
  small = conditioning.shrink(x0, 8)
  assert small.shape == (2, 8, 8, 1)
  np.testing.assert_allclose(small.mean(), x0.mean(), atol=5e-3)


def test_augmentation_keeps_unit_variance(key):
  num = 2000
  x_key, key, half_key = jax.random.split(key, 3)
  keys = jax.random.split(key, num)
  x = jax.random.normal(x_key, (num, 4, 4, 1))
  level = jnp.repeat(jnp.array([0.0, 1.0]), num // 2)
  out = conditioning.augment(keys, x, level)
  np.testing.assert_array_equal(out[: num // 2], x[: num // 2])
  late, clean = out[num // 2 :], x[num // 2 :]
  assert abs(np.corrcoef(late.ravel(), clean.ravel())[0, 1]) < 0.03
  keys = jax.random.split(half_key, num)
  half = conditioning.augment(keys, x, jnp.full(num, 0.5))
  assert abs(half.std() - 1.0) < 0.03


def test_a_small_image_and_its_noise_are_shown(key):
  seen = {}

  def loss(params, keys, batch):
    seen.update(batch['cond'])
    return jnp.zeros(len(keys)), {}

  shown = conditioning.super_resolution(loss, 4, 0.5)
  x0 = jnp.full((500, 8, 8, 1), 0.5)
  keys = jax.random.split(key, 500)
  shown(None, keys, {'x0': x0, 'cond': {'label': jnp.zeros(500)}})
  level = np.asarray(seen['augment'])
  assert 0 <= level.min() < 0.01 and 0.49 < level.max() <= 0.5
  assert seen['low_res'].shape == (500, 4, 4, 1) and 'label' in seen
  spread = np.asarray(seen['low_res']).std(axis=(1, 2, 3))
  assert np.corrcoef(spread, level)[0, 1] > 0.9  # as noisy as told


def test_rows_of_unlike_tables_are_refused():
  table = {'label': jnp.arange(3), 'low_res': jnp.zeros((2, 4, 4, 1))}
  with pytest.raises(ValueError, match="{'label': 3, 'low_res': 2}"):
    conditioning.rows(table, jnp.arange(2))
  one = {'label': jnp.arange(3), 'low_res': jnp.zeros((1, 4, 4, 1))}
  assert conditioning.rows(one, jnp.arange(5))['low_res'].shape[0] == 5


def test_rows_repeat_the_table():
  table = {'label': jnp.array([5, 6, 7])}
  rows = conditioning.rows(table, jnp.array([0, 1, 2, 3, 7]))
  np.testing.assert_array_equal(rows['label'], [5, 6, 7, 5, 6])
