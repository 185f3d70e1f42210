"""Optimizers and learning rates by name."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxdiff import config as c
from jaxdiff.config import registry
from jaxdiff.models import optimizer as optimizers

TARGET = {
  'matrix': jnp.array([[1.0, -2.0], [0.5, 3.0]]),
  'bias': jnp.array([0.3, -0.7]),
}


def distance(params):
  parts = jax.tree.map(lambda x, y: jnp.sum((x - y) ** 2), params, TARGET)
  return sum(jax.tree.leaves(parts))


def descend(optimizer, steps):
  @jax.jit
  def step(carry):
    params, state = carry
    updates, state = optimizer.update(jax.grad(distance)(params), state, params)
    return optax.apply_updates(params, updates), state

  params = jax.tree.map(jnp.zeros_like, TARGET)
  carry = params, optimizer.init(params)
  for _ in range(steps):
    carry = step(carry)
  return carry[0]


@pytest.mark.parametrize('name', registry.OPTIMIZERS)
def test_every_optimizer_descends(name):
  settings = c.Optimizer(name=name, learning_rate=0.1, schedule='cosine')
  params = descend(optimizers.make(settings, 100), 100)
  assert distance(params) < 0.05 * distance(
    jax.tree.map(jnp.zeros_like, TARGET)
  )


def test_adam_is_optax_adam():
  settings = c.Optimizer(learning_rate=0.1, b1=0.8, b2=0.9, clip_norm=None)
  ours = descend(optimizers.make(settings, 5), 5)
  theirs = descend(optax.adam(0.1, 0.8, 0.9), 5)
  jax.tree.map(np.testing.assert_array_equal, ours, theirs)


def rate(step, num_steps=1000, **settings):
  settings = c.Optimizer(learning_rate=0.1, **settings)
  return float(optimizers.rate(settings, num_steps)(step))


def test_power_decay_halves_at_four_times_its_steps():
  power = {'schedule': 'power(steps=50)'}
  assert rate(50, **power) == pytest.approx(0.1)
  assert rate(200, **power) == pytest.approx(0.05)
  # A longer run has the same rates.
  assert rate(200, 5000, **power) == rate(200, **power)


@pytest.mark.parametrize('schedule', registry.LEARNING_RATES)
def test_a_warm_up_rises_to_the_peak(schedule):
  settings = {'schedule': schedule, 'warmup_steps': 10}
  assert rate(0, **settings) == 0
  assert rate(5, **settings) == pytest.approx(0.05)
  assert rate(10, **settings) == pytest.approx(0.1)


@pytest.mark.parametrize('schedule', ['cosine', 'linear'])
def test_a_decay_ends_at_zero(schedule):
  assert rate(1000, schedule=schedule) == pytest.approx(0, abs=1e-8)


@pytest.mark.parametrize(
  ('settings', 'message'),
  [
    ({'name': 'adm'}, '--optimizer.name must be one of'),
    ({'weight_decay': 0.1}, 'weight-decay 0.1 is no setting of adam'),
    ({'name': 'muon', 'b1': 0.8}, 'b1 0.8 is no setting of muon'),
    ({'name': 'sgd', 'eps': 1e-6}, 'eps 1e-06 is no setting of sgd'),
    ({'name': 'adam(b1=2)'}, 'use --optimizer.b1'),
    ({'name': 'adam(learning_rate=3)'}, 'use --optimizer.learning-rate'),
    ({'name': 'lion(b3=1)'}, 'b3'),
    ({'name': 'muon(beta="x")'}, 'beta must be of type float'),
    ({'schedule': 'powr'}, '--optimizer.schedule must be one of'),
    ({'schedule': 'power(steps=0)'}, 'steps must be at least 1'),
    ({'schedule': 'power(exponent=-1.0)'}, 'exponent'),
    ({'schedule': 'cosine(peak=3.0)'}, 'use --optimizer.learning-rate'),
  ],
)
def test_settings_without_effect_or_sense_are_refused(settings, message):
  with pytest.raises(ValueError, match=message):
    c.Optimizer(**settings).check()


def test_unit_weights_norms_kernels_alone_after_every_step():
  settings = c.Optimizer(learning_rate=0.1, unit_weights=True)
  optimizer = optimizers.make(settings, 10)
  params = {'conv': {'kernel': jnp.ones((3, 2))}, 'gain': jnp.ones(2)}
  grads = {'conv': {'kernel': jnp.eye(3, 2)}, 'gain': jnp.ones(2)}
  updates, _ = optimizer.update(grads, optimizer.init(params), params)
  params = optax.apply_updates(params, updates)
  sizes = jnp.mean(params['conv']['kernel'] ** 2, axis=0)
  np.testing.assert_allclose(sizes, 1, rtol=1e-3)
  np.testing.assert_allclose(params['gain'], 0.9, rtol=1e-5)


def nothing(learning_rate):
  return learning_rate(0)


def test_a_function_that_builds_no_optimizer_is_refused():
  with pytest.raises(ValueError, match='must build an optimizer'):
    optimizers.make(c.Optimizer(name=f'{__name__}:nothing'), 10)
