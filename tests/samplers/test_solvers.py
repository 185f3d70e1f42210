import math

import chex
import exact
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from exact import cosine_64, gaussian_denoiser, keys, mixture_denoiser
from nets import jit

from jaxdiff import processes, samplers, schedules
from jaxdiff.samplers import (
  adams,
  grids,
  mcmc,
  multistep,
  solvers,
  stochastic,
)

MEAN, STD = 0.3, 0.5
COSINE = schedules.cosine(-10.0, 10.0)
# Pure noise at t = 1, pure data at t = 0.
ENDLESS = {
  'rectified_flow': schedules.rectified_flow(),
  'zero_terminal_snr': schedules.from_betas(
    schedules.zero_terminal_snr(schedules.linear_betas())
  ),
}
ODE = {
  'euler': solvers.euler,
  'heun': solvers.heun,
  'rk4': solvers.rk4,
  'dpmpp_2s': solvers.dpmpp_2s,
  'dpmpp_2m': multistep.dpmpp_2m,
  'dpmpp_3m': multistep.dpmpp_3m,
  'unipc_1': lambda schedule: multistep.unipc(schedule, 1),
  'unipc_2': multistep.unipc,
  'unipc_3': lambda schedule: multistep.unipc(schedule, 3),
  'plms': adams.plms,
  'pndm': adams.pndm,
}
# The same with other choices, or of the same kind: their order alone is tested
# here, and the rest in `test_named_solvers`.
MORE = {
  'dpm_2': solvers.dpm_2,
  'heun_t': lambda s: solvers.heun(s, 't'),
  'dpmpp_2s_log_snr': lambda s: solvers.dpmpp_2s(s, 'log_snr'),
  'lms': adams.lms,
  'deis': adams.deis,
  'unipc_bh1': lambda s: multistep.unipc(s, 2, 'bh1'),
}
SDE = {
  'ancestral': lambda s: samplers.ancestral(processes.gaussian(s)),
  'euler_maruyama': stochastic.euler_maruyama,
  'dpmpp_2m_sde': stochastic.dpmpp_2m_sde,
  'dpmpp_2m_sde_half': lambda s: stochastic.dpmpp_2m_sde(s, 0.5),
  'edm_stochastic': lambda s: stochastic.edm_stochastic(s, 200, s_noise=1.0),
  'predictor_corrector': lambda s: mcmc.predictor_corrector(
    solvers.euler(s), s, 2
  ),
  'annealed_langevin': lambda s: mcmc.annealed_langevin(s, 10, 0.4),
}


def run(step, denoise, x, times, compiled=jit):
  """x through the times."""
  sample_keys = keys(1, len(x))
  return compiled(
    lambda x: samplers.sample(step, denoise, sample_keys, x, times)
  )(x)


flow_map = lambda schedule, *args: exact.flow_map(schedule, MEAN, STD, *args)


@pytest.mark.parametrize(
  ('name', 'order', 'num_steps'),
  [
    ('euler', 1, 80),
    ('heun', 2, 80),
    ('heun_t', 2, 160),
    ('rk4', 4, 40),
    ('dpmpp_2s', 2, 160),
    ('dpmpp_2m', 2, 160),
    ('dpmpp_3m', 3, 160),
    ('unipc_1', 2, 320),
    ('unipc_2', 3, 320),
    ('unipc_3', 4, 320),
    ('plms', 2, 320),
    ('pndm', 2, 320),
    ('dpm_2', 2, 160),
    ('dpmpp_2s_log_snr', 2, 160),
    ('lms', 4, 320),
    ('deis', 3, 1280),
    ('unipc_bh1', 3, 320),
  ],
)
def test_order_of_convergence(name, order, num_steps):
  with jax.enable_x64(True):
    denoise = gaussian_denoiser(cosine_64, MEAN, STD)
    x = jnp.array([[1.5]], jnp.float64)
    truth = flow_map(cosine_64, x, 1.0, 0.0)

    def error(n):
      # Fine at the start, whose steps are of lower order.
      times = 1 - np.linspace(0, 1, n + 1) ** 2
      x0 = run((ODE | MORE)[name](cosine_64), denoise, x, times)
      return abs(x0 - truth).item()

    measured = np.log2(error(num_steps) / error(2 * num_steps))
  # Between this order and the next; the measure itself wanders by 0.2.
  assert order - 0.2 < measured < order + 0.35


@pytest.mark.parametrize('name', ODE | SDE)
def test_mixture_has_the_right_law(name):
  num, means, std = 5_000, [-1.0, 0.6], 0.2
  denoise = mixture_denoiser(COSINE, means, std)
  x = jax.random.normal(jax.random.key(7), (num, 1))
  step, times = (ODE | SDE)[name](COSINE), grids.uniform_times(200)
  x = run(step, denoise, x, times, jax.jit)  # here running is what takes long
  x = np.sort(np.asarray(x, np.float64)[:, 0])
  cdf = lambda z: 0.5 * (1 + math.erf(z / math.sqrt(2)))
  exact = np.mean([[cdf((v - m) / std) for v in x] for m in means], axis=0)
  distance = np.abs(exact - (np.arange(num) + 0.5) / num).max()
  # Kolmogorov-Smirnov at p = 1e-4, and the discretisation.
  assert distance < 2.2 / np.sqrt(num) + 0.01
  # And the spread of each of the two, four standard deviations apart.
  spread = (x - np.where(x < -0.2, *means)).std()
  np.testing.assert_allclose(spread, std, rtol=3.5 / np.sqrt(2 * num) + 0.02)


@pytest.mark.parametrize('schedule', ENDLESS)
@pytest.mark.parametrize('name', ODE | SDE)
def test_from_pure_noise_to_pure_data(name, schedule):
  schedule = ENDLESS[schedule]
  x = jax.random.normal(jax.random.key(3), (1000, 1))
  denoise = gaussian_denoiser(schedule, MEAN, STD)
  step = (ODE | SDE)[name](schedule)
  x0 = run(step, denoise, x, grids.trailing_times(50))
  if name in ODE and name != 'euler':
    exact = flow_map(schedule, x, 1.0, 0.0)
    np.testing.assert_allclose(x0, exact, atol=0.08)
  # Three standard errors, and the discretisation of 50 steps.
  np.testing.assert_allclose(
    x0.mean(), MEAN, atol=3 * STD / np.sqrt(1000) + 0.02
  )
  np.testing.assert_allclose(x0.std(), STD, rtol=3 / np.sqrt(2000) + 0.1)


@pytest.mark.parametrize(
  'name', [*ODE, 'dpmpp_2m_sde', 'edm_stochastic', 'annealed_langevin']
)
def test_a_single_step(name):
  # No history, no second half, no churn: from pure noise to pure data in one.
  schedule = ENDLESS['rectified_flow']
  denoise = gaussian_denoiser(schedule, MEAN, STD)
  x0 = run((ODE | SDE)[name](schedule), denoise, jnp.ones((1, 1)), [1.0, 0.0])
  np.testing.assert_allclose(x0, MEAN, rtol=1e-6)


@pytest.mark.parametrize('name', ['dpmpp_2m', 'dpmpp_3m', 'unipc_2', 'plms'])
def test_steps_are_given_back_by_sample(name):
  denoise = gaussian_denoiser(COSINE, MEAN, STD)
  x, times = jnp.array([[1.5], [-0.3]]), grids.uniform_times(60)
  step = ODE[name](COSINE)
  path = jit(
    lambda x: samplers.sample(
      step, denoise, keys(0, 2), x, times, trajectory=True
    )
  )(x)
  chex.assert_shape(path, (61, 2, 1))
  exact = jit(jax.vmap(lambda s: flow_map(COSINE, x, 1.0, s)))(times)
  np.testing.assert_allclose(path, exact, atol=0.02)


def test_euler_is_ddim_without_noise_and_eulers_method():
  denoise = gaussian_denoiser(COSINE, MEAN, STD)
  x, times = jnp.array([[1.5], [-0.3]]), grids.quadratic_times(9)
  ours = run(solvers.euler(COSINE), denoise, x, times)
  ddim = run(samplers.ddim(COSINE), denoise, x, times)
  np.testing.assert_allclose(ours, ddim, rtol=1e-5, atol=1e-6)
  alpha, sigma = COSINE(times)
  y, rho = x / alpha[0], sigma / alpha
  for n in range(9):
    x0 = denoise(alpha[n] * y, jnp.full(2, times[n]))
    y = y + (rho[n + 1] - rho[n]) * (y - x0) / rho[n]
  np.testing.assert_allclose(ours, alpha[-1] * y, rtol=1e-4, atol=1e-6)


def test_euler_on_a_rectified_flow_is_eulers_method_in_x_and_t():
  flow = schedules.rectified_flow()
  denoise = gaussian_denoiser(flow, MEAN, STD)
  times, start = grids.uniform_times(7), jnp.array([[1.5], [-0.3]])
  x = start
  for t, s in zip(times[:-1], times[1:], strict=True):
    x0 = denoise(x, jnp.full(2, t))
    x = x + (s - t) * ((x - (1 - t) * x0) / t - x0)
  ours = run(solvers.euler(flow), denoise, start, times)
  np.testing.assert_allclose(ours, x, rtol=1e-5)


def test_solvers_that_meet():
  denoise = gaussian_denoiser(COSINE, MEAN, STD)
  x, times = jnp.array([[1.5], [-0.3]]), grids.uniform_times(6)
  pairs = [
    (stochastic.dpmpp_2m_sde(COSINE, 0.0), multistep.dpmpp_2m(COSINE), times),
    (stochastic.edm_stochastic(COSINE, 6, 0.0), solvers.heun(COSINE), times),
    (
      mcmc.predictor_corrector(solvers.euler(COSINE), COSINE, 0),
      solvers.euler(COSINE),
      times,
    ),
    # With nothing to remember.
    (
      stochastic.dpmpp_2m_sde(COSINE),
      samplers.ancestral(processes.gaussian(COSINE)),
      [0.7, 0.5],
    ),
    (multistep.dpmpp_3m(COSINE), solvers.euler(COSINE), [0.7, 0.5]),
    (adams.plms(COSINE), solvers.heun(COSINE), [0.7, 0.5]),
  ]
  for one, other, grid in pairs:
    np.testing.assert_allclose(
      run(one, denoise, x, grid), run(other, denoise, x, grid), rtol=1e-4
    )


def test_heun_in_time_is_the_trapezoid_of_velocities():
  flow = schedules.rectified_flow()
  denoise = gaussian_denoiser(flow, MEAN, STD)
  times, start = grids.uniform_times(7), jnp.array([[1.5], [-0.3]])
  slope = lambda x, t: (x - denoise(x, jnp.full(2, t))) / t
  x = start
  for t, s in zip(times[:-2], times[1:-1], strict=True):
    k = slope(x, t)
    x = x + 0.5 * (s - t) * (k + slope(x + (s - t) * k, s))
  x = x - times[-2] * slope(x, times[-2])  # the last step is Euler's
  ours = run(solvers.heun(flow, 't'), denoise, start, times)
  np.testing.assert_allclose(ours, x, rtol=1e-5)
  with pytest.raises(ValueError, match="'rho' or 't', got 'x'"):
    solvers.heun(flow, 'x')


def test_encode_undoes_euler():
  denoise = gaussian_denoiser(COSINE, MEAN, STD)
  x0 = jnp.array([[0.9], [-0.2]])

  def error(num_steps, iterations):
    times = grids.uniform_times(num_steps)
    x1 = run(solvers.encode(COSINE, iterations), denoise, x0, times[::-1])
    back = run(solvers.euler(COSINE), denoise, x1, times)
    return np.abs(back - x0).max()

  np.testing.assert_allclose(np.log2(error(40, 1) / error(80, 1)), 1, atol=0.15)
  assert error(40, 20) < 1e-3 < 1e-2 < error(40, 1)


def test_encode_starts_at_pure_data():
  flow = schedules.rectified_flow()
  denoise = gaussian_denoiser(flow, MEAN, STD)
  x0, times = jnp.array([[0.9], [-0.2]]), grids.uniform_times(200)[1:]
  x = run(solvers.encode(flow), denoise, x0, times[::-1])
  np.testing.assert_allclose(x, flow_map(flow, x0, 0.0, times[0]), atol=0.05)


def test_changing_seed_or_a_scale_does_not_recompile():
  x = jnp.ones((3, 2))
  denoise = gaussian_denoiser(COSINE, MEAN, STD)

  @jit
  @chex.assert_max_traces(1)
  def draw(seed, eta, s_churn, snr):
    steps = [
      stochastic.dpmpp_2m_sde(COSINE, eta),
      stochastic.edm_stochastic(COSINE, 3, s_churn),
      mcmc.annealed_langevin(COSINE, 2, snr),
    ]
    step_keys = jax.vmap(jax.random.split, (0, None))(
      samplers.sample_keys(seed, jnp.arange(3))[1], len(steps)
    )
    times = grids.uniform_times(3)
    return [
      samplers.sample(step, denoise, step_keys[:, i], x, times)
      for i, step in enumerate(steps)
    ]

  first = draw(0, 1.0, 1.0, 0.1)
  for args in [(1, 1.0, 1.0, 0.1), (0, 0.5, 0.5, 0.2)]:
    for old, new in zip(first, draw(*args), strict=True):
      assert np.abs(old - new).min() > 0


@pytest.mark.parametrize('name', SDE)
def test_a_sample_does_not_depend_on_the_others(name):
  denoise = gaussian_denoiser(COSINE, MEAN, STD)
  x = jax.random.normal(jax.random.key(1), (5, 2))
  step, times = SDE[name](COSINE), grids.uniform_times(4)
  few, many = (run(step, denoise, x[:n], times) for n in (2, 5))
  np.testing.assert_allclose(few, many[:2], atol=1e-5)
  assert len(np.unique(many)) == many.size
