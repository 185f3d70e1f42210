"""LMS, DEIS, DPM-2, SA-Solver and others beside those of diffusers."""

import sys
import types

import jax
import numpy as np
import pytest
from exact import keys
from parity import (
  LATENT,
  LATENT_BETAS,
  START,
  assert_same,
  diffusers,
  eps_by_sigma,
  eps_by_timestep,
  eps_of_exploding,
  exact_x0,
  karras,
  ours,
  over_alpha,
  spaced,
  spaced_by_sigma,
  theirs,
  torch,
)

from jaxdiff import samplers
from jaxdiff.samplers import exponential, grids, stochastic


def to_the_first_step(num):
  """The trailing grid of schedulers that end at the table's first step."""
  times = np.append(grids.trailing_times(num)[:-1], np.float32(1 / 1000))
  return times, dict(timestep_spacing='trailing')


@pytest.mark.parametrize('grid', ['trailing', 'leading', 'karras'])
def test_lms(grid):
  times, options = karras(12) if grid == 'karras' else spaced(grid, 20)
  path, _ = ours(samplers.lms(LATENT), LATENT, times)
  path = over_alpha(path, LATENT, times)
  scheduler = diffusers.LMSDiscreteScheduler(**LATENT_BETAS, **options)
  scheduler.set_timesteps(len(times) - 1)
  # They integrate numerically, to 1e-4.
  assert_same(path, theirs(scheduler, path[0], eps_of_exploding), 2e-5)


@pytest.mark.parametrize('order', [1, 2, 3])
def test_deis(order):
  times, options = to_the_first_step(20)
  path, _ = ours(samplers.deis(LATENT, order), LATENT, times)
  scheduler = diffusers.DEISMultistepScheduler(
    solver_order=order, lower_order_final=False, **LATENT_BETAS, **options
  )
  scheduler.set_timesteps(20)
  # At order 3 their coefficients are differences of large float32 numbers.
  rtol = 2e-5 if order == 3 else 5e-6
  assert_same(path, theirs(scheduler, START, eps_by_sigma), rtol)


def eps_between(xt, scheduler, t):
  """Of the schedulers whose second evaluation is between two levels."""
  i, ancestral = scheduler.step_index, hasattr(scheduler, 'sigmas_up')
  if scheduler.state_in_first_order:
    rho = scheduler.sigmas[i]
  else:
    rho = scheduler.sigmas_interpol[i - 1 if ancestral else i]
  rho = rho.double().item()
  return (xt - exact_x0(xt, 1.0, rho)) / rho


@pytest.mark.parametrize('grid', ['trailing', 'leading', 'karras'])
def test_dpm_2(grid):
  times, options = karras(12) if grid == 'karras' else spaced(grid, 20)
  path, _ = ours(samplers.dpm_2(LATENT), LATENT, times)
  path = over_alpha(path, LATENT, times)
  scheduler = diffusers.KDPM2DiscreteScheduler(**LATENT_BETAS, **options)
  scheduler.set_timesteps(len(times) - 1)
  other = theirs(scheduler, path[0], eps_between)
  # Theirs has every half step; the last step has no second half.
  assert_same(path, np.concatenate([other[::2], other[-1:]]))


def split_noise(num, which):
  """The noise of each step of ours, of one of its two keys."""
  fold = jax.vmap(jax.random.fold_in, (0, None))
  pairs = [stochastic.split(fold(keys(0, len(START)), n)) for n in range(num)]
  return [np.array(stochastic.noise(pair[which], START)) for pair in pairs]


@pytest.mark.parametrize('spacing', ['trailing', 'leading'])
def test_dpm_2_ancestral(spacing, monkeypatch):
  times, options = spaced(spacing, 20)
  path, _ = ours(samplers.dpm_2_ancestral(LATENT), LATENT, times)
  path = over_alpha(path, LATENT, times)
  scheduler = diffusers.KDPM2AncestralDiscreteScheduler(
    **LATENT_BETAS, **options
  )
  scheduler.set_timesteps(20)
  # They ask in every half step, and use it in the second.
  noise = [z for z in split_noise(20, 0) for _ in range(2)]
  other = theirs(scheduler, path[0], eps_between, noise, monkeypatch)
  assert_same(path, np.concatenate([other[::2], other[-1:]]))


def test_dpmpp_sde(monkeypatch):
  # Only its Brownian motion needs torchsde, and here it gets ours.
  monkeypatch.setitem(sys.modules, 'torchsde', types.ModuleType('torchsde'))
  from diffusers.schedulers import scheduling_dpmsolver_sde as module

  times, options = spaced('leading', 20)
  path, _ = ours(samplers.dpmpp_sde(LATENT), LATENT, times)
  path = over_alpha(path, LATENT, times)
  scheduler = module.DPMSolverSDEScheduler(**LATENT_BETAS, **options)
  scheduler.set_timesteps(20)
  first, second = split_noise(20, 0), split_noise(20, 1)
  asked = []

  def noise_sampler(sigma, sigma_next):
    n, half = divmod(len(asked), 2)
    asked.append(n)
    if half == 0:
      return torch.tensor(first[n])
    # The whole step's noise: that of the first half, carried on, and the rest.
    t, s = times[n], times[n + 1]
    u = samplers.solvers.halfway(LATENT, t, s)
    size = lambda t, s: exponential.added_noise(LATENT, t, s, 1.0)
    z = exponential.drift(LATENT, size(t, u) * first[n], 0.0, u, s, 1.0)
    z = (z + size(u, s) * second[n]) / size(t, s)
    return torch.tensor(np.asarray(z))

  scheduler.noise_sampler = noise_sampler

  def eps(xt, scheduler, t):
    rho = scheduler.sigmas[scheduler.step_index]
    if not scheduler.state_in_first_order:
      rho = scheduler.mid_point_sigma
    rho = rho.double().item()
    return (xt - exact_x0(xt, 1.0, rho)) / rho

  other = theirs(scheduler, path[0], eps)
  assert_same(path, np.concatenate([other[::2], other[-1:]]))


@pytest.mark.parametrize(
  ('order', 'corrector'), [(1, 2), (2, 2), (3, 2), (3, 3)]
)
def test_sa_solver(order, corrector, monkeypatch):
  times, options = to_the_first_step(20)
  step = samplers.sa_solver(LATENT, order, corrector, 1.0, 0.2, 0.8)
  path, noise = ours(step, LATENT, times)
  scheduler = diffusers.SASolverScheduler(
    predictor_order=order,
    corrector_order=corrector,
    lower_order_final=False,
    tau_func=lambda t: float(200 <= t + 1 <= 800),
    **LATENT_BETAS,
    **options,
  )
  scheduler.set_timesteps(20)
  other = theirs(scheduler, START, eps_by_sigma, noise, monkeypatch)
  assert_same(path, other, 1e-5 if order == 3 else 5e-6)


def test_unipc_bh1():
  # To sigma = 0 theirs is nan.
  times, options = spaced_by_sigma('leading', 20, last=1 / 1000)
  path, _ = ours(samplers.unipc(LATENT, 2, 'bh1'), LATENT, times)
  scheduler = diffusers.UniPCMultistepScheduler(
    solver_type='bh1',
    lower_order_final=False,
    final_sigmas_type='sigma_min',
    **LATENT_BETAS,
    **options,
  )
  scheduler.set_timesteps(20)
  assert_same(path, theirs(scheduler, START, eps_by_sigma))


def test_lcm(monkeypatch):
  scheduler = diffusers.LCMScheduler(
    clip_sample=False, timestep_scaling=1e9, **LATENT_BETAS
  )
  scheduler.set_timesteps(4)
  times = np.append((scheduler.timesteps.numpy() + 1) / 1000, 0)
  path, noise = ours(samplers.lcm(LATENT), LATENT, times.astype(np.float32))
  other = theirs(scheduler, START, eps_by_timestep, noise, monkeypatch)
  assert_same(path, other)


def test_linspace_times():
  scheduler = diffusers.DDIMScheduler(
    timestep_spacing='linspace', **LATENT_BETAS
  )
  for num in (7, 20, 50):
    scheduler.set_timesteps(num)
    steps = np.append(scheduler.timesteps.numpy() + 1, 0)
    np.testing.assert_allclose(grids.linspace_times(num), steps / 1000)
