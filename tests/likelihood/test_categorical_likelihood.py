"""The bound of categorical data, against enumerated expectations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from enumerated import denoiser, law, noised, strings
from exact import gaussian_denoiser, keys
from gaussian import (
  BETAS,
  MEAN,
  STD,
  TIMES,
  closed_form,
  gaussian_bits,
  gaussian_data,
  within,
)
from nets import jit

from jaxdiff import likelihood, processes, samplers, schedules
from jaxdiff.likelihood import variational_bound
from jaxdiff.schedules import mixing

SCHEDULE = mixing.linear()
PIS = {
  'absorbing': np.array([0.0, 0.0, 0.0, 1.0]),
  'uniform': np.full(3, 1 / 3),
}


def chain_bound(noise, p, num_steps):
  """The bound of each string, all expectations enumerated, nats, [K^L]."""
  pi, length = PIS[noise], p.ndim
  process = processes.categorical(SCHEDULE, pi)
  denoise = denoiser(pi, SCHEDULE, p)
  x0, every = strings(3, length), strings(len(pi), length)
  step = jax.vmap(process.terms.step, (0, None, 0, None, None))
  step = jax.vmap(step, (None, 0, None, None, None))

  def term(ends):
    t, s = ends
    nats = step(every, x0, denoise(every, jnp.full(len(every), t)), t, s)
    q = noised(pi, 1 - t, x0[:, None], every[None])
    return jnp.sum(jnp.where(q > 0, q * nats.sum(-1), 0.0), -1)

  times = jnp.linspace(1, 0, num_steps + 1)
  terms = jit(lambda times: jax.lax.map(term, (times[:-1], times[1:])))
  return np.asarray(terms(times), np.float64).sum(0)


@pytest.mark.parametrize('noise', PIS)
def test_bound_of_one_element_is_its_likelihood(noise):
  p = law(length=1)
  for num_steps in (1, 7):
    bound = chain_bound(noise, p, num_steps)
    np.testing.assert_allclose(bound, -np.log(p), rtol=1e-4)


@pytest.mark.parametrize('noise', PIS)
def test_bound_of_several_elements_falls_to_the_likelihood(noise):
  p = law()
  gaps = [
    p.ravel() @ (chain_bound(noise, p, num_steps) + np.log(p.ravel()))
    for num_steps in (1, 8, 64)
  ]
  # On average over the data each is a KL divergence; of one step, the two
  # elements' mutual information.
  both = np.outer(p.sum(1), p.sum(0))
  np.testing.assert_allclose(gaps[0], (p * np.log(p / both)).sum(), atol=1e-5)
  assert gaps[0] > 4 * gaps[1] > 16 * gaps[2] > 0
  assert gaps[2] < 0.01


@pytest.mark.parametrize(
  'noise', ['uniform', pytest.param('absorbing', marks=pytest.mark.slow)]
)
def test_estimates_have_the_enumerated_mean(noise):
  p, pi = law(), PIS[noise]
  process = processes.categorical(SCHEDULE, pi)
  denoise = denoiser(pi, SCHEDULE, p)
  num = 4000
  # The last element does not exist: the same bits per element as without it.
  x0 = jnp.broadcast_to(jnp.array([0, 2, -1]), (num, 3))
  mask = jnp.broadcast_to(jnp.array([True, True, False]), (num, 3))

  def three(xt, t):
    logits = denoise(xt[:, :2], t)
    return jnp.concatenate([logits, jnp.zeros_like(logits[:, :1])], 1)

  def close(bound, nats):
    total = np.asarray(bound.total)
    error = total.std() / np.sqrt(num)
    assert abs(total.mean() - nats / (2 * np.log(2))) < 4 * error + 1e-6
    assert error < 0.1

  bound = jit(
    lambda keys: likelihood.continuous_bound(
      process, three, keys, x0, mask=mask, num_terms=4
    )
  )(keys(0, num))
  assert bound.steps.shape == (num, 4)
  close(bound, -np.log(p[0, 2]))
  times = samplers.uniform_times(6)
  exact = chain_bound(noise, p, 6)[2]
  for num_terms in (None, 2):
    bound = jit(
      lambda keys, n=num_terms: likelihood.variational_bound(
        process, three, keys, x0, times, mask=mask, num_terms=n
      )
    )(keys(1, num))
    close(bound, exact)
  np.testing.assert_array_equal(
    likelihood.elements(process, x0[:2], mask[:2]), [2, 2]
  )


def test_what_is_left_at_t_1_is_paid_for():
  x0 = jnp.zeros((1, 2), jnp.int32)
  flat = lambda xt, t: jnp.zeros((*xt.shape, 4))
  bound = lambda process: jit(
    lambda keys: likelihood.continuous_bound(process, flat, keys, x0)
  )(keys(0, 1))
  schedule = mixing.log_linear(0.1)
  # KL(0.1 x0 + 0.9 / 4 || 1 / 4), by hand, in bits.
  q = np.array([0.325, 0.225, 0.225, 0.225])
  np.testing.assert_allclose(
    bound(processes.uniform(schedule, 4)).prior,
    (q * np.log2(q * 4)).sum(),
    rtol=1e-4,
  )
  # All masks, says the prior, and they are not.
  assert np.isinf(bound(processes.absorbing(schedule, 3)).prior)
  assert bound(processes.absorbing(SCHEDULE, 3)).prior == 0


def test_wrong_arguments_are_named():
  process = processes.uniform(SCHEDULE, 3)
  x0 = jnp.zeros((1, 2), jnp.int32)
  args = (process, None, keys(0, 1), x0)
  with pytest.raises(ValueError, match='decrease to 0'):
    likelihood.variational_bound(*args, [0.0, 1.0])
  with pytest.raises(ValueError, match='num_terms must be at least 1'):
    likelihood.continuous_bound(*args, num_terms=0)


@pytest.mark.slow
def test_numbers_and_categories_have_a_joint_bound():
  schedule = schedules.from_betas(BETAS)
  numbers = processes.gaussian(schedule, bins=None)
  categories = processes.absorbing(mixing.linear(), 3)
  process = processes.joint({'x': numbers, 'kind': categories})
  denoise = gaussian_denoiser(schedule, MEAN, STD)
  flat = lambda xt, t: {
    'x': denoise(xt['x'], t),
    'kind': jnp.zeros((*xt['kind'].shape, 4)),
  }
  num = 4000
  x0 = {'x': gaussian_data(num), 'kind': jnp.zeros((num, 3), jnp.int32)}
  run = lambda f: jit(lambda x0: f(process, flat, keys(1, num), x0).total)(x0)
  chain = run(lambda *args: variational_bound(*args, TIMES, num_terms=8))
  limit = run(lambda *args: likelihood.continuous_bound(*args, num_terms=8))
  alone = np.array([sum(map(np.sum, closed_form('small'))), np.log2(3)])
  exact = np.array([gaussian_bits(x0['x']).mean(), np.log2(3)])
  # A category costs log 3 whatever the steps; a number its own bound.
  within(chain, [2, 3] @ alone / 5)
  within(limit, [2, 3] @ exact / 5, atol=2e-3)
