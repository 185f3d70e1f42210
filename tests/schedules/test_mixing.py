import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdiff.processes import draws
from jaxdiff.schedules import mixing

DATA = np.array([0.5, 0.3, 0.15, 0.05])
SCHEDULES = {
  'linear': mixing.linear(),
  'log_linear': mixing.log_linear(),
  'cosine': mixing.cosine(),
  'squared_cosine': mixing.squared_cosine(),
  'offset_cosine': mixing.offset_cosine(),
  'd3pm': mixing.offset_cosine(1.0),
  'mutual_information': mixing.mutual_information(DATA, np.full(4, 0.25)),
}


@pytest.mark.parametrize('name', SCHEDULES)
def test_alpha_and_sigma_are_shares_that_start_at_data(name):
  schedule = SCHEDULES[name]
  t = jnp.linspace(0, 1, 513)
  alpha, sigma = schedule(t)
  assert alpha[0] == 1 and sigma[0] == 0
  end = 1e-3 if name == 'log_linear' else 0
  np.testing.assert_allclose(alpha[-1], end, rtol=1e-6)
  np.testing.assert_allclose(alpha + sigma, 1, atol=3e-7)
  assert (np.diff(alpha) < 0).all() and (np.diff(sigma) > 0).all()
  # Small ones keep their digits: from the other end they would be 0.
  assert schedule(1e-9).sigma > 0
  slope = jax.vmap(jax.grad(lambda t: schedule(t).alpha))(t)
  assert jnp.all(jnp.isfinite(slope)) and jnp.all(slope[1:-1] < 0)


@pytest.mark.parametrize('power', [1.0, 2.0])
def test_offset_cosine_is_that_of_the_papers(power):
  t = np.linspace(0, 1, 33)
  f = np.cos((t + 0.008) / 1.008 * np.pi / 2) ** power
  alpha, sigma = mixing.offset_cosine(power)(t)
  np.testing.assert_allclose(alpha, f / f[0], rtol=1e-5, atol=1e-7)
  np.testing.assert_allclose(sigma, 1 - f / f[0], rtol=1e-5, atol=1e-7)


def test_offset_cosine_without_an_offset_is_squared_cosine():
  t = np.linspace(0, 1, 33)
  ours, plain = mixing.offset_cosine(2.0, 0.0)(t), mixing.squared_cosine()(t)
  np.testing.assert_allclose(ours, plain, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize('noise', ['uniform', 'marginal', 'absorbing'])
def test_information_is_lost_evenly(noise):
  data = np.append(DATA, 0.0) if noise == 'absorbing' else DATA
  pi = {
    'uniform': np.full(4, 0.25),
    'marginal': DATA,
    'absorbing': np.eye(5)[-1],
  }[noise]
  schedule = mixing.mutual_information(data, pi, 64)
  entropy = lambda p: -(p * np.log(np.where(p > 0, p, 1))).sum()
  for t in (0.0, 0.25, 0.5, 0.875, 1.0):
    alpha = float(schedule(t).alpha)
    joint = data[:, None] * (alpha * np.eye(len(pi)) + (1 - alpha) * pi)
    information = entropy(data) + entropy(joint.sum(0)) - entropy(joint)
    np.testing.assert_allclose(information / entropy(data), 1 - t, atol=3e-6)
  if noise == 'absorbing':
    t = np.linspace(0, 1, 33)
    np.testing.assert_allclose(schedule(t).alpha, 1 - t, atol=1e-6)


def test_wrong_arguments_are_named():
  with pytest.raises(ValueError, match='noise must sum to 1, got 0.9'):
    mixing.mutual_information([0.5, 0.5], [0.5, 0.4])
  with pytest.raises(ValueError, match='not certain'):
    mixing.mutual_information([1.0, 0.0], [0.5, 0.5])


# 1e6 draws; standard deviations of the counts are sqrt(n p).
P = np.array([0.0, 0.6, 0.3, 0.0899, 1e-2, 9e-5, 1e-5, 0.0])
NUM = 10**6


def agrees(counts):
  assert counts.sum() == NUM and (counts[P == 0] == 0).all()
  z = (counts - NUM * P)[P > 0] / np.sqrt(NUM * P * (1 - P))[P > 0]
  return np.abs(z).max() < 4


@pytest.mark.parametrize('way', ['draw', 'fixed'])
def test_a_million_draws_have_their_law(way):
  @jax.jit
  def counts(key):
    if way == 'fixed':
      x = draws.fixed(P)(key, (NUM,))
    else:
      with np.errstate(divide='ignore'):
        log_p = jnp.asarray(np.log(P), jnp.float32)
      x = draws.draw(key, jnp.broadcast_to(log_p, (NUM, len(P))))
    return jnp.bincount(x, length=len(P))

  assert agrees(np.asarray(counts(jax.random.key(3))))


def test_fixed_cuts_32_bits_where_the_law_does():
  # The bounds themselves: no sampling error, and none above 2^-32.
  bits = np.array([0, 1, 2**31 - 1, 2**31, 2**32 - 1], np.uint32)
  law = [0.0, 2.0**-32, 0.5 - 2.0**-32, 0.5, 0.0]
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(jax.random, 'bits', lambda *args: jnp.asarray(bits))
    x = draws.fixed(law)(jax.random.key(0), bits.shape)
  np.testing.assert_array_equal(x, [1, 2, 2, 3, 3])


@pytest.mark.slow
def test_gumbel_reaches_beyond_23_bits():
  # Of 2^25 draws the largest is above 15.9, where the default mode ends, with
  # a chance of 98 %.
  most = jax.jit(lambda key: jnp.max(draws.gumbel(key, (2**25,))))
  largest = max(float(most(jax.random.key(i))) for i in range(2))
  assert largest > 15.95
