"""Bits per element of data whose distribution can be enumerated."""

import jax.numpy as jnp
import numpy as np
import pytest
from enumerated import denoiser, law, strings

from jaxdiff import processes, samplers
from jaxdiff.evaluation import likelihood as evaluation
from jaxdiff.evaluation.bits import mean_of
from jaxdiff.evaluation.commands.likelihood import Likelihood
from jaxdiff.models import Model
from jaxdiff.schedules import mixing

PIS = {'absorbing': np.eye(4)[3], 'uniform': np.full(3, 1 / 3)}


def model(process, estimator):
  return Model(
    spec=None,
    init=None,
    loss=None,
    process=process,
    encode=lambda params, cond: cond,
    estimator=estimator,
  )


@pytest.mark.parametrize('noise', PIS)
def test_the_exact_denoiser_needs_the_entropy(noise):
  p, pi, schedule = law(), PIS[noise], mixing.linear()
  exact = denoiser(pi, schedule, p)
  rng = np.random.default_rng(0)
  index = rng.choice(9, size=256, p=p.ravel())
  x0 = strings(3, 2)[index]
  # The last batch is smaller than the others.
  batches = [{'x0': x0[i : i + 96]} for i in range(0, 256, 96)]
  report = evaluation.evaluate(
    model(processes.categorical(schedule, pi), lambda params, cond: exact),
    {},
    batches,
    samplers.uniform_times(40),
    num_terms=16,
  )
  truth = -np.log2(p.ravel()[index]).mean() / 2
  assert report.num_examples == 256 and report.num_elements == 512
  error = report.continuous.standard_error
  assert error < 0.1 and abs(report.continuous.mean - truth) < 4 * error
  # A chain of 40 steps loses a little, never gains.
  assert -4 * error < report.bound.mean - truth < 4 * error + 0.05
  parts = report.prior.mean + report.steps.mean + report.data.mean
  assert parts == pytest.approx(report.bound.mean)


def test_examples_count_by_their_length():
  values, elements = np.array([1.0, 4.0]), np.array([3, 1])
  mean = mean_of(values, elements).mean
  assert mean == pytest.approx((3 * 1.0 + 4.0) / 4)
  assert np.isnan(mean_of(values[:1], elements[:1]).standard_error)


def test_the_standard_error_is_that_of_repeated_sets():
  rng = np.random.default_rng(1)
  draw = lambda: (rng.normal(2.0, 1.0, 200), rng.integers(1, 9, 200))
  estimates = [mean_of(*draw()) for _ in range(400)]
  spread = np.std([e.mean for e in estimates])
  stated = np.mean([e.standard_error for e in estimates])
  # Of 400 sets the spread is known to 3.5 %.
  assert stated == pytest.approx(spread, rel=0.15)


def test_equal_sizes_are_no_sizes():
  values = np.array([1.0, 2.0, 4.0])
  estimate = mean_of(values, np.full(3, 7))
  np.testing.assert_allclose(estimate, mean_of(values), rtol=1e-12)


def test_numbers_do_not_depend_on_the_batches():
  schedule = mixing.linear()
  process = processes.absorbing(schedule, 3)
  logits = jnp.log(jnp.array([0.5, 0.3, 0.2, 1e-9]))
  flat = lambda params, cond: (
    lambda xt, t: jnp.broadcast_to(
      logits.reshape((1,) * xt.ndim + (-1,)), (*xt.shape, 4)
    )
  )
  x0 = np.random.default_rng(2).integers(0, 3, (12, 5))
  mask = np.arange(5)[None] < np.arange(1, 13)[:, None] % 5 + 1
  reports = [
    evaluation.evaluate(
      model(process, flat),
      {},
      [
        {'x0': x0[i : i + size], 'mask': mask[i : i + size]}
        for i in range(0, 12, size)
      ],
      samplers.uniform_times(4),
      num_terms=3,
    )
    for size in (12, 5)
  ]
  assert reports[0].num_elements == mask.sum()
  np.testing.assert_allclose(reports[0].continuous, reports[1].continuous, 1e-5)
  np.testing.assert_allclose(reports[0].bound, reports[1].bound, 1e-5)


def test_more_terms_than_steps_are_refused():
  Likelihood(workdir='runs/a', steps=4, num_terms=4)
  message = 'at most --steps, which are 4, got 99'
  with pytest.raises(ValueError, match=message):
    Likelihood(workdir='runs/a', steps=4, num_terms=99)
  with pytest.raises(ValueError, match='^--num-terms must be at most --steps'):
    Likelihood(workdir='runs/a', num_terms=99)._check_terms(4)  # of the run
