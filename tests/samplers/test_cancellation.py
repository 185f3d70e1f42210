"""Rounding of solvers: no difference of near numbers where alpha is tiny."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from exact import cosine_64, gaussian_denoiser, keys
from nets import jit

from jaxdiff import samplers, schedules
from jaxdiff.schedules import NoiseLevel

X0 = np.array([[0.3, -0.9]])
SCHEDULES = {
  'cosine': schedules.cosine(-20.0, 20.0),
  'cosine_betas': schedules.from_betas(schedules.cosine_betas()),
  've': schedules.ve(),
}
SOLVERS = {
  'euler': samplers.euler,
  'ddim': samplers.ddim,
  'heun': samplers.heun,
  'dpm_2': samplers.dpm_2,
  'dpmpp_2s': samplers.dpmpp_2s,
  'dpmpp_2m': samplers.dpmpp_2m,
  'dpmpp_3m': samplers.dpmpp_3m,
  'dpmpp_sde': lambda s: samplers.dpmpp_sde(s, 0.0),
  'unipc': samplers.unipc,
  'sa_solver': lambda s: samplers.sa_solver(s, tau=0.0),
  'lms': samplers.lms,
  'deis': samplers.deis,
  'plms': samplers.plms,
  'pndm': samplers.pndm,
}
# A long step from next to no signal, others, and a short one at the data.
TIMES = np.float32([1.0, 0.889, 0.7, 0.5, 0.1, 0.01, 0.009])


def paths(schedule, denoise, x, times):
  """x at all times for each solver, and sqrt(alpha^2 + sigma^2) there."""
  solve = jit(
    lambda x: {
      name: samplers.sample(
        make(schedule), denoise, keys(0, len(x)), x, times, trajectory=True
      )
      for name, make in SOLVERS.items()
    }
  )
  return solve(x), np.hypot(*schedule(times))[:, None, None]


@pytest.mark.parametrize(
  'name',
  [
    'cosine',
    *(pytest.param(n, marks=pytest.mark.slow) for n in ('cosine_betas', 've')),
  ],
)
def test_of_an_estimate_that_stays_every_solver_is_exact(name):
  """eps stays too, so that x = alpha x0 + sigma eps at every time."""
  schedule, x0 = SCHEDULES[name], jnp.asarray(X0, jnp.float32)
  alpha, sigma = (np.float64(x)[:, None, None] for x in schedule(TIMES))
  x = np.float32(1.7 * np.hypot(alpha, sigma)[0]) * np.ones_like(X0, 'f')
  found, size = paths(schedule, lambda xt, t: x0, jnp.asarray(x), TIMES)
  truth = alpha * X0 + sigma * (x - alpha[0] * X0) / sigma[0]
  for solver, path in found.items():
    error = np.abs(path - truth) / size
    assert error.max() < 1e-5, (solver, error.max(axis=(1, 2)))


@pytest.mark.slow
def test_the_first_steps_of_gaussian_data_are_those_of_float64():
  """A second estimate is itself rounded, and counts 30 times in `heun`."""
  schedule, times = schedules.cosine(), TIMES[:3]
  x = np.float32([[-1.7], [-0.4], [0.2], [0.9], [1.7]])
  denoise = gaussian_denoiser(schedule, 0.8, 0.1)
  found, size = paths(schedule, denoise, jnp.asarray(x), times)

  def exactly(t):
    level = schedule(jnp.asarray(t, jnp.float32))
    return NoiseLevel(*(x.astype(jnp.float64) for x in level))

  with jax.enable_x64(True):
    denoise = gaussian_denoiser(exactly, 0.8, 0.1)
    truth, _ = paths(exactly, denoise, jnp.asarray(x, float), np.float64(times))
  # PNDM's start is unstable here, and a thousand times as large as the data.
  for solver in found.keys() - {'pndm'}:
    error = np.abs(found[solver] - truth[solver]) / size
    assert error.max() < 1e-5, (solver, error.max(axis=(1, 2)))


def test_what_deis_loses_after_a_short_step_is_its_extrapolation():
  """Of noises at .889 and .888 it makes that at .5, 400 times as far away.

  So their rounding grows, whichever way the step is written: 4e-5 in float32,
  and in float64 1e-13.
  """
  times = np.array([1.0, 0.889, 0.888, 0.5])
  with jax.enable_x64(True):
    alpha, sigma = map(np.asarray, cosine_64(times))
    x0 = jnp.asarray(X0)
    step = samplers.deis(cosine_64)
    x = alpha[0] * x0 + sigma[0] * 1.7
    end = samplers.sample(step, lambda xt, t: x0, keys(0, 1), x, times)
    end = np.asarray(end)
  np.testing.assert_allclose(end, alpha[-1] * X0 + sigma[-1] * 1.7, rtol=1e-12)
