"""Power-function averages against their profile, and after training."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdiff import averages

STEPS = 2000


def path(num=STEPS):
  """Two weights after each step: one settles, one wanders."""
  t = np.arange(1, num + 1)
  noise = np.random.default_rng(0).normal(size=num).cumsum() / num**0.5
  return np.stack([np.exp(-t / 300), noise], -1).astype(np.float32)


def tracked(weights, std):
  """The average after each step, as training keeps it."""

  def step(average, inputs):
    n, new = inputs
    average = average + averages.rate(n, std) * (new - average)
    return average, average

  inputs = jnp.arange(len(weights)), jnp.asarray(weights)
  return np.asarray(jax.lax.scan(step, jnp.full(2, 7.0), inputs)[1])


@pytest.mark.parametrize('std', [0.01, 0.05, 0.1, 0.25])
def test_the_average_has_its_width(std):
  t = np.arange(1, STEPS + 1) / STEPS
  steps = np.stack([t, t**2], -1).astype(np.float32)
  mean, square = tracked(steps, std)[-1]
  assert np.sqrt(square - mean**2) == pytest.approx(std, rel=0.03)


def test_the_first_average_is_the_first_weights():
  weights = path(3)
  np.testing.assert_allclose(tracked(weights, 0.1)[0], weights[0], rtol=1e-6)


def test_a_late_step_weighs_what_it_should():
  exact = 1 - (1 - np.float64(1e-6)) ** (averages.exponent(0.05) + 1)
  assert averages.rate(999_999, 0.05) == pytest.approx(exact, rel=1e-5)


def test_the_widest_is_the_mean_of_all():
  weights = path(50)
  mean = tracked(weights, averages.WIDEST)[-1]
  np.testing.assert_allclose(mean, weights.mean(0), rtol=1e-4)


@pytest.mark.parametrize('std', [0.04, 0.05, 0.08, 0.12, 0.2])
@pytest.mark.parametrize('end', [STEPS, 1500])
def test_an_average_after_training_is_the_one_tracked(std, end):
  weights = path()
  every = STEPS // 40
  steps = np.arange(every, end + 1, every)
  bases = [(s, tracked(weights, s)) for s in (0.05, 0.1)]
  known = [(n, s, kept[n - 1]) for n in steps for s, kept in bases]
  found = averages.weights(
    [n for n, _, _ in known], [s for _, s, _ in known], end, std
  )
  made = averages.combined([{'w': x} for _, _, x in known], found)['w']
  truth = tracked(weights, std)[end - 1]
  spread = weights[:end].std(0)
  assert (np.abs(made - truth) < 0.01 * spread).all()


def test_a_snapshot_is_its_own_average():
  found = averages.weights([100, 200, 200], [0.05, 0.05, 0.1], 200, 0.05)
  np.testing.assert_allclose(found, [0, 1, 0], atol=1e-6)


@pytest.mark.parametrize(
  ('arguments', 'message'),
  [
    (([10], [0.1], 5, 0.1), 'steps must be from 1'),
    (([], [], 5, 0.1), 'steps must be from 1'),
    (([5, 10], [0.1, 0.1], 10, 0.01), 'its profile would be .* off'),
    (([5], [0.1], 10, 0.1), 'its profile would be .* off'),
    (([5], [0.3], 5, 0.1), 'std'),
    (([5], [0.1], 5, 0.0), 'std'),
    (([5], [0.1], 5, float('nan')), 'std'),
  ],
)
def test_averages_that_do_not_exist_are_refused(arguments, message):
  with pytest.raises(ValueError, match=message):
    averages.weights(*arguments)
