"""Jumps of the rate matrix: marginals, the paper's equations, draws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from exact import keys
from nets import jit

from jaxdiff import processes
from jaxdiff.schedules import mixing

NOISES = {
  'absorbing': np.array([0.0, 0.0, 0.0, 1.0]),
  'uniform': np.full(4, 0.25),
  'marginal': np.array([0.6, 0.3, 0.1]),
}
SCHEDULES = {'linear': mixing.linear(), 'cosine': mixing.cosine()}
T, S = jnp.float32(0.6), jnp.float32(0.57)


def data(pi):
  """The categories that x0 can be."""
  return np.flatnonzero(pi < 1)


def matrix(process, pi, estimates, t=T, s=S):
  """P(xs | xt) for one element and each estimate, [estimates, K, K]."""
  row = lambda x, estimate: process.posterior(x[None], estimate[None], t, s)[0]
  every = jax.vmap(jax.vmap(row, (0, None)), (None, 0))
  return np.exp(np.float64(jit(every)(jnp.arange(len(pi)), estimates)))


def marginal(schedule, pi, x0, t):
  alpha, sigma = (float(level) for level in schedule(t))
  return alpha * np.eye(len(pi))[x0] + sigma * pi


@pytest.mark.parametrize('schedule', SCHEDULES.values(), ids=SCHEDULES)
@pytest.mark.parametrize('pi', NOISES.values(), ids=NOISES)
def test_jumps_keep_the_marginals_and_target_guidance_adds(pi, schedule):
  step = float(schedule(S).alpha - schedule(T).alpha)
  for omega, eta in ((0.0, 0.0), (0.0, 5.0), (0.3, 2.0)):
    process = processes.rate_matrix(schedule, pi, omega=omega, eta=eta)
    for x0, jumps in zip(
      data(pi), matrix(process, pi, jnp.asarray(data(pi))), strict=True
    ):
      allowed = (pi > 0) | (np.arange(len(pi)) == x0)
      wanted = marginal(schedule, pi, x0, S)
      # Every other category that q allows loses as much.
      moved = omega * step / allowed.sum()
      wanted = np.where(allowed, wanted - moved, wanted)
      wanted[x0] += moved * allowed.sum()
      found = marginal(schedule, pi, x0, T) @ jumps
      np.testing.assert_allclose(found, wanted, atol=3e-6)


def test_the_step_is_the_papers():
  pi, omega, eta = NOISES['marginal'], 0.5, 3.0
  p = np.array([0.5, 0.3, 0.2])
  process = processes.rate_matrix(mixing.linear(), pi, omega=omega, eta=eta)
  (jumps,) = matrix(process, pi, jnp.log(jnp.asarray(p))[None])
  # In the paper's time, which runs from noise to data.
  time, step = 1 - float(T), float(T) - float(S)
  wanted = np.zeros((3, 3))
  for i in range(3):
    # The network's estimate after Bayes' rule is p itself.
    for x1 in range(3):
      d = np.eye(3)[x1] - pi
      at = time * np.eye(3)[x1] + (1 - time) * pi
      rate = np.maximum(d - d[i], 0) / (3 * at[i])
      rate += eta * at + omega * (np.arange(3) == x1) / (3 * at[i])
      rate[i] = 0
      wanted[i] += p[x1] * rate * step
    wanted[i, i] = 1 - wanted[i].sum()
  np.testing.assert_allclose(jumps, wanted, atol=1e-6)


def test_masks_without_options_are_lifted_as_by_bayes_rule():
  pi = NOISES['absorbing']
  logits = jax.random.normal(jax.random.key(0), (5, 4))
  ours, plain = (
    matrix(build(SCHEDULES['cosine'], pi), pi, logits)
    for build in (processes.rate_matrix, processes.categorical)
  )
  np.testing.assert_allclose(ours, plain, atol=1e-6)


@pytest.mark.parametrize('pi', NOISES.values(), ids=NOISES)
def test_draws_have_the_law_of_the_posterior(pi):
  num, zero = 20_000, jnp.float32(0)
  process = processes.rate_matrix(mixing.linear(), pi, omega=0.2, eta=20.0)
  logits = jnp.linspace(-1.0, 1.0, len(pi))
  xt = jnp.arange(len(pi))
  estimate = jnp.tile(logits, (len(pi), 1))
  for s in (S, zero):
    reverse = jax.vmap(process.reverse, (0, None, None, None, None))
    drawn = np.asarray(jit(reverse)(keys(1, num), xt, estimate, T, s))
    found = np.mean(drawn[..., None] == np.arange(len(pi)), axis=0)
    (wanted,) = matrix(process, pi, logits[None], s=s)
    np.testing.assert_allclose(wanted.sum(-1), 1, atol=1e-6)
    np.testing.assert_allclose(found, wanted, atol=4 * 0.5 / np.sqrt(num))


def test_too_large_jumps_are_cut():
  pi = NOISES['uniform']
  process = processes.rate_matrix(mixing.linear(), pi, eta=1e6)
  jumps = matrix(process, pi, jnp.zeros((1, 4)))
  np.testing.assert_allclose(jumps.sum(-1), 1, atol=1e-6)
  np.testing.assert_allclose(jumps, (1 - np.eye(4))[None] / 3, atol=1e-6)
