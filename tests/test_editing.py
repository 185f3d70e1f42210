import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from exact import SCHEDULES, gaussian_denoiser, keys

from jaxdiff import editing, processes, samplers, schedules

COSINE = SCHEDULES['cosine']
MEAN, STD = 0.3, 0.5
NUM = 5_000


def same_law(x, mean, std, slack):
  """Four standard errors, and what the discretisation adds to both."""
  np.testing.assert_allclose(
    x.mean(), mean, atol=4 * std / np.sqrt(len(x)) + slack
  )
  np.testing.assert_allclose(
    x.std(), std, rtol=4 / np.sqrt(2 * len(x)) + slack / std
  )


def img2img(schedule, x0, strength, steps=200):
  process = processes.gaussian(schedule)
  start_keys, step_keys = samplers.sample_keys(3, jnp.arange(len(x0)))
  start, times = editing.sdedit(
    process, start_keys, x0, samplers.uniform_times(steps), strength
  )
  step = samplers.ancestral(process)
  denoise = gaussian_denoiser(schedule, MEAN, STD)
  return jax.jit(lambda x: samplers.sample(step, denoise, step_keys, x, times))(
    start
  )


@pytest.mark.parametrize('strength', [0.2, 0.5, 1.0])
def test_sdedit_draws_from_the_posterior_of_its_noise(strength):
  # p(x0 | xt) is N(MEAN + gain (xt - alpha MEAN), var), and xt is the input
  # noised; at strength 1 nothing is left of it and this is the data's law.
  x = img2img(COSINE, jnp.full((NUM, 1), 2.0), strength)
  alpha, sigma = COSINE(strength)
  gain = alpha * STD**2 / ((alpha * STD) ** 2 + sigma**2)
  var = (1 - gain * alpha) * STD**2
  mean = MEAN + gain * alpha * (2.0 - MEAN)
  same_law(x, mean, np.sqrt(var + (gain * sigma) ** 2), 0.01)
  if strength == 1:
    same_law(x, MEAN, STD, 0.02)


def test_sdedit_at_no_strength_returns_the_input(key):
  x0 = jax.random.normal(key, (5, 3, 3, 1))
  np.testing.assert_array_equal(img2img(SCHEDULES['ddpm'], x0, 0.0), x0)
  # This schedule has a little noise at t = 0 as well.
  noise = 5 * float(COSINE(0.0).sigma)
  np.testing.assert_allclose(img2img(COSINE, x0, 0.0), x0, atol=noise)


def test_sdedit_starts_where_the_times_are():
  process, x0 = processes.gaussian(COSINE), jnp.zeros((2, 1))
  times = lambda grid, strength: editing.sdedit(
    process, keys(0, 2), x0, grid, strength
  )[1]
  uniform = samplers.uniform_times(4)
  np.testing.assert_allclose(times(uniform, 0.5), [0.5, 0.25, 0])
  np.testing.assert_allclose(times(uniform, 0.6), [0.6, 0.5, 0.25, 0])
  np.testing.assert_array_equal(times(uniform, 1.0), uniform)
  # Leading times start below 1, and so does a free sample.
  leading = samplers.leading_times(4)
  np.testing.assert_array_equal(times(leading, 1.0), leading)
  for strength in (-0.1, 1.1):
    with pytest.raises(ValueError, match=r'in \[0, 1\], got '):
      times(uniform, strength)


MEANS = jnp.array([0.3, -0.4])
COV = jnp.array([[0.49, 0.28], [0.28, 0.25]])  # correlation 0.8
MASK = jnp.array([[False, True]])


def correlated(schedule):
  """E[x0 | xt] for x0 ~ N(MEANS, COV), along COV's axes."""
  var, axes = jnp.linalg.eigh(COV)

  def denoise(xt, t):
    alpha, sigma = (level[:, None] for level in schedule(t))
    gain = alpha * var[None] / (alpha**2 * var[None] + sigma**2)
    return MEANS[None] + (gain * ((xt - alpha * MEANS[None]) @ axes)) @ axes.T

  return denoise


def fill(step, times, num=2_000):
  """The second number, given that the first is 1.3. [num]"""
  process = processes.gaussian(COSINE)
  x0 = jnp.broadcast_to(jnp.array([1.3, 9.0]), (num, 2))
  step = editing.inpaint(editing.resample(step, COSINE), process, x0, MASK)
  prior_keys, step_keys = samplers.sample_keys(0, jnp.arange(num))
  x = jax.vmap(lambda key: process.prior(key, (2,)))(prior_keys)
  denoise = correlated(COSINE)
  x = jax.jit(lambda x: samplers.sample(step, denoise, step_keys, x, times))(x)
  np.testing.assert_array_equal(x[:, 0], x0[:, 0])
  return np.asarray(x[:, 1])


@pytest.mark.parametrize(
  'solver',
  [
    'ddim',
    *(
      pytest.param(name, marks=pytest.mark.slow)
      for name in ('ancestral', 'dpmpp_2m')
    ),
  ],
)
def test_repaint_approaches_the_conditional_law(solver):
  step = {
    'ancestral': samplers.ancestral(processes.gaussian(COSINE)),
    'ddim': samplers.ddim(COSINE),
    'dpmpp_2m': samplers.dpmpp_2m(COSINE),
  }[solver]
  mean = MEANS[1] + COV[0, 1] / COV[0, 0] * (1.3 - MEANS[0])
  std = np.sqrt(COV[1, 1] - COV[0, 1] ** 2 / COV[0, 0])
  uniform = samplers.uniform_times
  once, coarse, fine = (
    fill(step, times)
    for times in (
      uniform(100),
      editing.repaint_times(uniform(40), 10, 8),
      editing.repaint_times(uniform(100), 5, 8),
    )
  )
  errors = [abs(x.mean() - mean) for x in (once, coarse, fine)]
  # Replacement alone is wrong by half of the conditional deviation or more.
  assert errors[0] > 0.4 * std
  assert errors[0] > 1.5 * errors[1] > 2 * errors[2]
  same_law(fine, mean, std, 0.03)


def test_replacement_is_exact_where_the_known_says_nothing():
  # Independent numbers: the unknown one has its own law.
  process = processes.gaussian(COSINE)
  x0 = jnp.full((NUM, 2), 1.3)
  step = editing.inpaint(samplers.ancestral(process), process, x0, MASK)
  denoise = gaussian_denoiser(COSINE, MEAN, STD)
  x = jax.random.normal(jax.random.key(5), (NUM, 2))
  x = samplers.sample(
    step, denoise, keys(2, NUM), x, samplers.uniform_times(200)
  )
  np.testing.assert_array_equal(x[:, 0], x0[:, 0])
  same_law(x[:, 1], MEAN, STD, 0.02)


@pytest.mark.parametrize('name', ['cosine', 'ddpm', 've', 'rectified_flow'])
def test_a_step_up_is_corruption(name):
  schedule = {
    **SCHEDULES,
    've': schedules.ve(),
    'rectified_flow': schedules.rectified_flow(),
  }[name]
  process = processes.gaussian(schedule)
  corrupt = jax.vmap(process.corrupt, in_axes=(0, 0, None))
  step = editing.resample(samplers.ddim(schedule), schedule).step
  x0 = jnp.full((20_000, 1), 1.7)
  for t, s in ((0.0, 0.4), (0.3, 0.35), (0.3, 1.0)):
    xt = corrupt(keys(0, len(x0)), x0, t)
    xs, _ = step(lambda xt, t: xt, keys(1, len(x0)), xt, t, s, ())
    alpha, sigma = schedule(s)
    np.testing.assert_allclose(
      (xs - alpha * x0).mean() / sigma, 0, atol=4 / np.sqrt(len(x0))
    )
    np.testing.assert_allclose(
      xs.std() / sigma, 1, rtol=4 / np.sqrt(2 * len(x0))
    )


def test_a_step_up_forgets_and_a_step_down_is_the_solver_s():
  solver = samplers.dpmpp_2m(COSINE)
  wrapped = editing.resample(solver, COSINE)
  denoise = gaussian_denoiser(COSINE, MEAN, STD)
  x, some_keys = jnp.ones((3, 1)), keys(0, 3)
  down = (denoise, some_keys, x, 0.5, 0.4)
  xs, state = wrapped.step(*down, solver.init(x))
  chex.assert_trees_all_close((xs, state), solver.step(*down, solver.init(x)))
  xt, state = wrapped.step(denoise, keys(1, 3), xs, 0.4, 0.5, state)
  chex.assert_trees_all_equal(state, solver.init(xt))


def test_repaint_times_walk_down():
  times = samplers.uniform_times(5)
  walk = editing.repaint_times(times, 2, 3)
  t = lambda *steps: [step / 5 for step in steps]
  np.testing.assert_allclose(
    walk,
    t(5, 4, 3) + t(5, 4, 3) * 2 + t(2, 1) + t(3, 2, 1) * 2 + t(0) + t(1, 0) * 2,
    atol=1e-6,
  )
  np.testing.assert_array_equal(editing.repaint_times(times, 2, 1), times)
  for steps, jump, repeats in ((5, 2, 3), (6, 3, 4), (7, 1, 2), (3, 9, 2)):
    walk = editing.repaint_times(samplers.uniform_times(steps), jump, repeats)
    more = (repeats - 1) * (steps + -(-steps // jump))
    assert len(walk) == steps + more + 1 and walk[-1] == 0


def test_slerp_keeps_norm_and_angle(key):
  a, b = jax.random.normal(key, (2, 4, 4, 1))
  b = b * jnp.linalg.norm(a) / jnp.linalg.norm(b)
  angle = lambda x, y: np.arccos(
    np.sum(x * y) / np.linalg.norm(x) / np.linalg.norm(y)
  )
  np.testing.assert_array_equal(editing.slerp(a, b, 0.0), a)
  np.testing.assert_array_equal(editing.slerp(a, b, 1.0), b)
  x = editing.slerp(a, b, 0.3)
  np.testing.assert_allclose(jnp.linalg.norm(x), jnp.linalg.norm(a), rtol=1e-5)
  np.testing.assert_allclose(angle(a, x), 0.3 * angle(a, b), rtol=1e-4)
  np.testing.assert_allclose(editing.slerp(a, 2 * a, 0.25), 1.25 * a, rtol=1e-5)


def flow(x, t, s):
  """The probability-flow ODE of N(MEAN, STD^2): x from t to s, exactly."""
  (alpha_t, sigma_t), (alpha_s, sigma_s) = COSINE(t), COSINE(s)
  start = (x - alpha_t * MEAN) / jnp.hypot(alpha_t * STD, sigma_t)
  return alpha_s * MEAN + start * jnp.hypot(alpha_s * STD, sigma_s)


def between(a, b, weights, steps, iterations):
  return editing.interpolate(
    COSINE,
    gaussian_denoiser(COSINE, MEAN, STD),
    a,
    b,
    jnp.array(weights),
    samplers.uniform_times(steps),
    iterations,
  )


def test_interpolation_gives_its_ends_back(key):
  a, b = MEAN + STD * jax.random.normal(key, (2, 4, 4, 1))
  errors = [
    np.abs(between(a, b, [0.0, 1.0], 200, n) - jnp.stack([a, b])).max()
    for n in (1, 4, 100)
  ]
  # The usual inversion is off by a first order; iterating undoes the steps, if
  # slowly the last one, into nearly pure noise.
  assert 0.05 > errors[0] > 4 * errors[1]
  assert errors[2] < 1e-4


def test_interpolation_follows_the_exact_flow(key):
  a, b = MEAN + STD * jax.random.normal(key, (2, 4, 4, 1))
  middle = editing.slerp(flow(a, 0.0, 1.0), flow(b, 0.0, 1.0), 0.4)
  exact = flow(middle, 1.0, 0.0)
  errors = [
    np.abs(between(a, b, [0.4], n, 4)[0] - exact).max() for n in (100, 200)
  ]
  # First order, and the straight line between the two is far away.
  assert errors[1] < 0.65 * errors[0] < 0.02
  assert np.abs(0.6 * a + 0.4 * b - exact).max() > 0.1


def test_interpolation_needs_some_signal_at_its_start():
  run = lambda times: jax.jit(
    lambda a: editing.interpolate(
      schedules.rectified_flow(),
      lambda xt, t: 0.5 * xt,
      a,
      -2 * a + 1,
      jnp.zeros(1),
      times,
    )
  )(jnp.arange(3.0))
  times = samplers.uniform_times(4)
  with pytest.raises(ValueError, match=r'at t = 1 .*times\[1:\]'):
    run(times)
  assert np.isfinite(run(times[1:])).all()


def test_an_edit_is_a_function_of_its_own_key(key):
  x0 = jax.random.normal(key, (7, 2, 1))
  few, many = (img2img(COSINE, x0[:n], 0.5, 4) for n in (3, 7))
  np.testing.assert_allclose(few, many[:3], atol=1e-6)
  step = samplers.ddim(COSINE, 1.0)
  times = editing.repaint_times(samplers.uniform_times(4), 2, 2)
  few, many = (fill(step, times, n) for n in (3, 7))
  np.testing.assert_allclose(few, many[:3], atol=1e-6)
