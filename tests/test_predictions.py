import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from exact import SCHEDULES

from jaxdiff import predictions, schedules

KINDS = {
  'x0': predictions.x0,
  'eps': predictions.eps,
  'v': predictions.v,
  'velocity': predictions.velocity,
  'score': predictions.score,
  'edm': predictions.edm(0.5),
  'eps_residual': predictions.eps_residual,
}


@pytest.fixture
def example(key):
  x0_key, eps_key = jax.random.split(key)
  x0 = jax.random.normal(x0_key, (4, 4))
  return x0, jax.random.normal(eps_key, (4, 4))


@pytest.mark.parametrize('schedule', SCHEDULES)
@pytest.mark.parametrize('kind', KINDS)
def test_round_trip(schedule, kind, example):
  schedule, kind = SCHEDULES[schedule], KINDS[kind]
  x0, eps = example
  for t in (0.05, 0.3, 0.7):
    alpha, sigma = schedule(t)
    xt = alpha * x0 + sigma * eps
    y = predictions.target(kind, schedule, x0, eps, t)
    # The smaller of the two parts of xt is what float32 loses.
    np.testing.assert_allclose(
      predictions.to_x0(kind, schedule, y, xt, t), x0, atol=5e-6 / alpha
    )
    np.testing.assert_allclose(
      predictions.to_eps(kind, schedule, y, xt, t), eps, atol=5e-6 / sigma
    )


def test_every_kind_to_every_other(example):
  x0, eps = example
  schedule, t = SCHEDULES['cosine'], 0.4
  xt = schedule(t).alpha * x0 + schedule(t).sigma * eps
  for kind, to in itertools.product(KINDS.values(), KINDS.values()):
    y = predictions.target(kind, schedule, x0, eps, t)
    got = predictions.convert(kind, to, schedule, y, xt, t)
    want = predictions.target(to, schedule, x0, eps, t)
    np.testing.assert_allclose(got, want, atol=2e-5)


def test_edm_with_unit_data_is_minus_v(example):
  target = partial(predictions.target, schedule=SCHEDULES['cosine'], t=0.3)
  x0, eps = example
  np.testing.assert_allclose(
    target(predictions.edm(1.0), x0=x0, eps=eps),
    -target(predictions.v, x0=x0, eps=eps),
    atol=1e-6,
  )


def test_edm_preconditioning_in_its_own_words(example):
  # Karras et al., table 1, on a variance-exploding schedule.
  sigma, sigma_data = jnp.float32(3.0), 0.5
  schedule = lambda t: schedules.NoiseLevel(jnp.ones_like(t), t)
  c_skip = sigma_data**2 / (sigma**2 + sigma_data**2)
  c_out = sigma * sigma_data / np.sqrt(sigma_data**2 + sigma**2)
  x0, eps = example
  xt = x0 + sigma * eps
  output = predictions.target(predictions.edm(), schedule, x0, eps, sigma)
  np.testing.assert_allclose(c_skip * xt + c_out * output, x0, atol=2e-6)


def test_eps_residual_of_nothing_is_xt(example):
  x0, eps = example
  schedule, t = schedules.linear_log_snr(), 0.4
  xt = schedule(t).alpha * x0 + schedule(t).sigma * eps
  kind = predictions.eps_residual
  output = predictions.target(kind, schedule, x0, eps, t)
  np.testing.assert_allclose(output + xt, eps, atol=1e-6)  # as VDM's code
  got = predictions.to_eps(kind, schedule, jnp.zeros_like(xt), xt, t)
  np.testing.assert_allclose(got, xt, atol=1e-6)


def test_score_is_the_gradient_of_the_log_density(example):
  x0, eps = example
  schedule, t = SCHEDULES['linear_vp'], 0.5
  alpha, sigma = schedule(t)
  density = lambda x: -0.5 * jnp.sum(((x - alpha * x0) / sigma) ** 2)
  got = predictions.target(predictions.score, schedule, x0, eps, t)
  want = jax.grad(density)(alpha * x0 + sigma * eps)
  np.testing.assert_allclose(got, want, atol=1e-5)


def test_velocity_is_the_time_derivative(example):
  x0, eps = example
  schedule = SCHEDULES['cosine']
  path = lambda t: schedule(t).alpha * x0 + schedule(t).sigma * eps
  got = predictions.target(predictions.velocity, schedule, x0, eps, 0.6)
  want = (path(0.601) - path(0.599)) / 0.002
  np.testing.assert_allclose(got, want, atol=1e-3)


@pytest.mark.parametrize('kind', KINDS)
def test_error_scale(kind, example):
  kind, schedule, t = KINDS[kind], SCHEDULES['cosine'], 0.35
  x0, eps = example
  xt = schedule(t).alpha * x0 + schedule(t).sigma * eps
  y = predictions.target(kind, schedule, x0, eps, t)
  off = predictions.to_x0(kind, schedule, y + 0.1, xt, t)
  scale = predictions.x0_error(kind, schedule, t)
  np.testing.assert_allclose((off - x0) ** 2, scale * 0.01, rtol=1e-3)


@pytest.mark.parametrize('kind', KINDS)
def test_clean_data_is_its_own_estimate(kind, example):
  # Where sigma is 0 several kinds divide 0 by 0; the gradient stays finite.
  if kind == 'velocity':
    pytest.skip('its coefficients are infinite where sigma starts as sqrt(t)')
  kind, schedule = KINDS[kind], SCHEDULES['ddpm']
  x0, noise = example
  to_x0 = lambda x: predictions.to_x0(kind, schedule, noise, x, 0.0)
  np.testing.assert_array_equal(to_x0(x0), x0)
  assert np.isfinite(jax.grad(lambda x: to_x0(x).sum())(x0)).all()
