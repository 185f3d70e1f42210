"""Solvers that users of other libraries know by name: weak order and ends."""

import exact
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from exact import cosine_64, gaussian_denoiser, keys
from nets import jit

from jaxdiff import processes, samplers, schedules
from jaxdiff.samplers import multistep, renoising, sampling, stochastic

MEAN, STD = 0.3, 0.5
COSINE = schedules.cosine(-10.0, 10.0)
FLOW = schedules.rectified_flow()
TERMINAL = schedules.from_betas(
  schedules.zero_terminal_snr(schedules.linear_betas())
)
TIMES = samplers.uniform_times(9)


def ancestral(schedule):
  """`samplers.ancestral`, its noise by a function that can be exchanged."""
  posterior = processes.gaussian(schedule).posterior

  def step(denoise, step_keys, xt, t, s):
    mean, var = posterior(xt, samplers.estimate(denoise, xt, t), t, s)
    return mean + jnp.sqrt(var) * stochastic.noise(step_keys, xt)

  return step


SDE = {
  'ancestral': ancestral,
  'dpmpp_sde': samplers.dpmpp_sde,
  'dpmpp_2m_sde': samplers.dpmpp_2m_sde,
  'dpmpp_3m_sde': samplers.dpmpp_3m_sde,
  'sa_solver': samplers.sa_solver,
  'sa_solver_3': lambda s: samplers.sa_solver(s, 3, 3),
  'dpm_2_ancestral': samplers.dpm_2_ancestral,
  'dpmpp_2s_ancestral': samplers.dpmpp_2s_ancestral,
}
ODE = {
  'dpm_2': samplers.dpm_2,
  'lms': samplers.lms,
  'deis': samplers.deis,
  'unipc_bh1': lambda s: samplers.unipc(s, 2, 'bh1'),
}


def variance(make, schedule, times, monkeypatch):
  """The variance of x at the end, without sampling.

  With Gaussian data every step is linear in x and in its noise. So one example
  has no noise at all, one starts a standard deviation off, and each other one
  has a single unit of noise at one place; the squares add up.
  """
  calls, num = 3, len(times) - 1  # draws in a step, and steps
  index, now = jnp.arange(2 + num * calls), {}

  def impulse(step_keys, x):
    del step_keys
    now['call'] += 1
    hit = index == 1 + now['n'] * calls + now['call']
    return hit[:, None].astype(x.dtype)

  for module in (stochastic, multistep, renoising):
    monkeypatch.setattr(module, 'noise', impulse)
  solver = sampling.as_solver(make(schedule))
  denoise = gaussian_denoiser(schedule, MEAN, STD)
  alpha, sigma = schedule(times[0])
  start = alpha * MEAN + jnp.hypot(alpha * STD, sigma) * (index == 1)[:, None]

  def body(carry, step):
    now.update(n=step[0], call=0)
    x, state = carry
    x, state = solver.step(denoise, keys(0, len(x)), x, *step[1:], state)
    assert now['call'] <= calls
    return (x, state), None

  steps = jnp.arange(num), jnp.asarray(times[:-1]), jnp.asarray(times[1:])
  walk = lambda x: jax.lax.scan(body, (x, solver.init(x)), steps)[0][0]
  x = jit(walk)(start)[:, 0]
  return jnp.sum((x[1:] - x[0]) ** 2)


@pytest.mark.parametrize(
  ('name', 'order', 'num_steps'),
  [
    ('ancestral', 1, 160),
    ('dpmpp_sde', 2, 160),
    ('dpmpp_2m_sde', 2, 160),
    ('dpmpp_3m_sde', 2, 160),
    ('sa_solver', 2, 640),
    ('sa_solver_3', 2, 640),
    ('dpm_2_ancestral', 2, 320),
    ('dpmpp_2s_ancestral', 2, 320),
  ],
)
def test_weak_order(name, order, num_steps, monkeypatch):
  with jax.enable_x64(True):
    alpha, sigma = cosine_64(0.0)
    truth = (alpha * STD) ** 2 + sigma**2

    def error(n):
      times = 1 - np.linspace(0, 1, n + 1) ** 2
      return variance(SDE[name], cosine_64, times, monkeypatch) - truth

    measured = np.log2(np.abs(error(num_steps) / error(2 * num_steps)))
  assert order - 0.2 < measured < order + 0.35


@pytest.mark.parametrize(
  'schedule',
  [FLOW, pytest.param(TERMINAL, marks=pytest.mark.slow)],
  ids=['flow', 'terminal'],
)
def test_from_pure_noise_to_pure_data(schedule):
  x = jax.random.normal(jax.random.key(3), (1000, 1))
  denoise = gaussian_denoiser(schedule, MEAN, STD)
  times = samplers.trailing_times(50)
  every = ODE | SDE

  def ends(x):
    return {
      name: samplers.sample(make(schedule), denoise, keys(1, len(x)), x, times)
      for name, make in every.items()
    }

  many = jit(ends)(x)
  flow = exact.flow_map(schedule, MEAN, STD, x, 1.0, 0.0)
  for name, x0 in many.items():
    if name in ODE:
      np.testing.assert_allclose(x0, flow, atol=0.08, err_msg=name)
    # Three standard errors, and the discretisation of 50 steps.
    np.testing.assert_allclose(
      [x0.mean(), x0.std()],
      [MEAN, STD],
      atol=3 * STD / np.sqrt(1000) + 0.03,
      err_msg=name,
    )


def run(step, denoise, x, times):
  return jit(
    lambda x: samplers.sample(step, denoise, keys(1, len(x)), x, times)
  )(x)


@pytest.mark.slow
def test_solvers_that_meet():
  denoise = gaussian_denoiser(COSINE, MEAN, STD)
  x, times = jnp.array([[1.5], [-0.3]]), samplers.uniform_times(6)
  pairs = [
    (samplers.lms(COSINE, 1), samplers.euler(COSINE), times),
    (samplers.deis(COSINE, 1), samplers.euler(COSINE), times),
    (samplers.dpmpp_3m_sde(COSINE, 0.0), samplers.dpmpp_3m(COSINE), times),
    (samplers.sa_solver(COSINE, 1, 0, 0.0), samplers.euler(COSINE), times),
    (
      samplers.sa_solver(COSINE, 2, 3, 0.0),
      samplers.unipc(COSINE, 2, 'bh1'),
      times,
    ),
    # No noise above t = 0.5.
    (
      samplers.sa_solver(COSINE, high=0.5),
      samplers.sa_solver(COSINE, tau=0.0),
      times[:4],
    ),
    (
      samplers.dpmpp_sde(COSINE, 0.0),
      samplers.dpmpp_2s(COSINE, 'log_snr'),
      times,
    ),
    (
      samplers.renoised(samplers.heun(COSINE), COSINE, 0.0),
      samplers.heun(COSINE),
      times,
    ),
  ]
  for one, other, grid in pairs:
    np.testing.assert_allclose(
      run(one, denoise, x, grid), run(other, denoise, x, grid), atol=1e-4
    )


def test_renoised_euler_is_ancestral(monkeypatch):
  # On a schedule that ends at sigma = 0: nothing lies beyond its end.
  found = [
    variance(make, schedules.linear_vp(), TIMES, monkeypatch)
    for make in (lambda s: samplers.renoised(samplers.euler(s), s), ancestral)
  ]
  np.testing.assert_allclose(found[0], found[1], rtol=1e-4)


@pytest.mark.parametrize('num_steps', [1, 4])
def test_lcm_of_an_exact_consistency_function(num_steps):
  consistent = lambda xt, t: exact.flow_map(
    COSINE, MEAN, STD, xt, t[:, None], 0.0
  )
  x = jax.random.normal(jax.random.key(2), (20_000, 1))
  x0 = run(
    samplers.lcm(COSINE), consistent, x, samplers.uniform_times(num_steps)
  )
  np.testing.assert_allclose([x0.mean(), x0.std()], [MEAN, STD], atol=0.015)
