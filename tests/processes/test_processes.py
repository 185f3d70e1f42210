import jax
import jax.numpy as jnp
import numpy as np
import pytest
from exact import SCHEDULES, keys

from jaxdiff import processes, schedules

STEPS = 1000
BETAS = schedules.linear_betas(STEPS)


def textbook(i):
  """q(x_{i-1} | x_i, x_0) of DDPM eq. 7, in float64: (c_xt, c_x0, variance)."""
  product = np.append(1.0, np.cumprod(1 - BETAS))
  beta, now, before = BETAS[i - 1], product[i], product[i - 1]
  return (
    np.sqrt(1 - beta) * (1 - before) / (1 - now),
    np.sqrt(before) * beta / (1 - now),
    beta * (1 - before) / (1 - now),
  )


@pytest.mark.parametrize('i', [1, 2, 3, 10, 100, 500, 999, 1000])
def test_posterior_is_the_textbooks_on_a_table(i):
  process = processes.gaussian(SCHEDULES['ddpm'])
  t, s = jnp.float32(i / STEPS), jnp.float32((i - 1) / STEPS)
  from_xt, variance = process.posterior(1.0, 0.0, t, s)
  from_x0, _ = process.posterior(0.0, 1.0, t, s)
  np.testing.assert_allclose(
    (from_xt, from_x0, variance), textbook(i), rtol=0, atol=1e-6
  )


@pytest.mark.parametrize('schedule', SCHEDULES)
def test_posterior_obeys_bayes_for_any_pair(schedule):
  # q(xs | xt, x0) q(xt | x0) = q(xt | xs) q(xs | x0): as the marginal of xs
  # given x0 is known, averaging the posterior over xt must return it.
  schedule = SCHEDULES[schedule]
  posterior = processes.gaussian(schedule).posterior
  for t, s in [(1.0, 0.0), (1.0, 0.5), (0.7, 0.1), (0.31, 0.3), (0.5, 0.5)]:
    t, s = jnp.float32(t), jnp.float32(s)
    (alpha_t, sigma_t), (alpha_s, sigma_s) = schedule(t), schedule(s)
    gain = posterior(1.0, 0.0, t, s)[0]
    mean, variance = posterior(alpha_t * 0.7, 0.7, t, s)
    np.testing.assert_allclose(mean, alpha_s * 0.7, atol=1e-6)
    total = variance + (gain * sigma_t) ** 2
    np.testing.assert_allclose(total, sigma_s**2, atol=1e-6)


@pytest.mark.parametrize('variance', ['small', 'large'])
def test_no_step_is_the_identity(variance, key):
  process = processes.gaussian(SCHEDULES['ddpm'], variance)
  xt = jax.random.normal(key, (5,))
  for t in (0.0, 0.001, 0.4, 1.0):
    t = jnp.float32(t)
    xs = process.reverse(jax.random.key(1), xt, jnp.zeros(5), t, t)
    np.testing.assert_allclose(xs, xt, atol=1e-6)


def test_corrupt_then_reverse_is_corrupt_to_s():
  process = processes.gaussian(SCHEDULES['cosine'])
  num, t, s = 100_000, jnp.float32(0.8), jnp.float32(0.3)
  x0 = jnp.full((num, 1), 0.5)
  time = jnp.full(num, t)
  xt = jax.vmap(process.corrupt)(keys(0, num), x0, time)
  xs = jax.vmap(process.reverse)(keys(1, num), xt, x0, time, jnp.full(num, s))
  alpha, sigma = SCHEDULES['cosine'](s)
  error = sigma / np.sqrt(num)
  np.testing.assert_allclose(xs.mean(), alpha * 0.5, atol=4 * error)
  np.testing.assert_allclose(xs.std(), sigma, rtol=4 / np.sqrt(2 * num))


def test_large_variance_is_beta_and_adds_nothing_at_the_last_step(key):
  process = processes.gaussian(SCHEDULES['ddpm'], 'large')
  xt = x0 = jnp.zeros(())
  draw = lambda key, i: process.reverse(
    key, xt, x0, jnp.float32(i / STEPS), jnp.float32((i - 1) / STEPS)
  )
  many = jax.vmap(draw, (0, None))(keys(0, 20_000), 300)
  np.testing.assert_allclose(many.std(), np.sqrt(BETAS[299]), rtol=0.02)
  assert draw(key, 1) == 0


def test_prior_is_what_corruption_ends_in():
  schedule = SCHEDULES['ddpm']
  process = processes.gaussian(schedule)
  num = 50_000
  prior = jax.vmap(lambda key: process.prior(key, (2,)))(keys(0, num))
  noisy = jax.vmap(lambda key: process.corrupt(key, jnp.ones(2), 1.0))(
    keys(1, num)
  )
  assert prior.shape == (num, 2)
  np.testing.assert_allclose(prior.std(), noisy.std(), rtol=0.01)
  np.testing.assert_allclose(prior.mean(), 0, atol=0.02)


def test_variance_by_name():
  with pytest.raises(ValueError, match="or 'learned', got 'fixed'"):
    processes.gaussian(SCHEDULES['cosine'], 'fixed')
