"""Our steps beside the schedulers of diffusers, which are the second opinion.

Both are given the same exact denoiser, the same start and the same noise, and
compared after every step. `docs/correspondence.md` has the table.
"""

from pathlib import Path

import numpy as np
import pytest
from parity import (
  LATENT,
  LATENT_BETAS,
  START,
  TABLE,
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
)

from jaxdiff import processes, samplers, schedules
from jaxdiff.samplers import adams, grids, multistep, solvers, stochastic


@pytest.mark.parametrize('variance', ['small', 'large'])
@pytest.mark.parametrize('num', [10, 50])
def test_ddpm(variance, num, monkeypatch):
  step = samplers.ancestral(processes.gaussian(TABLE, variance))
  path, noise = ours(step, TABLE, grids.leading_times(num))
  scheduler = diffusers.DDPMScheduler(
    variance_type=f'fixed_{variance}', clip_sample=False
  )
  scheduler.set_timesteps(num)
  other = theirs(scheduler, START, eps_by_timestep, noise, monkeypatch)
  assert_same(path, other)


def test_ddpm_at_all_its_steps(monkeypatch):
  # Over 1000 steps the rounding of float32 tables shows, theirs more than
  # ours: both are held to the textbook's formula in float64.
  process = processes.gaussian(TABLE)
  times = grids.leading_times(1000)
  path, noise = ours(samplers.ancestral(process), TABLE, times)
  betas = schedules.linear_betas()
  product = np.append(1.0, np.cumprod(1 - betas))
  x, exact = np.asarray(START, np.float64), [START]
  for n, i in enumerate(range(1000, 0, -1)):
    beta, now, below = betas[i - 1], product[i], product[i - 1]
    x0 = exact_x0(x, np.sqrt(now), np.sqrt(1 - now))
    mean = np.sqrt(below) * beta * x0 + np.sqrt(1 - beta) * (1 - below) * x
    var = beta * (1 - below) / (1 - now)
    x = mean / (1 - now) + np.sqrt(var) * noise[n]
    exact.append(x)
  exact = np.stack(exact)
  scheduler = diffusers.DDPMScheduler(clip_sample=False)
  scheduler.set_timesteps(1000)
  other = theirs(scheduler, START, eps_by_timestep, noise, monkeypatch)
  error = lambda path: np.abs(path - exact).max() / np.abs(exact).max()
  assert error(path) < 1.5e-5
  assert error(other) < 6e-5


@pytest.mark.parametrize('eta', [0.0, 1.0])
@pytest.mark.parametrize('spacing', ['leading', 'trailing', 'stable diffusion'])
def test_ddim(eta, spacing, monkeypatch):
  one = dict(set_alpha_to_one=True)
  times, options = {
    'leading': (grids.leading_times(20), one),
    'trailing': (
      grids.trailing_times(20),
      dict(timestep_spacing='trailing', **one),
    ),
    'stable diffusion': (
      grids.leading_times(20, offset=1, last=1),
      dict(steps_offset=1, set_alpha_to_one=False),
    ),
  }[spacing]
  path, noise = ours(samplers.ddim(LATENT, eta), LATENT, times)
  scheduler = diffusers.DDIMScheduler(
    clip_sample=False, **LATENT_BETAS, **options
  )
  scheduler.set_timesteps(20)
  step = scheduler.step
  monkeypatch.setattr(scheduler, 'step', lambda *a: step(*a, eta=eta))
  other = theirs(scheduler, START, eps_by_timestep, noise, monkeypatch)
  assert_same(path, other)


def test_ddim_inversion():
  times = grids.leading_times(20)
  path, _ = ours(solvers.encode(LATENT), LATENT, times[::-1])
  scheduler = diffusers.DDIMInverseScheduler(
    clip_sample=False, set_alpha_to_one=True, **LATENT_BETAS
  )
  scheduler.set_timesteps(20)
  assert_same(path, theirs(scheduler, START, eps_by_timestep))


@pytest.mark.parametrize('grid', ['trailing', 'leading', 'karras'])
@pytest.mark.parametrize('name', ['2m', 'sde_2m'])
def test_dpm_solver(name, grid, monkeypatch):
  times, options = spaced_by_sigma(grid, 12)
  step, kind = {
    '2m': (multistep.dpmpp_2m(LATENT), 'dpmsolver++'),
    'sde_2m': (stochastic.dpmpp_2m_sde(LATENT), 'sde-dpmsolver++'),
  }[name]
  path, noise = ours(step, LATENT, times)
  scheduler = diffusers.DPMSolverMultistepScheduler(
    algorithm_type=kind, **LATENT_BETAS, **options
  )
  scheduler.set_timesteps(len(times) - 1)
  other = theirs(scheduler, START, eps_by_sigma, noise, monkeypatch)
  assert_same(path, other)


@pytest.mark.parametrize('grid', ['trailing', 'leading', 'karras'])
def test_unipc(grid):
  times, options = spaced_by_sigma(grid, 12)
  path, _ = ours(multistep.unipc(LATENT), LATENT, times)
  scheduler = diffusers.UniPCMultistepScheduler(**LATENT_BETAS, **options)
  scheduler.set_timesteps(len(times) - 1)
  assert_same(path, theirs(scheduler, START, eps_by_sigma))


def test_unipc_of_order_3():
  # Theirs lowers the order of the last two steps; without that it cannot go
  # to sigma = 0, so both end at the first step of the table.
  times, options = spaced_by_sigma('leading', 20, last=1 / 1000)
  path, _ = ours(multistep.unipc(LATENT, 3), LATENT, times)
  scheduler = diffusers.UniPCMultistepScheduler(
    solver_order=3,
    lower_order_final=False,
    final_sigmas_type='sigma_min',
    **LATENT_BETAS,
    **options,
  )
  scheduler.set_timesteps(20)
  assert_same(path, theirs(scheduler, START, eps_by_sigma))


@pytest.mark.parametrize('grid', ['trailing', 'leading', 'karras'])
def test_euler(grid):
  times, options = karras(12) if grid == 'karras' else spaced(grid, 20)
  path, _ = ours(solvers.euler(LATENT), LATENT, times)
  path = over_alpha(path, LATENT, times)
  scheduler = diffusers.EulerDiscreteScheduler(**LATENT_BETAS, **options)
  scheduler.set_timesteps(len(times) - 1)
  assert_same(path, theirs(scheduler, path[0], eps_of_exploding))


@pytest.mark.parametrize('spacing', ['trailing', 'leading'])
def test_euler_ancestral(spacing, monkeypatch):
  times, options = spaced(spacing, 20)
  path, noise = ours(samplers.ddim(LATENT, 1.0), LATENT, times)
  path = over_alpha(path, LATENT, times)
  scheduler = diffusers.EulerAncestralDiscreteScheduler(
    **LATENT_BETAS, **options
  )
  scheduler.set_timesteps(20)
  other = theirs(scheduler, path[0], eps_of_exploding, noise, monkeypatch)
  assert_same(path, other)


@pytest.mark.parametrize('grid', ['trailing', 'leading', 'karras'])
def test_heun(grid):
  times, options = karras(12) if grid == 'karras' else spaced(grid, 20)
  path, _ = ours(solvers.heun(LATENT), LATENT, times)
  path = over_alpha(path, LATENT, times)
  scheduler = diffusers.HeunDiscreteScheduler(**LATENT_BETAS, **options)
  scheduler.set_timesteps(len(times) - 1)
  other = theirs(scheduler, path[0], eps_of_exploding)
  # Theirs has every half step; the last step has no second half.
  assert_same(path, np.concatenate([other[::2], other[-1:]]))


def test_edm_euler():
  schedule = schedules.edm()
  times = grids.uniform_times(11)
  path, _ = ours(solvers.euler(schedule), schedule, times, 80.0 * START)
  # Their last step, from sigma_min to 0, is not a t: it is the estimate.
  last = exact_x0(path[-1], 1.0, 0.002)
  scheduler = diffusers.EDMEulerScheduler()
  scheduler.set_timesteps(12)

  def preconditioned(xt, scheduler, t):
    sigma = scheduler.sigmas[scheduler.step_index].double().item()
    norm = np.hypot(sigma, 0.5)
    skip, out = (0.5 / norm) ** 2, 0.5 * sigma / norm
    return (exact_x0(xt, 1.0, sigma) - skip * xt) / out

  other = theirs(scheduler, path[0], preconditioned)
  for ours_n, theirs_n in zip([*path, last], other, strict=True):
    assert_same(ours_n, theirs_n)


@pytest.mark.parametrize('shift', [1.0, 3.0])
@pytest.mark.parametrize('name', ['FlowMatchEuler', 'FlowMapEuler', 'MiniMax'])
def test_flow_match_euler(name, shift):
  schedule = schedules.shifted(schedules.rectified_flow(), shift)
  path, _ = ours(solvers.euler(schedule), schedule, grids.uniform_times(20))
  if name == 'MiniMax':
    kind = getattr(diffusers, 'MiniMaxH3Scheduler', None)
    steps = dict(num_inference_steps=21)  # its levels are counted
  else:
    kind = getattr(diffusers, f'{name}DiscreteScheduler', None)
    steps = dict(sigmas=np.linspace(1, 1 / 20, 20))
  if kind is None:
    pytest.skip('a newer diffusers has it')
  scheduler = kind(shift=shift)
  scheduler.set_timesteps(**steps)
  towards_noise = -1.0 if name == 'MiniMax' else 1.0

  def velocity(xt, scheduler, t):
    sigma = (1 - t if name == 'MiniMax' else t / 1000).double().item()
    return towards_noise * (xt - exact_x0(xt, 1 - sigma, sigma)) / sigma

  scheduler.scale_model_input = lambda x, t: x
  assert_same(path, theirs(scheduler, START, velocity))


def test_every_scheduler_has_a_row():
  page = (Path(__file__).parents[2] / 'docs/correspondence.md').read_text()
  found = [name for name in dir(diffusers) if name.endswith('Scheduler')]
  assert len(found) > 40
  assert not [name for name in found if f'`{name}' not in page]


@pytest.mark.parametrize('name', ['plms', 'pndm'])
@pytest.mark.parametrize('last', [0, 1])
def test_pndm(name, last):
  times = grids.leading_times(20, offset=1, last=last)
  path, _ = ours(getattr(adams, name)(LATENT), LATENT, times)
  scheduler = diffusers.PNDMScheduler(
    skip_prk_steps=name == 'plms',
    steps_offset=1,
    set_alpha_to_one=last == 0,
    **LATENT_BETAS,
  )
  scheduler.set_timesteps(20)
  other = theirs(scheduler, START, eps_by_timestep)
  # The calls that end a step: of the Runge-Kutta steps the fourth, of the
  # start of plms the second.
  first = [0, 2] if name == 'plms' else [0, 4, 8, 12]
  ends = [*first, *range(first[-1] + 1, len(other))]
  assert_same(path, other[ends])
