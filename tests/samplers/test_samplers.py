import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from exact import SCHEDULES, gaussian_denoiser, keys

from jaxdiff import guidance, predictions, processes, samplers, schedules

MEAN, STD = 0.3, 0.2
NUM = 20_000


def draw(step, schedule, times, num=NUM, seed=0, wrap=lambda d: d):
  prior_keys, step_keys = samplers.sample_keys(seed, jnp.arange(num))
  process = processes.gaussian(schedule)
  x = jax.vmap(lambda key: process.prior(key, (1,)))(prior_keys)
  denoise = wrap(gaussian_denoiser(schedule, MEAN, STD))
  return samplers.sample(step, denoise, step_keys, x, times)


@pytest.mark.parametrize('schedule', ['cosine', 'ddpm', 'linear_vp'])
@pytest.mark.parametrize('sampler', ['small', 'large', 'ddim', 'ddim_half'])
def test_samples_have_the_right_law(schedule, sampler):
  schedule = SCHEDULES[schedule]
  step = {
    'small': samplers.ancestral(processes.gaussian(schedule, 'small')),
    'large': samplers.ancestral(processes.gaussian(schedule, 'large')),
    'ddim': samplers.ddim(schedule),
    'ddim_half': samplers.ddim(schedule, 0.5),
  }[sampler]
  x = draw(step, schedule, samplers.uniform_times(500))
  # Four standard errors, and the discretisation of 500 steps.
  np.testing.assert_allclose(x.mean(), MEAN, atol=4 * STD / np.sqrt(NUM) + 2e-3)
  np.testing.assert_allclose(x.std(), STD, rtol=4 / np.sqrt(2 * NUM) + 0.03)


def test_an_interpolated_variance_lies_between_the_small_and_the_large():
  schedule = SCHEDULES['cosine']

  def noise(step):
    """Returns the noise of a step from 0.6 to 0.5, whose mean is 0."""
    x = jnp.zeros((4, 3))
    return np.asarray(step(lambda xt, t: xt, keys(1, 4), x, 0.6, 0.5))

  small, large = (
    noise(samplers.ancestral(processes.gaussian(schedule, name)))
    for name in ('small', 'large')
  )
  between = lambda f: noise(samplers.ancestral_interpolated(schedule, f))
  np.testing.assert_allclose(between(0.0), small, rtol=1e-4)
  np.testing.assert_allclose(between(1.0), large, rtol=1e-4)
  ratio = between(0.3) / small
  np.testing.assert_allclose(ratio, (large / small) ** 0.3, rtol=1e-4)
  assert (ratio > 1.01).all()
  with pytest.raises(ValueError, match='fraction must be in'):
    samplers.ancestral_interpolated(schedule, 1.5)


@pytest.mark.parametrize('sampler', ['ddim', 'heun', 'dpmpp_2m'])
def test_denoised_last_is_one_more_step_to_no_noise(sampler):
  """Of data N(MEAN, STD^2) at sigma 1 the ends are known in closed form."""
  schedule = schedules.edm(1.0, 80.0, 7.0)
  times = samplers.uniform_times(20)
  step = getattr(samplers, sampler)(schedule)
  x = draw(step, schedule, times, num=500)
  clean = gaussian_denoiser(schedule, MEAN, STD)(x, jnp.zeros(500))
  ended = samplers.denoised_last(step)
  np.testing.assert_allclose(
    draw(ended, schedule, times, num=500), clean, rtol=1e-5, atol=1e-6
  )
  # x has the variance of the data and of the noise; its estimate has less.
  assert x.std() == pytest.approx(np.hypot(STD, 1.0), rel=0.12)
  assert clean.std() < STD < x.std()


def test_denoised_last_leaves_the_steps_before_as_they_are():
  schedule = SCHEDULES['cosine']
  process = processes.gaussian(schedule)
  prior_keys, step_keys = samplers.sample_keys(0, jnp.arange(3))
  x = jax.vmap(lambda key: process.prior(key, (2,)))(prior_keys)
  times = np.array([0.9, 0.5, 0.2])  # a grid that leaves noise
  denoise = gaussian_denoiser(schedule, MEAN, STD)

  def path(step):
    return samplers.sample(step, denoise, step_keys, x, times, trajectory=True)

  step = samplers.ancestral(process)
  plain, ended = path(step), path(samplers.denoised_last(step, times[-1]))
  np.testing.assert_array_equal(ended[:-1], plain[:-1])
  clean = denoise(plain[-1], jnp.full(3, 0.2))
  np.testing.assert_allclose(ended[-1], clean, rtol=1e-6)


def test_ddim_is_first_order():
  # The probability-flow map of Gaussian data is affine: the exact end of the
  # path that starts at x is mean + std x / std(x at t = 1).
  schedule = SCHEDULES['cosine']
  denoise = gaussian_denoiser(schedule, MEAN, STD)
  x = jnp.array([[1.5]])
  (alpha, sigma), (alpha_0, sigma_0) = schedule(1.0), schedule(0.0)
  start = (x - alpha * MEAN) / np.sqrt((alpha * STD) ** 2 + sigma**2)
  exact = alpha_0 * MEAN + start * np.sqrt((alpha_0 * STD) ** 2 + sigma_0**2)
  errors = [
    abs(
      samplers.sample(
        samplers.ddim(schedule),
        denoise,
        keys(0, 1),
        x,
        samplers.uniform_times(n),
      )
      - exact
    ).item()
    for n in (20, 40, 80)
  ]
  order = np.log2(np.array(errors[:-1]) / errors[1:])
  np.testing.assert_allclose(order, 1, atol=0.15)


@pytest.mark.parametrize('schedule', SCHEDULES)
def test_ddim_with_eta_one_is_ancestral(schedule):
  schedule = SCHEDULES[schedule]
  times = samplers.quadratic_times(10)
  ddim = draw(samplers.ddim(schedule, 1.0), schedule, times, 100)
  small = samplers.ancestral(processes.gaussian(schedule))
  np.testing.assert_allclose(ddim, draw(small, schedule, times, 100), atol=2e-4)


@pytest.mark.parametrize('eta', [0.0, 0.5, 1.0])
def test_ddim_has_float32_accuracy_where_the_noise_falls_far(eta):
  # sigma^2 less the variance of the noise would cancel: of iddpm from t = 1 to
  # 0.889 it was off by 6e-5, with eta = 1.
  schedule, x0, xt = SCHEDULES['iddpm'], 0.3, 1.7
  t = jnp.repeat(jnp.array([1.0, 0.999, 0.9, 0.5]), 4)
  s = t * jnp.tile(jnp.array([0.889, 0.5, 0.1, 0.0]), 4)
  denoise = lambda x, t: jnp.full_like(x, x0)
  x = jnp.full((1, 1), xt)

  def one(step):
    return jax.vmap(lambda t, s: step(denoise, keys(0, 1), x, t, s))(t, s)

  z = float(jax.random.normal(keys(0, 1)[0], (1,))[0])
  (alpha_t, sigma_t), (alpha_s, sigma_s) = (
    [np.asarray(level, np.float64) for level in schedule(time)]
    for time in (t, s)
  )
  r = (alpha_t * sigma_s / (alpha_s * sigma_t)) ** 2
  exact = alpha_s * x0 + eta * sigma_s * np.sqrt(1 - r) * z
  exact += (
    sigma_s * np.sqrt(1 - eta**2 * (1 - r)) * (xt - alpha_t * x0) / sigma_t
  )
  ours = one(samplers.ddim(schedule, eta))[:, 0, 0]
  np.testing.assert_allclose(ours, exact, atol=5e-7)
  if eta == 1:
    small = one(samplers.ancestral(processes.gaussian(schedule)))[:, 0, 0]
    np.testing.assert_allclose(ours, small, atol=5e-7)


def test_sample_is_a_function_of_seed_and_index():
  schedule = SCHEDULES['cosine']
  step, times = samplers.ddim(schedule, 1.0), samplers.uniform_times(4)
  few, many = (draw(step, schedule, times, num) for num in (3, 17))
  np.testing.assert_allclose(few, many[:3], atol=1e-6)
  assert np.abs(few - draw(step, schedule, times, 3, seed=1)).min() > 1e-3
  assert len(np.unique(many)) == len(many)


def test_trajectory_starts_and_ends_right(key):
  schedule = SCHEDULES['cosine']
  step, times = samplers.ddim(schedule, 0.3), samplers.uniform_times(7)
  denoise = gaussian_denoiser(schedule, MEAN, STD)
  x = jax.random.normal(key, (3, 2, 2))
  args = (step, denoise, keys(1, 3), x, times)
  path = samplers.sample(*args, trajectory=True)
  chex.assert_shape(path, (8, 3, 2, 2))
  np.testing.assert_array_equal(path[0], x)
  np.testing.assert_array_equal(path[-1], samplers.sample(*args))


def test_changing_seed_eta_or_scale_does_not_recompile():
  schedule = SCHEDULES['cosine']

  @jax.jit
  @chex.assert_max_traces(1)
  def run(seed, eta, scale):
    wrap = lambda d: guidance.dynamic_threshold(d, scale)
    step = samplers.ddim(schedule, eta)
    return draw(step, schedule, samplers.uniform_times(3), 4, seed, wrap)

  images = [run(*a) for a in [(0, 0.0, 0.9), (1, 0.0, 0.9), (1, 0.8, 0.5)]]
  assert not np.allclose(images[0], images[1])
  assert not np.allclose(images[1], images[2])


def test_grids():
  np.testing.assert_allclose(samplers.uniform_times(4), [1, 0.75, 0.5, 0.25, 0])
  np.testing.assert_allclose(samplers.quadratic_times(2), [1, 0.25, 0])


def test_network_becomes_a_denoiser(key):
  schedule = SCHEDULES['cosine']
  x0_key, eps_key = jax.random.split(key)
  x0 = jax.random.normal(x0_key, (3, 2, 2, 1))
  eps = jax.random.normal(eps_key, x0.shape)
  t = jnp.array([0.2, 0.5, 0.9])
  over = lambda fn: jax.vmap(fn)(x0, eps, t)
  xt = over(lambda x, e, t: schedule(t).alpha * x + schedule(t).sigma * e)
  for kind in (predictions.eps, predictions.v):
    target = lambda x, e, t, kind=kind: predictions.target(
      kind, schedule, x, e, t
    )
    # A network that knows the answer.
    apply = lambda params, xt, t, cond, target=target: over(target) + params
    denoise = samplers.denoiser(apply, kind, schedule, 0.0)
    np.testing.assert_allclose(denoise(xt, t), x0, atol=1e-4)
