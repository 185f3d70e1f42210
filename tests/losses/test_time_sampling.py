"""Time samplers of training: their laws, their ends, their positions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from exact import keys

from jaxdiff import schedules
from jaxdiff.losses import time_sampling

U = time_sampling.stratified(jax.random.key(0), jnp.arange(2000), 2000)


def test_laws_of_the_time_samplers():
  # Stratified positions: the distance is 1 / 2000 from the quantile function.
  distance = lambda x, law: scipy.stats.kstest(np.asarray(x), law).statistic
  assert (
    distance(
      time_sampling.continuous(0.2)(U), scipy.stats.uniform(0.2, 0.8).cdf
    )
    < 2e-3
  )
  logit = lambda t: np.log(t / (1 - t))
  t = np.float64(time_sampling.logit_normal(-0.3, 0.8)(U))
  assert distance(logit(t), scipy.stats.norm(-0.3, 0.8).cdf) < 2e-3
  for schedule in (schedules.edm(), schedules.rectified_flow()):
    t = time_sampling.log_normal(schedule, -1.2, 1.2)(U)
    sigma = np.exp(-0.5 * schedules.log_snr(schedule, t))
    law = scipy.stats.lognorm(1.2, scale=np.exp(-1.2))
    assert distance(sigma, law.cdf) < 3e-3
  steps = np.rint(time_sampling.grid(10)(U) * 10)
  np.testing.assert_array_equal(np.unique(steps, return_counts=True)[1], 200)


def test_time_samplers_at_the_ends_of_u():
  u = jnp.array([0.0, 1.0])
  for sampler in (
    time_sampling.logit_normal(),
    time_sampling.log_normal(schedules.edm()),
    time_sampling.grid(7),
    time_sampling.continuous(0.01),
  ):
    t = sampler(u)
    assert (t >= 0).all() and (t <= 1).all()
  # A step of a table of 4, never step 0.
  steps = time_sampling.grid(4)(jnp.array([0.0, 0.24, 0.26, 0.99, 1.0]))
  np.testing.assert_array_equal(steps, [0.25, 0.25, 0.5, 1.0, 1.0])
  # All noise is beyond this schedule: its last level.
  clipped = time_sampling.log_normal(schedules.ve(0.01, 0.1), 5.0, 0.1)(u)
  np.testing.assert_array_equal(clipped, 1.0)


@pytest.mark.parametrize('name', ['independent', 'stratified', 'antithetic'])
def test_positions_are_uniform_and_a_function_of_the_index(name):
  draw = getattr(time_sampling, name)
  index = jnp.arange(500)
  u = draw(jax.random.key(3), index, 500)
  assert scipy.stats.kstest(np.asarray(u), 'uniform').pvalue > 1e-3
  part = draw(jax.random.key(3), index[17:21], 500)
  np.testing.assert_array_equal(part, u[17:21])
  if name != 'independent':
    np.testing.assert_array_equal(np.floor(u * 500), index)
  if name == 'antithetic':
    np.testing.assert_allclose(np.diff(u), 1 / 500, atol=1e-6)
  # Over keys, a single position has its whole law.
  one = jax.vmap(lambda key: draw(key, index[:1], 1)[0])(keys(1, 500))
  assert scipy.stats.kstest(np.asarray(one), 'uniform').pvalue > 1e-3
