"""Likelihood of Gaussian data, whose denoiser and entropy are known."""

import json

import jax
import numpy as np
import pytest
from exact import gaussian_denoiser
from PIL import Image

from jaxdiff import parallel, processes, samplers, schedules
from jaxdiff.evaluation import bits, likelihood
from jaxdiff.models import Model

MEAN, STD = 0.1, 0.2
SCHEDULE = schedules.cosine()
TIMES = samplers.quadratic_times(30)


def model(bins):
  """The exact model of this data; its only parameter is the mean."""
  return Model(
    spec=None,
    init=None,
    loss=None,
    schedule=SCHEDULE,
    bins=bins,
    process=processes.gaussian(SCHEDULE, bins=bins),
    encode=lambda params, cond: cond,
    estimator=lambda params, cond: gaussian_denoiser(SCHEDULE, params, STD),
  )


def images(num):
  rng = np.random.default_rng(0)
  return (MEAN + STD * rng.normal(size=(num, 2, 2, 1))).astype(np.float32)


def evaluate(x0, batch_size, devices=1, bins=256, **options):
  cond = {'label': np.zeros(len(x0), np.int32)}
  batches = (
    {
      'x0': x0[i : i + batch_size],
      'cond': {'label': cond['label'][i : i + batch_size]},
    }
    for i in range(0, len(x0), batch_size)
  )
  mesh = parallel.make_mesh(devices=jax.devices()[:devices])
  return likelihood.evaluate(
    model(bins), MEAN, batches, TIMES, mesh=mesh, **options
  )


def test_report_of_gaussian_data(tmp_path):
  x0 = images(300)
  report = evaluate(x0, 128, bins=None)
  assert report.num_examples == 300
  entropy = 0.5 * np.log2(2 * np.pi * STD**2) + 0.5 * (
    np.mean((x0.astype(np.float64) - MEAN) ** 2) / STD**2 / np.log(2)
  )
  # The Jacobian is diagonal: one Rademacher probe is exact.
  assert abs(report.ode.mean - entropy) < 2e-3
  # Dimensions are independent, so an example's bits/dim have the variance of
  # z^2 / (2 log 2) over 4.
  error = 1 / (np.sqrt(2) * np.log(2)) / np.sqrt(4 * 300)
  np.testing.assert_allclose(report.ode.standard_error, error, rtol=0.2)
  assert report.bound.mean > report.ode.mean
  parts = report.prior.mean + report.steps.mean + report.data.mean
  np.testing.assert_allclose(report.bound.mean, parts, rtol=1e-6)
  total = sum(term.mean for term in report.terms)
  np.testing.assert_allclose(report.steps.mean, total, rtol=1e-6)
  np.testing.assert_allclose(report.edges, TIMES[:-1])
  assert 'ODE' in bits.table(report, 'value')
  json.dumps(report._asdict())

  path = tmp_path / 'bits.png'
  bits.plot(report, 'value').savefig(path)
  assert Image.open(path).size[0] > 500


@pytest.mark.parametrize(
  'mode', ['jit', pytest.param('pmap', marks=pytest.mark.slow)]
)
def test_numbers_do_not_depend_on_batches_or_devices(mode):
  # 11 examples: the last batch is filled up, and what fills it is not counted.
  x0 = np.round((images(11) + 1) * 127.5) / 127.5 - 1
  x0 = x0.astype(np.float32)
  one = evaluate(x0, 11, num_terms=4)
  many = evaluate(x0, 9, devices=8, mode=mode, num_terms=4)
  assert one.num_examples == many.num_examples == 11
  assert len(many.terms) == 4 and len(many.edges) == 5
  for a, b in ((one.bound, many.bound), (one.ode, many.ode)):
    np.testing.assert_allclose(a, b, rtol=1e-3)
  # 8-bit data of this spread: the density's bits and the 7 of a bin.
  entropy = 0.5 * np.log2(2 * np.pi * np.e * STD**2) + 7
  assert abs(many.ode.mean - entropy) < 0.5


def test_without_the_ode_and_without_examples():
  report = evaluate(images(8), 8, with_ode=False)
  assert report.ode is None and 'ODE' not in bits.table(report, 'value')
  with pytest.raises(ValueError, match='no examples'):
    evaluate(images(0), 8)
