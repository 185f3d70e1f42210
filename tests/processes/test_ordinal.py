import jax
import jax.numpy as jnp
import numpy as np
import pytest
from exact import keys
from scipy.linalg import expm

from jaxdiff import processes
from jaxdiff.schedules import mixing

K = 6
SCHEDULE = mixing.linear()


def generator(num_classes=K, width=1.0):
  """Symmetric jumps exp(-(i - j)^2 / (2 width^2)) within four widths."""
  i = np.arange(num_classes)
  apart = abs(i[:, None] - i)
  g = np.exp(-0.5 * (apart / width) ** 2) * ((apart > 0) & (apart <= 4 * width))
  return g - np.diag(g.sum(1))


def transition(alpha, g):
  """exp(tau G) whose slowest mode is alpha, float64."""
  slowest = -np.linalg.eigvalsh(g)[-2]
  return expm(-np.log(alpha) / slowest * g)


@pytest.fixture(scope='module')
def process():
  return processes.ordinal(SCHEDULE, K, 1.0)


def test_posterior_is_bayes_rule_of_matrix_exponentials(process):
  g = generator()
  k, i = np.meshgrid(np.arange(K), np.arange(K), indexing='ij')
  posterior = jax.jit(process.posterior)
  # The last two within a unit of the series, the tails being 1e-10 and less.
  for t, s in [(0.9, 0.4), (0.3, 0.29), (2e-3, 1e-3), (1e-4, 3e-5)]:
    up, all_t = transition(1 - s, g), transition(1 - t, g)
    step = transition((1 - t) / (1 - s), g)
    truth = up[:, None, :] * step.T[None] / all_t[..., None]
    ours = np.exp(posterior(i, k, jnp.float32(t), jnp.float32(s)))
    near = abs(k - i) <= 4
    np.testing.assert_allclose(ours[near], truth[near], atol=1e-3)
    np.testing.assert_allclose(ours.sum(-1), 1, rtol=1e-5)
  exactly = np.exp(posterior(i, k, jnp.float32(0.3), jnp.float32(0.3)))
  assert (exactly == np.eye(K)[i]).all()
  last = np.exp(posterior(i, k, jnp.float32(0.3), jnp.float32(0.0)))
  assert (last == np.eye(K)[k]).all()


def test_corrupt_then_reverse_has_the_law_of_corrupt(process):
  # Enumerated, from the truth's q(xt | x0) and our q(xs | xt, x0).
  g = generator()
  t, s = 0.7, 0.2
  i = np.arange(K, dtype=np.int32)
  for k in (0, 3):
    ours = np.exp(
      process.posterior(i, jnp.full(K, k), jnp.float32(t), jnp.float32(s))
    )
    reached = transition(1 - t, g)[k] @ np.asarray(ours, np.float64)
    np.testing.assert_allclose(reached, transition(1 - s, g)[k], atol=1e-5)


def test_draws_have_the_law_of_the_matrix(process):
  num = 20_000
  corrupt = jax.jit(jax.vmap(process.corrupt, (0, None, None)))
  x = corrupt(keys(0, num), jnp.full((2,), 1), jnp.float32(0.25))
  seen = np.bincount(np.asarray(x).ravel(), minlength=K) / (2 * num)
  expected = transition(0.75, generator())[1]
  np.testing.assert_allclose(seen, expected, atol=4 * 0.5 / np.sqrt(2 * num))
  end = corrupt(keys(1, num), jnp.full((2,), 1), jnp.float32(1.0))
  prior = jax.vmap(lambda key: process.prior(key, (2,)))(keys(2, num))
  for x in (end, prior):
    seen = np.bincount(np.asarray(x).ravel(), minlength=K) / (2 * num)
    np.testing.assert_allclose(seen, 1 / K, atol=4 * 0.4 / np.sqrt(2 * num))
  assert float(process.terms.prior(jnp.array([2]))[0]) == 0


def test_bound_of_one_element_is_its_likelihood(process):
  # In one step, in several, and in continuous time, all enumerated.
  p = 0.02 + np.random.default_rng(0).exponential(size=K)
  p /= p.sum()
  g = generator()
  i = np.arange(K, dtype=np.int32)

  def estimate(t):
    weight = p[:, None] * transition(1 - t, g) if t < 1 else p[:, None]
    return jnp.asarray(np.log(weight.T * np.ones((K, 1))), jnp.float32)

  q = lambda t: transition(1 - t, g) if t < 1 else np.full((K, K), 1 / K)
  terms = process.terms
  over = lambda f: jax.jit(jax.vmap(f, (0, None, 0, None, None)))
  step = over(lambda xt, x0, e, t, s: terms.step(xt, x0, e, t, s))
  rate = over(lambda xt, x0, e, t, s: terms.rate(xt, x0, e, t))

  def expected(f, t, s, k):
    return q(t)[k] @ np.float64(f(i, k, estimate(t), np.float32(t), s))

  for k in (1, 4):
    for times in ([1.0, 0.0], [1.0, 0.6, 0.2, 0.0]):
      bound = sum(
        expected(step, t, np.float32(s), k)
        for t, s in zip(times, times[1:], strict=False)
      )
      np.testing.assert_allclose(bound, -np.log(p[k]), rtol=2e-4)
    nodes, weights = np.polynomial.legendre.leggauss(20)
    u = 0.5 * (nodes + 1)
    bound = sum(
      2 * u**3 * w * expected(rate, u**4, np.float32(0), k)
      for u, w in zip(u, weights, strict=True)
    )
    np.testing.assert_allclose(bound, -np.log(p[k]), rtol=1e-3)


@pytest.mark.slow
def test_pixels_fit_in_memory_and_keep_their_tails():
  process = processes.ordinal(SCHEDULE, 256, 2.0)
  constants = jax.make_jaxpr(process.posterior)(
    jnp.zeros(3, jnp.int32), jnp.zeros(3, jnp.int32), 0.5, 0.1
  ).consts
  assert sum(np.size(c) * 4 for c in constants) < 40e6
  # Three neighbouring times of a thousand; noise of 1e-7 in the far tails
  # would make x0 = 20 away from xt as likely as any.
  posterior = jax.jit(process.posterior)
  logits = jnp.zeros((1, 256)).at[0, 200].set(20.0)
  t, s = jnp.float32(3e-3), jnp.float32(2e-3)
  p = np.exp(posterior(jnp.array([100]), logits, t, s))
  assert np.isfinite(p).all() and (p >= 0).all()
  np.testing.assert_allclose(p.sum(), 1, rtol=1e-5)
  truth = transition(0.998, generator(256, 2.0))
  step = transition(0.997 / 0.998, generator(256, 2.0))
  near = np.exp(posterior(jnp.array([100]), jnp.array([112]), t, s))[0]
  bayes = truth[112] * step[:, 100]
  bayes /= bayes.sum()
  np.testing.assert_allclose(near, bayes, atol=1e-4)
