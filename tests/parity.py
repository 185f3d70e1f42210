"""Paths of our samplers and of diffusers' schedulers, with the same noise."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from exact import gaussian_denoiser, keys

from jaxdiff import samplers, schedules
from jaxdiff.samplers import grids, stochastic

# A test that imports these is skipped without them.
torch = pytest.importorskip('torch')
diffusers = pytest.importorskip('diffusers')

MEAN, STD = 0.3, 0.5
TABLE = schedules.from_betas(schedules.linear_betas())
LATENT = schedules.from_betas(schedules.scaled_linear_betas())
LATENT_BETAS = dict(
  beta_schedule='scaled_linear', beta_start=0.00085, beta_end=0.012
)
START = jnp.array([[1.2, -0.4], [0.1, -1.9], [0.7, 0.3]])


def ours(step, schedule, times, start=START):
  """The path, [N + 1, B, ...], and the noise of each step, [N, B, ...]."""
  denoise = gaussian_denoiser(schedule, MEAN, STD)
  sample_keys = keys(0, len(start))
  path = samplers.sample(
    step, denoise, sample_keys, start, times, trajectory=True
  )

  def noise(n):
    fold = jax.vmap(jax.random.fold_in, (0, None))
    return stochastic.noise(fold(sample_keys, n), start)

  return np.asarray(path), [np.array(noise(n)) for n in range(len(times) - 1)]


def theirs(scheduler, start, predict, noise=None, monkeypatch=None, along=None):
  """The path of a scheduler whose network is predict(xt, scheduler, t).

  Their steps are called one by one; where they ask for noise they get ours.
  """
  x, path = torch.tensor(np.asarray(start)), [np.asarray(start)]
  if noise is not None:
    module = importlib.import_module(type(scheduler).__module__)
    monkeypatch.setattr(
      module,
      'randn_tensor',
      lambda *_, **__: torch.tensor(noise[len(path) - 1]),
    )
  for t in scheduler.timesteps:
    # `predict` scales its input itself, but they want the call.
    scheduler.scale_model_input(x, t)
    y = predict(x.double().numpy(), scheduler, t)
    x = scheduler.step(torch.tensor(y, dtype=torch.float32), t, x).prev_sample
    path.append(x.numpy())
  return np.stack(path)


def exact_x0(xt, alpha, sigma):
  """E[x0 | xt], in float64."""
  gain = alpha * STD**2 / ((alpha * STD) ** 2 + sigma**2)
  return MEAN + gain * (xt - alpha * MEAN)


def eps_by_timestep(xt, scheduler, t):
  """For schedulers that index alphas_cumprod by the timestep."""
  alpha_squared = scheduler.alphas_cumprod[int(t)].double().item()
  alpha, sigma = np.sqrt(alpha_squared), np.sqrt(1 - alpha_squared)
  return (xt - alpha * exact_x0(xt, alpha, sigma)) / sigma


def eps_by_sigma(xt, scheduler, t):
  """For those that keep sigmas, and x with alpha^2 + sigma^2 = 1."""
  if scheduler.step_index is None:
    scheduler._init_step_index(t)
  rho = scheduler.sigmas[scheduler.step_index].double().item()
  alpha, sigma = 1 / np.hypot(1, rho), rho / np.hypot(1, rho)
  return (xt - alpha * exact_x0(xt, alpha, sigma)) / sigma


def eps_of_exploding(xt, scheduler, t):
  """For those that keep x / alpha."""
  rho = scheduler.sigmas[scheduler.step_index].double().item()
  return (xt - exact_x0(xt, 1.0, rho)) / rho


def assert_same(path, other, rtol=5e-6):
  assert path.shape == other.shape and np.isfinite(path).all()
  assert np.abs(path - other).max() < rtol * np.abs(other).max()


def over_alpha(path, schedule, times):
  alpha = np.asarray(schedule(jnp.asarray(times)).alpha)
  return path / alpha.reshape((-1,) + (1,) * (path.ndim - 1))


def spaced(spacing, num):
  """Their spacing of `num` steps of the latent table, ours and theirs."""
  return {
    'trailing': (
      grids.trailing_times(num),
      dict(timestep_spacing='trailing'),
    ),
    'leading': (
      grids.leading_times(num, offset=1),
      dict(timestep_spacing='leading', steps_offset=1),
    ),
  }[spacing]


def spaced_by_sigma(grid, num, last=0.0):
  """As DPM-Solver and UniPC space steps: their leading has one too many."""
  if grid == 'karras':
    return karras(num)
  times, options = spaced(grid, num)
  if grid == 'leading':
    times = np.append(grids.leading_times(num + 1, offset=1)[:-2], last)
  return times, options


def karras(num):
  """The Karras grid between the first and last levels of the latent table."""
  rho = lambda t: float(LATENT(t).sigma / LATENT(t).alpha)
  times = grids.karras_times(num, LATENT, sigma_min=rho(1 / 1000))
  return times, dict(use_karras_sigmas=True)
