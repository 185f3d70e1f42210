import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from exact import SCHEDULES

from jaxdiff import schedules

VARIANCE_PRESERVING = list(SCHEDULES)


@pytest.mark.parametrize(
  'betas', ['linear', 'scaled_linear', 'cosine', 'sigmoid']
)
@pytest.mark.parametrize('num_steps', [10, 1000, 4000])
def test_table_is_exact_on_its_grid(betas, num_steps):
  betas = getattr(schedules, f'{betas}_betas')(num_steps)
  t = np.arange(num_steps + 1, dtype=np.float32) / num_steps
  alpha, sigma = jax.jit(schedules.from_betas(betas))(t)
  product = np.append(1.0, np.cumprod(1 - betas))
  np.testing.assert_allclose(alpha, np.sqrt(product), rtol=2e-6, atol=1e-9)
  np.testing.assert_allclose(sigma, np.sqrt(1 - product), rtol=2e-6)
  assert alpha[0] == 1 and sigma[0] == 0


def test_table_is_log_linear_between_grid_points():
  schedule = schedules.from_betas(schedules.linear_betas(10))
  ends = schedules.log_snr(schedule, np.array([0.4, 0.5]))
  middle = schedules.log_snr(schedule, 0.425)
  np.testing.assert_allclose(middle, ends @ np.array([0.75, 0.25]), rtol=1e-5)


@pytest.mark.parametrize('name', SCHEDULES)
def test_log_snr_decreases_strictly(name):
  t = np.linspace(0, 1, 3001)
  log_snr = schedules.log_snr(SCHEDULES[name], t)
  assert (np.diff(log_snr[1:]) < 0).all() and log_snr[0] > log_snr[1]


@pytest.mark.parametrize('name', VARIANCE_PRESERVING)
def test_variance_is_preserved_and_t_broadcasts(name):
  t = np.linspace(0, 1, 12).reshape(3, 4)
  level = SCHEDULES[name](t)
  chex.assert_shape(level, (3, 4))
  np.testing.assert_allclose(level.alpha**2 + level.sigma**2, 1, rtol=3e-7)


@pytest.mark.parametrize('name', SCHEDULES)
def test_derivative_agrees_with_differences(name):
  # 0.3505 lies inside a table's interval; the grid point 0.35 keeps a
  # derivative too, though the value there is snapped.
  schedule, h = SCHEDULES[name], 1e-4
  one = jnp.float32(1)
  for t in (0.3505, 0.35):
    got = jax.jvp(schedule, (jnp.float32(t),), (one,))[1]
    want = [
      (np.float64(a) - np.float64(b)) / (2 * h)
      for a, b in zip(schedule(t + h), schedule(t - h), strict=True)
    ]
    np.testing.assert_allclose(got, want, rtol=2e-2)


def test_ends_of_the_cosine_schedule():
  schedule = schedules.cosine(-12.0, 14.0)
  log_snr = schedules.log_snr(schedule, np.array([0.0, 0.5, 1.0]))
  np.testing.assert_allclose(log_snr[::2], [14, -12], rtol=1e-5)
  # Without truncation the middle is at 45 degrees.
  middle = schedules.log_snr(schedules.cosine(), 0.5)
  np.testing.assert_allclose(middle, 0, atol=1e-5)


def test_linear_vp_solves_its_sde():
  # d log alpha / dt = -beta(t) / 2.
  schedule = schedules.linear_vp(0.1, 20.0)
  for t in (0.1, 0.6):
    slope = jax.grad(lambda t: jnp.log(schedule(t).alpha))(t)
    np.testing.assert_allclose(slope, -0.5 * (0.1 + 19.9 * t), rtol=1e-5)


def test_sigma_keeps_its_digits_near_the_data():
  t = np.float64(1e-4)
  exact = np.sqrt(-np.expm1(-(t**2) * 19.9 / 2 - t * 0.1))
  sigma = schedules.linear_vp()(t).sigma
  np.testing.assert_allclose(sigma, exact, rtol=1e-6)


@pytest.mark.parametrize(
  ('betas', 'message'),
  [
    (np.ones((2, 2)) / 2, 'one-dimensional'),
    ([], 'one-dimensional'),
    ([0.1, 1.0], r'\(0, 1\)'),
    ([0.0, 0.5], r'\(0, 1\)'),
    ([0.1, np.nan], r'\(0, 1\)'),
  ],
)
def test_impossible_betas(betas, message):
  with pytest.raises(ValueError, match=message):
    schedules.from_betas(betas)


def test_impossible_schedules():
  with pytest.raises(ValueError, match='log_snr_min < log_snr_max'):
    schedules.cosine(5.0, -5.0)
  with pytest.raises(ValueError, match='beta_min'):
    schedules.linear_vp(2.0, 1.0)
