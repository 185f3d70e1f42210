import jax
import jax.numpy as jnp
import numpy as np
import pytest
from enumerated import noised, strings
from exact import keys
from nets import jit

from jaxdiff import processes, schedules
from jaxdiff.schedules import mixing

PIS = {
  'absorbing': np.array([0.0, 0.0, 0.0, 1.0]),
  'uniform': np.full(4, 0.25),
  'marginal': np.array([0.5, 0.3, 0.15, 0.05]),
  'sparse': np.array([0.6, 0.4, 0.0, 0.0]),
}
DATA = {'absorbing': 3, 'uniform': 4, 'marginal': 4, 'sparse': 4}
PAIRS = [(1.0, 0.5), (0.7, 0.1), (0.31, 0.3), (1.0, 0.999)]
SCHEDULE = mixing.linear()


def chances(log_probs):
  return np.exp(np.asarray(log_probs, np.float64))


def bayes(pi, t, s):
  """q(xs = j | xt = i, x0 = k) on `mixing.linear`, [k, i, j], float64."""
  q = lambda a: a * np.eye(len(pi)) + (1 - a) * pi
  up, step = q(1 - s), q((1 - t) / (1 - s))
  every = up[:, None, :] * step.T[None]
  total = every.sum(-1, keepdims=True)
  return every / np.where(total > 0, total, 1), total[..., 0]


@pytest.mark.parametrize('noise', PIS)
def test_posterior_is_bayes_rule(noise):
  pi = PIS[noise]
  process = processes.categorical(SCHEDULE, pi)
  posterior = jit(process.posterior)
  k, i = np.meshgrid(np.arange(4), np.arange(4), indexing='ij')
  for t, s in PAIRS:
    truth, chance = bayes(pi, t, s)
    ours = chances(posterior(i, k, np.float32(t), np.float32(s)))
    possible = chance > 0
    np.testing.assert_allclose(ours[possible], truth[possible], atol=2e-5)
    # Zero is zero, not a small number.
    assert ((ours == 0) == (truth == 0))[possible].all()


@pytest.mark.parametrize('noise', PIS)
def test_corrupt_then_reverse_has_the_law_of_corrupt(noise):
  # Enumerated: sum_i q(i | k) q(j | i, k) = q(j | k).
  pi = PIS[noise]
  posterior = jit(processes.categorical(SCHEDULE, pi).posterior)
  for t, s in PAIRS:
    for k in range(DATA[noise]):
      i = np.arange(4, dtype=np.int32)
      q_t = (1 - t) * (i == k) + t * pi
      x0 = np.full(4, k, np.int32)
      ours = chances(posterior(i, x0, np.float32(t), np.float32(s)))
      q_s = (1 - s) * (i == k) + s * pi
      reached = np.where(q_t[:, None] > 0, q_t[:, None] * ours, 0).sum(0)
      np.testing.assert_allclose(reached, q_s, atol=2e-6)


@pytest.mark.parametrize('noise', PIS)
def test_reverse_marginalises_x0_out_of_the_posterior(noise):
  pi = PIS[noise]
  posterior = jit(processes.categorical(SCHEDULE, pi).posterior)
  prior = np.random.default_rng(1).exponential(size=4)
  prior[DATA[noise] :] = 0
  xt = np.arange(4, dtype=np.int32)
  for t, s in PAIRS:
    truth, q = bayes(pi, t, s)
    weight = prior[:, None] * q
    p = weight / np.where(weight.sum(0) > 0, weight.sum(0), 1)
    model = np.einsum('ki,kij->ij', p, truth)
    with np.errstate(divide='ignore'):
      logits = np.log(p.T).astype(np.float32)
    logits = np.maximum(logits, -80)  # any number where x0 is impossible
    ours = chances(posterior(xt, logits, np.float32(t), np.float32(s)))
    reached = weight.sum(0) > 0
    np.testing.assert_allclose(ours[reached], model[reached], atol=3e-5)


@pytest.mark.parametrize('noise', PIS)
def test_no_step_is_the_identity_and_the_last_draws_x0(noise):
  pi = PIS[noise]
  posterior = jit(processes.categorical(SCHEDULE, pi).posterior)
  xt = np.arange(4, dtype=np.int32)
  logits = jnp.asarray(np.random.default_rng(0).normal(size=(4, 4)), 'float32')
  for t in (1e-6, 0.3, 1.0):
    t = jnp.float32(t)
    stays = chances(posterior(xt, logits, t, t))
    drawn = pi > 0 if t == 1 else np.ones(4, bool)
    assert (stays == np.eye(4))[drawn].all()
  last = chances(posterior(xt, logits, np.float32(0.4), np.float32(0)))
  is_data = np.arange(4) < DATA[noise]
  p = np.where(is_data, np.exp(np.float64(logits)), 0)
  p = np.where(pi[:, None] > 0, p / p.sum(-1, keepdims=True), np.eye(4))
  np.testing.assert_allclose(last, p, atol=1e-6)
  assert ((last == 0) == (p == 0)).all()


def test_absorbing_never_unmasks_into_mask_and_carries_over():
  process = processes.absorbing(SCHEDULE, 3)
  # A network that wants MASK, and to change what is written.
  logits = jnp.array([[0.0, 0.0, 0.0, 50.0], [-50.0, 50.0, 0.0, 0.0]])
  xt = jnp.array([3, 0])
  posterior = jit(process.posterior)
  p = chances(posterior(xt, logits, jnp.float32(0.8), 0.0))
  assert p[0, 3] == 0
  np.testing.assert_allclose(p[0, :3], 1 / 3, rtol=1e-6)
  p = chances(posterior(xt, logits, jnp.float32(0.8), 0.2))
  np.testing.assert_allclose(p[0, 3], 0.25, rtol=1e-6)
  assert (p[1] == [1, 0, 0, 0]).all()


@pytest.mark.parametrize('noise', PIS)
def test_draws_have_the_law_they_should(noise):
  pi, num = PIS[noise], 20_000
  process = processes.categorical(SCHEDULE, pi)
  x0 = jnp.ones((num,), jnp.int32)
  t = jnp.full(num, 0.35)
  corrupt = jit(jax.vmap(process.corrupt))
  xt = corrupt(keys(0, num), x0, t)
  assert xt.dtype == jnp.int32
  expected = 0.65 * np.eye(4)[1] + 0.35 * pi
  seen = np.bincount(xt, minlength=4) / num
  assert (seen[expected == 0] == 0).all()
  np.testing.assert_allclose(seen, expected, atol=4 * 0.5 / np.sqrt(num))
  prior = jit(jax.vmap(lambda key: process.prior(key, ())))(keys(1, num))
  end = corrupt(keys(2, num), x0, jnp.ones(num))
  for drawn in (prior, end):
    seen = np.bincount(drawn, minlength=4) / num
    np.testing.assert_allclose(seen, pi, atol=4 * 0.5 / np.sqrt(num))
    assert (seen[pi == 0] == 0).all()


def test_corrupting_a_string_is_a_product():
  process = processes.uniform(SCHEDULE, 3)
  num, every = 20_000, strings(3, 2)
  x0 = jnp.broadcast_to(jnp.array([0, 2]), (num, 2))
  corrupt = jit(jax.vmap(process.corrupt))
  xt = np.asarray(corrupt(keys(0, num), x0, jnp.full(num, 0.6)))
  seen = np.bincount(xt @ np.array([3, 1]), minlength=9)
  expected = num * noised(np.full(3, 1 / 3), 0.4, np.array([0, 2]), every)
  assert ((seen - expected) ** 2 / expected).sum() < 26.1  # 0.1 %, 8 degrees


def test_wrong_arguments_are_named():
  with pytest.raises(ValueError, match='summing to 1'):
    processes.categorical(SCHEDULE, [0.5, 0.2])
  with pytest.raises(ValueError, match="'log_ratios', got 'score'"):
    processes.categorical(SCHEDULE, [0.5, 0.5], 'score')
  with pytest.raises(ValueError, match='alpha \\+ sigma = 1'):
    processes.uniform(schedules.cosine(), 3)
  with pytest.raises(ValueError, match=r'\(2, 3\), one for each of the 3'):
    processes.uniform(SCHEDULE, 3).posterior(
      jnp.zeros(2, jnp.int32), jnp.zeros((2, 4)), 0.5, 0.1
    )
