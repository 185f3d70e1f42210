"""Times of a sampler: checked for every model, and where they begin."""

import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from categories import TEXT
from exact import gaussian_denoiser

from jaxdiff import config as c
from jaxdiff import models, processes, samplers, schedules
from jaxdiff.generation.sampler import make_sampler
from jaxdiff.models import Model, Start

GRIDS = types.SimpleNamespace(
  fine=lambda num_steps: np.linspace(1, 0, num_steps + 1),
  rising=lambda num_steps: np.linspace(0, 1, num_steps + 1),
  above=lambda num_steps: np.linspace(2, 0, num_steps + 1),
  below=lambda num_steps: np.linspace(1, -1, num_steps + 1),
  late=lambda num_steps: np.linspace(0.4, 0, num_steps + 1),
  early=lambda num_steps: np.linspace(1, 0.2, num_steps + 1),
  flat=lambda num_steps: np.append(np.ones(num_steps), 0),
  nothing=lambda num_steps: np.full(num_steps + 1, np.nan),
  short=lambda num_steps: [1.0, 0.0],
  one=lambda num_steps: 1.0,
  text=lambda num_steps: ['1', '0'],
)


@pytest.fixture(params=['numbers', 'categories'])
def built(request, monkeypatch):
  monkeypatch.setitem(sys.modules, 'outside', GRIDS)
  config, spec = {
    'numbers': (tiny.config, tiny.SPEC),
    'categories': (TEXT, tiny.text_spec()),
  }[request.param]
  grid = models.make(config, spec).grid
  return lambda **fields: grid(tiny.changed(config, sampling=fields).sampling)


@pytest.mark.parametrize('name', vars(GRIDS))
def test_a_grid_outside_the_library_is_checked(built, name):
  build = lambda: built(times=f'outside:{name}', steps=4)
  if name == 'fine':
    np.testing.assert_array_equal(build(), samplers.uniform_times(4))
    return
  with pytest.raises(ValueError, match=f'--sampling.times outside:{name} '):
    build()


def test_a_grid_has_as_many_steps_as_the_sampler(built):
  with pytest.raises(ValueError, match='must build 5 times for 4 steps'):
    built(times='uniform(num_steps=3)', steps=4)
  table = built(times='trailing(table_steps=4)', steps=4)
  np.testing.assert_array_equal(table, samplers.uniform_times(4))
  with pytest.raises(ValueError, match='a table of 3 steps has no 4'):
    built(times='trailing(table_steps=3)', steps=4)


@pytest.mark.parametrize(
  ('schedule', 'times'),
  [
    (schedules.ve(), samplers.karras_times(30, schedules.ve(), sigma_max=5.0)),
    (schedules.ve(), samplers.leading_times(30)),
    (schedules.rectified_flow(), samplers.leading_times(20)),
  ],
)
def test_a_grid_that_begins_below_1_begins_at_its_noise(schedule, times):
  std, num = 1.0, 4096
  process = processes.gaussian(schedule, bins=None)
  seen = []

  def denoise(xt, t):
    jax.debug.callback(lambda xt, t: seen.append((t[0], xt.std())), xt, t)
    return gaussian_denoiser(schedule, 0.0, std)(xt, t)

  def start(options, prior_keys, step_keys, index):
    x = jax.vmap(lambda key: process.prior(key, (4,)))(prior_keys)
    return Start(x, {}, lambda step: step)

  model = Model(
    spec=None,
    init=None,
    loss=None,
    schedule=schedule,
    process=process,
    encode=lambda params, cond: cond,
    denoiser=lambda params, cond: denoise,
    limit=lambda sampling, options, denoiser: denoiser,
    solver=lambda sampling, options, params, cond: samplers.heun(schedule),
    grid=lambda sampling: times,
    start=start,
    decode=lambda x0, frozen=None: x0,
  )
  draw = jax.jit(make_sampler(model, c.Sampling(steps=len(times) - 1)))
  x = draw({}, {'seed': 0}, jnp.arange(num)).x
  jax.effects_barrier()
  first, size = max(seen)
  assert first == times[0] < 1
  alpha, sigma = schedule(first)
  assert size == pytest.approx(np.hypot(alpha * std, sigma), rel=0.02)
  alpha, sigma = schedule(times[-1])
  end = np.hypot(alpha * std, sigma)
  assert float(x.std()) == pytest.approx(end, rel=0.03)
