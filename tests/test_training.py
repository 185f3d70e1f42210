import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from exact import SCHEDULES, gaussian_denoiser, keys

from jaxdiff import losses, predictions, training
from jaxdiff.losses import time_sampling
from jaxdiff.models import optimizer as optimizers

SCHEDULE = SCHEDULES['cosine']


def linear(params, xt, t, cond, dropout_key=None):
  """The smallest denoiser: x0 = scale xt + shift."""
  return params['scale'] * xt + params['shift']


LOSS = losses.denoising(linear, SCHEDULE, predictions.x0)


def start(optimizer):
  params = {'scale': jnp.float32(0.1), 'shift': jnp.float32(0.0)}
  return training.init_state(params, optimizer, jax.random.key(3))


def data(num, mean=0.3, std=0.2):
  x0 = mean + std * jax.random.normal(jax.random.key(7), (num, 2, 2, 1))
  return {'x0': x0, 'cond': {}}


def test_training_finds_the_best_linear_denoiser():
  # At a single time, t = 0.5, the optimum is the exact denoiser.
  loss = losses.denoising(
    linear, SCHEDULE, predictions.x0, times=lambda u: 0.0 * u + 0.5
  )
  optimizer = optax.adam(0.03)
  step = jax.jit(
    training.make_train_step(
      loss, optimizer, decay=0.9, positions=time_sampling.independent
    )
  )
  state, batch = start(optimizer), data(4096)
  for _ in range(300):
    state, _ = step(state, batch)
  mean, std = np.mean(batch['x0']), np.std(batch['x0'])
  exact = gaussian_denoiser(SCHEDULE, mean, std)
  for x in (-1.0, 0.0, 2.0):
    want = exact(jnp.full((1, 1), x), jnp.array([0.5])).item()
    got = state.ema_params['scale'] * x + state.ema_params['shift']
    np.testing.assert_allclose(got, want, atol=0.01)
  assert state.step == 300


def test_accumulation_gives_the_gradient_of_the_whole_batch():
  optimizer = optax.sgd(0.1)
  run = lambda n: jax.jit(
    training.make_train_step(LOSS, optimizer, accumulate=n)
  )(start(optimizer), data(24))
  (whole, a), (parts, b) = run(1), run(4)
  chex.assert_trees_all_close(whole.params, parts.params, rtol=1e-6)
  np.testing.assert_allclose(a['loss'], b['loss'], rtol=1e-6)
  np.testing.assert_allclose(a['grad_norm'], b['grad_norm'], rtol=1e-6)


def test_noise_is_a_function_of_step_and_seed():
  optimizer = optax.sgd(0.0)
  step = jax.jit(training.make_train_step(LOSS, optimizer))
  state, batch = start(optimizer), data(8)
  one, a = step(state, batch)
  _, again = step(state, batch)
  _, later = step(one, batch)
  _, other = step(state._replace(key=jax.random.key(4)), batch)
  assert a['loss'] == again['loss']
  assert len({float(m['loss']) for m in (a, later, other)}) == 3


def test_stratified_times_fill_every_part_once():
  seen = {}

  def spy(params, keys, batch):
    seen['u'] = batch['u']
    return jnp.zeros(len(keys)) * params['scale'], {'u': batch['u']}

  step = training.make_train_step(
    lambda p, k, b: (spy(p, k, b)[0], {}), optax.sgd(0.1)
  )
  with jax.disable_jit():
    step(start(optax.sgd(0.1)), data(50))
  parts = np.floor(np.array(seen['u']) * 50)
  np.testing.assert_array_equal(parts, np.arange(50))


def test_stratified_times_lower_the_variance_of_the_loss():
  batch = {'x0': jnp.zeros((64, 50)), 'cond': {}}
  apply = lambda params, xt, t, cond, dropout_key=None: 0 * xt

  def spread(positions):
    # Zero data and a zero network: the loss in v is alpha^2 eps^2.
    loss = losses.denoising(apply, SCHEDULE, predictions.v)
    step = jax.jit(
      training.make_train_step(loss, optax.sgd(0.0), positions=positions)
    )
    state, values = start(optax.sgd(0.0)), []
    for _ in range(200):
      state, metrics = step(state, batch)
      values.append(metrics['loss'])
    return np.std(values), np.mean(values)

  (free, mean_free), (tied, mean_tied) = (
    spread(time_sampling.independent),
    spread(time_sampling.stratified),
  )
  assert tied < 0.5 * free
  np.testing.assert_allclose(mean_free, mean_tied, atol=5 * free / 200**0.5)


@pytest.mark.parametrize('norm', [0.1, 4.9, 5.1, 1e9])
def test_gradients_are_clipped_as_optax_does(norm):
  grads = {'a': jnp.asarray([3.0, 0.0]), 'b': jnp.asarray([[-4.0]])}
  ours, theirs = optimizers.clip(norm), optax.clip_by_global_norm(norm)
  state = theirs.init(grads)
  chex.assert_trees_all_equal_structs(ours.init(grads), state)
  clip = lambda side: side.update(grads, state)[0]
  chex.assert_trees_all_close(clip(ours), clip(theirs), rtol=1e-6)
  assert optax.global_norm(clip(ours)) <= min(norm, 5.0) * (1 + 1e-6)


def test_average_warms_up():
  decays = training.ema_decay(np.array([0, 10, 10**6]), 0.999)
  np.testing.assert_allclose(decays, [0.1, 11 / 20, 0.999], rtol=1e-6)
  optimizer = optax.sgd(0.1)
  state, _ = training.make_train_step(LOSS, optimizer)(
    start(optimizer), data(8)
  )
  # After one step the average is 0.1 of the start and 0.9 of the new.
  want = 0.1 * 0.1 + 0.9 * state.params['scale']
  np.testing.assert_allclose(state.ema_params['scale'], want, rtol=1e-6)


def test_average_has_a_half_life_that_grows_with_the_steps():
  steps = np.array([0, 20, 200, 10**6])
  decays = training.ema_decay(steps, 0.999, 0.05)
  # Half of it is forgotten in 1 and in 10 steps, a twentieth of those so far.
  want = [0.0, 0.5, 0.5**0.1, 0.999]
  np.testing.assert_allclose(decays, want, rtol=1e-6)
  optimizer = optax.sgd(0.1)
  step = training.make_train_step(LOSS, optimizer, rampup=0.05)
  state, _ = step(start(optimizer), data(8))
  chex.assert_trees_all_equal(state.ema_params, state.params)
  with pytest.raises(ValueError, match=r'rampup must be in \(0, 1\]'):
    training.make_train_step(LOSS, optimizer, rampup=0.0)


@pytest.mark.parametrize('num_steps', [1, 7, 1000])
def test_grid_times_are_the_tables(num_steps):
  u = np.linspace(0, 1, 4001, dtype=np.float32)[:-1]
  t = np.array(time_sampling.grid(num_steps)(u))
  np.testing.assert_allclose(
    np.unique(t), (np.arange(num_steps) + 1) / num_steps, rtol=1e-6
  )


def test_continuous_times_leave_out_the_clean_end():
  t = time_sampling.continuous(0.01)(
    jax.vmap(jax.random.uniform)(keys(0, 5000))
  )
  assert t.min() > 0.01 and t.max() <= 1
  np.testing.assert_allclose(t.mean(), 0.505, atol=0.02)
