import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from exact import SCHEDULES

from jaxdiff import schedules

FAMILY = SCHEDULES | {
  've': schedules.ve(),
  'sub_vp': schedules.sub_vp(),
  'edm': schedules.edm(),
  'rectified_flow': schedules.rectified_flow(),
  'laplace': schedules.laplace(),
  'linear_log_snr': schedules.linear_log_snr(-9.0, 9.0),
  'zero_terminal': schedules.from_betas(
    schedules.zero_terminal_snr(schedules.scaled_linear_betas())
  ),
  'shifted_cosine': schedules.shifted(schedules.cosine(), 4.0),
  'shifted_flow': schedules.shifted(schedules.rectified_flow(), 3.0),
  'shifted_edm': schedules.shifted(schedules.edm(), 0.5),
}
VARIANCE_PRESERVING = [
  *SCHEDULES,
  'laplace',
  'linear_log_snr',
  'zero_terminal',
  'shifted_cosine',
]


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


@pytest.mark.parametrize('betas', ['linear', 'scaled_linear', 'sigmoid'])
def test_a_table_ends_in_noise_whatever_its_length(betas):
  make = getattr(schedules, f'{betas}_betas')
  at_end = lambda num: schedules.from_betas(make(num))(1.0)
  # The mean of samples of N(0.8, 0.1^2) by the ODE, from noise of mean 0.
  mean = lambda alpha, sigma: 0.8 - 0.08 * alpha / np.hypot(0.1 * alpha, sigma)
  published = mean(*at_end(1000))
  assert published > 0.794
  for num in (1, 2, 10, 20, 50, 100, 250, 4000):
    # Short tables end with the cap of 0.999.
    assert mean(*at_end(num)) > min(published - 1e-4, 0.797), num
  np.testing.assert_array_equal(make(1000), make(1000, *PUBLISHED[betas]))
  np.testing.assert_allclose(make(500)[[0, -1]], 2 * make(1000)[[0, -1]])


PUBLISHED = {
  'linear': (1e-4, 0.02),
  'scaled_linear': (0.00085, 0.012),
  'sigmoid': (1e-4, 0.02),
}


def test_table_is_log_linear_between_grid_points():
  schedule = schedules.from_betas(schedules.linear_betas(10))
  ends = schedules.log_snr(schedule, np.array([0.4, 0.5]))
  middle = schedules.log_snr(schedule, 0.425)
  np.testing.assert_allclose(middle, ends @ np.array([0.75, 0.25]), rtol=1e-5)


@pytest.mark.parametrize('name', FAMILY)
def test_log_snr_decreases_strictly(name):
  t = np.linspace(0, 1, 3001)
  log_snr = schedules.log_snr(FAMILY[name], t)
  assert (np.diff(log_snr[1:]) < 0).all() and log_snr[0] > log_snr[1]


@pytest.mark.parametrize('name', VARIANCE_PRESERVING)
def test_variance_is_preserved_and_t_broadcasts(name):
  t = np.linspace(0, 1, 12).reshape(3, 4)
  level = FAMILY[name](t)
  chex.assert_shape(level, (3, 4))
  np.testing.assert_allclose(level.alpha**2 + level.sigma**2, 1, rtol=3e-7)


@pytest.mark.parametrize('name', FAMILY)
def test_derivative_agrees_with_differences(name):
  # 0.3505 lies inside a table's interval; the grid point 0.35 keeps a
  # derivative too, though the value there is snapped.
  schedule, h = FAMILY[name], 1e-4
  one = jnp.float32(1)
  for t in (0.3505, 0.35):
    got = jax.jvp(schedule, (jnp.float32(t),), (one,))[1]
    want = [
      (np.float64(a) - np.float64(b)) / (2 * h)
      for a, b in zip(schedule(t + h), schedule(t - h), strict=True)
    ]
    np.testing.assert_allclose(got, want, rtol=2e-2)


@pytest.mark.parametrize('name', FAMILY)
def test_derivative_is_whole_where_sampling_starts(name):
  # A clip of t would halve it, at t = 1 exactly.
  slope = jax.jacfwd(FAMILY[name])
  end, before = slope(jnp.float32(1)), slope(jnp.float32(1 - 3e-5))
  if name != 'laplace':  # Steep there: alpha goes as a power of 1 - t.
    np.testing.assert_allclose(end, before, rtol=0.15, atol=2e-5)


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
    ([0.1, 1.0, 0.2], r'\(0, 1\)'),
    ([0.0, 0.5], r'\(0, 1\)'),
    ([0.1, np.nan], r'\(0, 1\)'),
  ],
)
def test_impossible_betas(betas, message):
  with pytest.raises(ValueError, match=message):
    schedules.from_betas(betas)


def test_impossible_schedules():
  with pytest.raises(ValueError, match='so as to keep it'):
    schedules.shifted(schedules.sub_vp(), 2.0)
  with pytest.raises(ValueError, match='two or more betas'):
    schedules.zero_terminal_snr([0.5])


@pytest.mark.parametrize('name', FAMILY)
def test_inverse_finds_the_time(name):
  schedule = FAMILY[name]
  # Away from the grid points, where a table holds its value for a moment.
  t = np.array([[0.00123, 0.01052, 0.1234], [0.5003, 0.9004, 0.9995]])
  value = schedules.log_snr(schedule, t)
  inverse = jax.jit(lambda value: schedules.inverse(schedule, value))
  # As exact as the log-SNR itself is in float32.
  slope = jnp.vectorize(jax.grad(lambda t: schedules.log_snr(schedule, t)))(t)
  rounding = 1e-6 * (1 + np.abs(value)) / np.abs(slope)
  assert (np.abs(inverse(value) - t) < 1e-6 * t + rounding).all()
  # A table holds its value at t = 0 for a thousandth of a step.
  ends = inverse(jnp.array([jnp.inf, -jnp.inf]))
  np.testing.assert_allclose(ends, [0, 1], atol=2e-6)


def test_inverse_keeps_its_digits_near_the_data():
  t = np.array([1e-7, 1e-5, 1e-3])
  schedule = schedules.rectified_flow()
  got = schedules.inverse(schedule, schedules.log_snr(schedule, t))
  np.testing.assert_allclose(got, t, rtol=3e-6)


def test_variance_exploding_schedules():
  t = np.linspace(0, 1, 11)
  alpha, sigma = schedules.ve(0.1, 10.0)(t)
  np.testing.assert_array_equal(alpha, 1)
  np.testing.assert_allclose(sigma[::5], [0.1, 1, 10], rtol=1e-6)
  # Karras et al., eq. 5, counted from the noisy end.
  alpha, sigma = schedules.edm(0.002, 80.0, 7.0)(t[::-1])
  i = np.arange(11)
  first, last = 80.0 ** (1 / 7), 0.002 ** (1 / 7)
  np.testing.assert_array_equal(alpha, 1)
  np.testing.assert_allclose(
    sigma, (first + i / 10 * (last - first)) ** 7, rtol=3e-6
  )


def test_sub_vp_solves_its_sde():
  # dx = -beta/2 x dt + sqrt(beta (1 - exp(-2 int beta))) dw: the variance
  # obeys (sigma^2)' = -beta sigma^2 + beta (1 - alpha^4).
  schedule = schedules.sub_vp(0.1, 20.0)
  for t in (0.2, 0.6):
    beta = 0.1 + 19.9 * t
    slope = jax.grad(lambda t: schedule(t).sigma ** 2)(t)
    alpha, sigma = schedule(t)
    want = -beta * sigma**2 + beta * (1 - alpha**4)
    np.testing.assert_allclose(slope, want, rtol=1e-4)
  np.testing.assert_array_equal(schedule(0.0), (1, 0))


def test_rectified_flow_is_straight_and_exact_at_its_ends():
  schedule = schedules.rectified_flow()
  alpha, sigma = schedule(np.array([0.0, 0.25, 1.0]))
  np.testing.assert_array_equal(alpha, [1, 0.75, 0])
  np.testing.assert_array_equal(sigma, [0, 0.25, 1])


def test_shift_of_rectified_flow_is_a_change_of_time():
  flow, t = schedules.rectified_flow(), np.linspace(0, 1, 9)
  shifted = schedules.shifted(flow, 3.0)
  np.testing.assert_allclose(shifted(t), flow(3 * t / (1 + 2 * t)), atol=1e-7)
  # Both ends keep a derivative, the velocity's coefficients there.
  slope = jax.jacfwd(shifted)(jnp.float32(1))
  np.testing.assert_allclose(slope, (-1 / 3, 1 / 3), rtol=1e-6)


@pytest.mark.parametrize('name', ['cosine', 'edm', 'rectified_flow'])
def test_shift_moves_the_log_snr(name):
  t = np.array([0.1, 0.5, 0.9])
  moved = schedules.log_snr(schedules.shifted(FAMILY[name], 2.0), t)
  still = schedules.log_snr(FAMILY[name], t)
  np.testing.assert_allclose(still - moved, 2 * np.log(2.0), rtol=1e-4)


def test_laplace_is_the_law_of_its_log_snr():
  t = np.linspace(0.01, 0.99, 50)
  log_snr = schedules.log_snr(schedules.laplace(0.5, 0.8), t)
  want = scipy.stats.laplace(0.5, 0.8).isf(t)
  np.testing.assert_allclose(log_snr, want, atol=1e-5)
  ends = schedules.log_snr(schedules.laplace(0.0, 2.0, -7.0, 9.0), np.arange(2))
  np.testing.assert_allclose(ends, [9, -7], rtol=1e-5)


def test_linear_log_snr_is_what_it_says():
  t = np.linspace(0, 1, 9)
  log_snr = schedules.log_snr(schedules.linear_log_snr(-5.0, 13.3), t)
  np.testing.assert_allclose(log_snr, np.linspace(13.3, -5.0, 9), rtol=1e-5)


@pytest.mark.parametrize('num_steps', [2, 10, 1000])
def test_zero_terminal_snr(num_steps):
  betas = schedules.linear_betas(num_steps)
  changed = schedules.zero_terminal_snr(betas)
  assert changed[-1] == 1 and changed[0] == betas[0]
  # Nothing but a move and a stretch of alpha: differences keep their ratios.
  alpha = np.append(np.sqrt(np.cumprod(1 - changed[:-1])), 0.0)
  old = np.sqrt(np.cumprod(1 - betas))
  np.testing.assert_allclose(
    (alpha - alpha[-1]) / (alpha[0] - alpha[-1]),
    (old - old[-1]) / (old[0] - old[-1]),
    atol=1e-9,
  )
  schedule = schedules.from_betas(changed)
  grid = np.arange(1, num_steps + 1) / num_steps
  np.testing.assert_allclose(schedule(grid).alpha, alpha, atol=1e-6)
  np.testing.assert_array_equal(schedule(1.0), (0, 1))
  just_before = schedules.log_snr(schedule, 1.0 - 0.01 / num_steps)
  assert np.isfinite(just_before)
  # The velocity's coefficients are finite where sampling starts.
  slope = jax.jacfwd(schedule)(jnp.float32(1))
  np.testing.assert_allclose(slope.alpha, -alpha[-2] * num_steps, rtol=1e-5)
  np.testing.assert_allclose(slope.sigma, 0, atol=1e-6)
