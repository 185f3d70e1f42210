import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from exact import gaussian_denoiser, keys

from jaxdiff import normal, predictions, processes, samplers, schedules
from jaxdiff.losses import learned_variance

STEPS = 20
BETAS = schedules.linear_betas(STEPS, 1e-3, 0.4)
SCHEDULE = schedules.from_betas(BETAS)
MEAN, STD = 0.1, 0.3


def test_kl_is_the_integral():
  x = np.linspace(-30, 30, 200_001)
  for m1, s1, m2, s2 in [(0, 1, 0, 1), (0.3, 0.5, -1, 2), (1, 1.5, 1, 0.9)]:
    p, q = scipy.stats.norm(m1, s1), scipy.stats.norm(m2, s2)
    want = np.trapezoid(p.pdf(x) * (p.logpdf(x) - q.logpdf(x)), x)
    got = normal.kl(m1, s1**2, m2, s2**2)
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-7)
  # A ratio of variances that 1 + x cannot hold.
  want = 0.5 * (1e-12 - 1 - np.log(1e-12))
  np.testing.assert_allclose(normal.kl(0.0, 1e-12, 0.0, 1.0), want, rtol=1e-6)


@pytest.mark.parametrize('bins', [2, 16, 256])
def test_discretized_likelihood_is_the_probability_of_each_bin(bins):
  centres = np.linspace(-1, 1, bins)
  edges = np.concatenate(
    [[-np.inf], (centres[1:] + centres[:-1]) / 2, [np.inf]]
  )
  log_p = jax.jit(partial(normal.discretized_log_likelihood, bins=bins))
  for mean, std in [(0.0, 0.5), (0.3, 0.01), (-1.4, 0.2), (0.2, 30.0)]:
    got = log_p(centres, mean, std)
    p = np.diff(scipy.stats.norm(mean, std).cdf(edges))
    np.testing.assert_allclose(np.exp(got), p, rtol=3e-4, atol=1e-7)
    np.testing.assert_allclose(np.sum(np.exp(got)), 1.0, rtol=1e-5)
  # Far in a tail it is still a number, and so is its gradient.
  log_p = jax.jit(jax.grad(normal.discretized_log_likelihood, 1))
  slope = log_p(1.0, -1.0, 0.003)
  assert np.isfinite(slope) and slope > 0


@pytest.mark.parametrize('i', [2, 3, 11, STEPS])
def test_variance_lies_between_the_textbooks_two(i):
  product = np.append(1.0, np.cumprod(1 - BETAS))
  small = BETAS[i - 1] * (1 - product[i - 1]) / (1 - product[i])
  ends = processes.interpolated_log_variance(
    SCHEDULE, jnp.array([-1.0, 0.0, 1.0]), i / STEPS, (i - 1) / STEPS
  )
  want = np.log([small, np.sqrt(small * BETAS[i - 1]), BETAS[i - 1]])
  np.testing.assert_allclose(ends, want, rtol=1e-5)


def test_last_steps_small_variance_is_that_of_the_step_before():
  last, before = (
    processes.interpolated_log_variance(SCHEDULE, -1.0, t / STEPS, s / STEPS)
    for t, s in [(1, 0), (2, 1)]
  )
  np.testing.assert_allclose(last, before, rtol=1e-6)


@pytest.mark.parametrize('steps', [20, 5])
@pytest.mark.parametrize(('v', 'variance'), [(-1.0, 'small'), (1.0, 'large')])
def test_sampling_at_the_ends_of_v_is_the_fixed_variance(steps, v, variance):
  denoise = gaussian_denoiser(SCHEDULE, MEAN, STD)
  pair = lambda xt, t: (denoise(xt, t), jnp.full_like(xt, v))
  x = jax.random.normal(jax.random.key(1), (6, 3))
  run = lambda variance, denoiser: samplers.sample(
    samplers.ancestral(processes.gaussian(SCHEDULE, variance)),
    denoiser,
    keys(0, 6),
    x,
    samplers.uniform_times(steps),
  )
  np.testing.assert_allclose(
    run('learned', pair), run(variance, denoise), atol=1e-4
  )


@pytest.mark.parametrize('times', [[1.0, 0.4, 0.0], [1.0, 0.8, 0.15, 0.0]])
def test_exact_variance_gives_the_right_law_in_few_steps(times):
  # p(xs | xt) of Gaussian data is normal: with its true variance, wherever it
  # is between the two, any grid is exact. Only the last step adds none.
  def v(t, s):
    alpha_t, sigma_t = SCHEDULE(t)
    process = processes.gaussian(SCHEDULE)
    gain = process.posterior(0.0, 1.0, t, s)[0]
    left = 1 / (1 / STD**2 + (alpha_t / sigma_t) ** 2)
    true = jnp.log(process.posterior(0.0, 0.0, t, s)[1] + gain**2 * left)
    low, high = (
      processes.interpolated_log_variance(SCHEDULE, v, t, s)
      for v in (-1.0, 1.0)
    )
    return 2 * (true - low) / (high - low) - 1

  grid = jnp.array(times)
  follows = dict(zip(times[:-1], times[1:], strict=True))

  denoise = gaussian_denoiser(SCHEDULE, MEAN, STD)
  num = 20_000
  (alpha, sigma), step_keys = SCHEDULE(1.0), keys(0, num)
  start = np.sqrt((alpha * STD) ** 2 + sigma**2)
  x = alpha * MEAN + start * jax.vmap(jax.random.normal)(keys(1, num))
  process = processes.gaussian(SCHEDULE, 'learned')
  for n, t in enumerate(times[:-2]):
    s = follows[t]
    fraction = lambda x, time, t=t, s=s: jnp.full_like(
      x, v(jnp.float32(t), jnp.float32(s))
    )
    step = samplers.ancestral(process, variance=fraction)
    fold = jax.vmap(lambda key, n=n: jax.random.fold_in(key, n))
    x = step(denoise, fold(step_keys), x, grid[n], grid[n + 1])
    alpha, sigma = SCHEDULE(s)
    want = np.sqrt((alpha * STD) ** 2 + sigma**2)
    np.testing.assert_allclose(x.std(), want, rtol=4 / np.sqrt(2 * num))
    np.testing.assert_allclose(
      x.mean(), alpha * MEAN, atol=4 * want / np.sqrt(num)
    )


def network(params, xt, t, cond, dropout_key=None):
  return params['y'] * xt, params['v'] + 0.0 * xt


PARAMS = {'y': jnp.float32(0.4), 'v': jnp.float32(0.2)}
NUM = 32
PIXELS = jnp.round(jax.random.uniform(jax.random.key(5), (NUM, 2, 2, 1)) * 255)
BATCH = {'x0': PIXELS / 127.5 - 1}


def test_bound_terms_against_float64():
  # Straight from the definition: q and p of DDPM in numpy, the decoder with
  # scipy's normal.
  kind = predictions.eps
  term = jax.jit(learned_variance.bound_term(kind, SCHEDULE, STEPS))
  product = np.append(1.0, np.cumprod(1 - BETAS))
  small = BETAS * (1 - product[:-1]) / (1 - product[1:])
  small[0] = small[1]
  x0 = np.float64(BATCH['x0'][0])
  eps = np.random.default_rng(0).normal(size=x0.shape)
  for i in (1, 2, 7, STEPS):
    beta, now, before = BETAS[i - 1], product[i], product[i - 1]
    xt = np.sqrt(now) * x0 + np.sqrt(1 - now) * eps
    y, v = 0.9 * eps, 0.2
    hat = (xt - np.sqrt(1 - now) * y) / np.sqrt(now)
    mean = lambda x0, b=beta, n=now, p=before, xt=xt: (
      (np.sqrt(p) * b * x0 + np.sqrt(1 - b) * (1 - p) * xt) / (1 - n)
    )
    var = np.exp(0.6 * np.log(beta) + 0.4 * np.log(small[i - 1]))
    if i == 1:
      p = scipy.stats.norm(hat, np.sqrt(var))
      upper = np.where(x0 > 0.999, np.inf, x0 + 1 / 255)
      lower = np.where(x0 < -0.999, -np.inf, x0 - 1 / 255)
      want = -np.log(p.cdf(upper) - p.cdf(lower))
    else:
      q = small[i - 1]
      want = 0.5 * (
        np.log(var / q) + (q + (mean(x0) - mean(hat)) ** 2) / var - 1
      )
    got = term(
      jnp.float32(y),
      jnp.full(y.shape, v),
      jnp.float32(x0),
      jnp.float32(xt),
      i / STEPS,
    )
    np.testing.assert_allclose(got, want.mean() / math.log(2), rtol=2e-4)


def test_hybrid_stops_the_gradient_of_the_mean():
  make = lambda scale: learned_variance.hybrid(
    network, SCHEDULE, predictions.eps, STEPS, vlb_scale=scale
  )
  mean = lambda loss: lambda p: loss(p, keys(0, NUM), BATCH)[0].mean()
  grad = lambda loss: jax.jit(jax.grad(mean(loss)))(PARAMS)
  none, some = grad(make(0.0)), grad(make(0.1))
  assert none['v'] == 0 and abs(some['v']) > 1e-4
  np.testing.assert_allclose(some['y'], none['y'], rtol=1e-6)
  alone = grad(
    learned_variance.variational(network, SCHEDULE, predictions.eps, STEPS)
  )
  np.testing.assert_allclose(some['v'], 0.1 * alone['v'], rtol=1e-5)
  assert abs(alone['y']) > 1e-3


def test_hybrid_is_the_sum_of_its_metrics():
  args = (network, SCHEDULE, predictions.eps, STEPS)
  at = lambda loss: jax.jit(loss)(PARAMS, keys(0, NUM), BATCH)
  value, metrics = at(learned_variance.hybrid(*args, vlb_scale=0.1))
  total = metrics['simple'] + 0.1 * metrics['vlb']
  np.testing.assert_allclose(value, total, rtol=1e-6)
  bound = at(learned_variance.variational(*args))[0]
  np.testing.assert_allclose(metrics['vlb'], bound, rtol=1e-5)


def test_bound_is_least_at_the_true_variance():
  # On Gaussian data with the exact mean, the v that minimises one term is the
  # log of the true reverse variance.
  i, num = 8, 20_000
  t, s = jnp.float32(i / STEPS), jnp.float32((i - 1) / STEPS)
  term = learned_variance.bound_term(predictions.x0, SCHEDULE, STEPS)
  x0 = MEAN + STD * jax.random.normal(jax.random.key(0), (num,))
  alpha, sigma = SCHEDULE(t)
  xt = alpha * x0 + sigma * jax.random.normal(jax.random.key(1), (num,))
  y = gaussian_denoiser(SCHEDULE, MEAN, STD)(xt, jnp.full(num, t))
  slope = jax.jit(jax.grad(lambda v: term(y, jnp.full(num, v), x0, xt, t)))
  low, high = jnp.float32(-2), jnp.float32(2)
  for _ in range(20):
    middle = 0.5 * (low + high)
    low, high = (middle, high) if slope(middle) < 0 else (low, middle)
  posterior = processes.gaussian(SCHEDULE).posterior
  left = 1 / (1 / STD**2 + (alpha / sigma) ** 2)
  true = posterior(0.0, 0.0, t, s)[1] + posterior(0.0, 1.0, t, s)[0] ** 2 * left
  got = processes.interpolated_log_variance(SCHEDULE, middle, t, s)
  np.testing.assert_allclose(got, np.log(true), atol=0.02)


def test_a_network_of_twice_the_channels_is_split(key):
  x = jax.random.normal(key, (2, 3))
  t = jnp.array([0.3, 0.8])
  array = lambda params, xt, t, cond: jnp.concatenate([xt, 0.1 * xt], axis=-1)
  split = learned_variance.split_output(array)
  np.testing.assert_array_equal(split(None, x, t, {}), (x, 0.1 * x))
