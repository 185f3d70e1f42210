"""Names of a configuration: what they build, and what contradicts it."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from nets import jit

from jaxdiff import config as c
from jaxdiff import models, schedules
from jaxdiff.config import registry
from jaxdiff.generation.sampler import make_sampler, traced_options

# Points: no other network is compiled as quickly.
SPEC = c.Spec('points', (2,))
CONFIG = dataclasses.replace(tiny.config, network=c.MLP(width=8, depth=1))
LEARNED = {
  'variance': 'learned',
  'loss': 'hybrid',
  'times': 'grid',
  'num_steps': 50,
}


def changed(**diffusion):
  return tiny.changed(CONFIG, diffusion=diffusion)


def traced_draw(config):
  """A sampler as (draw, its arguments), for `jax.eval_shape`."""
  draw = make_sampler(models.make(config, SPEC), config.sampling)
  params = tiny.abstract_params(config, SPEC)
  return draw, params, traced_options(config), np.arange(2)


def test_schedules_of_the_configuration():
  t = jnp.linspace(0.1, 0.9, 5)
  built = lambda config: models.make(config, SPEC).schedule
  same = lambda config, schedule: np.testing.assert_allclose(
    schedules.log_snr(built(config), t),
    schedules.log_snr(schedule, t),
    rtol=1e-5,
    atol=1e-5,
  )
  same(changed(schedule='laplace(0.5, 1)'), schedules.laplace(0.5, 1))
  same(
    changed(schedule='rectified_flow', shift=3.0),
    schedules.shifted(schedules.rectified_flow(), 3.0),
  )
  table = schedules.linear_betas(100)
  config = changed(
    schedule='linear_betas', num_steps=100, zero_terminal_snr=True
  )
  same(config, schedules.from_betas(schedules.zero_terminal_snr(table)))
  assert built(config)(1.0).alpha == 0
  with pytest.raises(ValueError, match='still has alpha = 0.28 beside'):
    built(changed(schedule='linear_betas(0.0001, 0.02)', num_steps=250))
  with pytest.raises(ValueError, match='table of betas'):
    built(changed(zero_terminal_snr=True))
  with pytest.raises(ValueError, match=r'shift 2.*needs a schedule'):
    built(changed(schedule='sub_vp', shift=2.0))
  with pytest.raises(ValueError, match='prediction eps says nothing of the'):
    built(
      changed(schedule='linear_betas', zero_terminal_snr=True, prediction='eps')
    )


@pytest.mark.parametrize(
  'diffusion',
  [
    {'weighting': 'p2(1.0)', 'error': 'huber(0.5)', 'offset_noise': 0.1},
    pytest.param({'space': 'eps'}, marks=pytest.mark.slow),
    {'schedule': 'edm', 'prediction': 'edm(0.5)', 'times': 'log_normal'},
    {'schedule': 'rectified_flow', 'times': 'logit_normal(0, 1)'},
    pytest.param(
      {'weighting': 'sigmoid(-1)', 'per_log_snr': True}, marks=pytest.mark.slow
    ),
    {'loss': 'nelbo'},
    LEARNED,
    pytest.param({**LEARNED, 'loss': 'hybrid(0.01)'}, marks=pytest.mark.slow),
    {**LEARNED, 'loss': 'vlb'},
  ],
  ids=lambda d: '-'.join(map(str, d.values())),
)
def test_every_choice_trains_and_samples(diffusion):
  config = changed(**diffusion)
  task = tiny.make_task(config, SPEC)
  params = jax.tree.map(jnp.asarray, tiny.random_params(config, SPEC))
  state = jax.eval_shape(task.init, jax.random.key(0))
  state = jax.tree.map(
    lambda x: jnp.zeros(x.shape, x.dtype),
    state._replace(key=jnp.zeros(())),
  )._replace(params=params, ema_params=params, key=jax.random.key(0))
  x0 = np.zeros((8, 2), np.float32)
  _, metrics = jit(task.step)(state, {'x0': x0, 'cond': {}})
  assert np.isfinite(metrics['loss']) and metrics['grad_norm'] > 0
  for sampler in ('ancestral', 'ddim'):
    samples = jax.eval_shape(
      *traced_draw(tiny.changed(config, sampling={'sampler': sampler}))
    )
    assert samples.x.shape == (2, 2)


def test_a_learned_variance_and_what_contradicts_it():
  with pytest.raises(ValueError, match='needs --diffusion.loss hybrid or vlb'):
    changed(variance='learned')
  with pytest.raises(ValueError, match='needs --diffusion.loss hybrid or vlb'):
    changed(loss='vlb', times='grid')
  with pytest.raises(ValueError, match='needs --diffusion.times grid'):
    changed(variance='learned', loss='hybrid')
  with pytest.raises(ValueError, match='needs --diffusion.error square'):
    changed(**LEARNED, error='abs')
  with pytest.raises(ValueError, match='needs --diffusion.space None'):
    changed(**LEARNED, space='eps')
  with pytest.raises(ValueError, match='not both'):
    changed(space='eps', weighting='simple')


def test_a_name_is_the_same_with_empty_arguments():
  draws = []
  for sampler in ('ancestral', 'ancestral()'):
    config = tiny.changed(changed(**LEARNED), sampling={'sampler': sampler})
    draw, *args = traced_draw(config)
    draws.append(str(jax.make_jaxpr(draw)(*args)))
  assert draws[0] == draws[1]


def test_arguments_that_only_the_program_gives_are_refused_early():
  sampling = lambda name: tiny.changed(tiny.config, sampling={'sampler': name})
  for name in ('ancestral(0.3)', 'ancestral(variance=0.3)', 'ddim(0.5)'):
    with pytest.raises(ValueError, match='sampling.sampler=.*'):
      sampling(name)
  # An eta that is not --sampling.eta.
  sampling('dpmpp_sde(0.5)')
  with pytest.raises(ValueError, match='eta must be at least 0'):
    sampling('dpmpp_sde(-1)')


def test_grids_take_the_number_of_steps_of_the_table_from_the_run():
  config = tiny.changed(
    changed(schedule='linear_betas', num_steps=100),
    sampling={'times': 'leading', 'steps': 4},
  )
  times = models.make(config, SPEC).grid(config.sampling)
  np.testing.assert_allclose(times, [0.76, 0.51, 0.26, 0.01, 0], rtol=1e-6)


@pytest.mark.parametrize(
  ('field', 'name'),
  [
    ('schedule', 'linear_betas(num_steps=100)'),
    ('times', 'grid(num_steps=100)'),
  ],
)
def test_the_steps_of_a_table_are_known_in_one_place(field, name):
  with pytest.raises(ValueError, match='T is set by --diffusion.num-steps'):
    changed(**{field: name})


def test_functions_from_outside_that_build_something_else():
  with pytest.raises(
    ValueError, match='argparse:Namespace must build a function'
  ):
    models.make(changed(schedule='argparse:Namespace'), SPEC)
  with pytest.raises(ValueError, match='must build a Step or a Solver'):
    tiny.changed(CONFIG, sampling={'sampler': 'argparse:Namespace'})


def test_small_images_have_a_sensible_size():
  low_res = lambda **condition: models.make(
    tiny.changed(tiny.config, condition=condition), tiny.SPEC
  )
  for size in (8, 9):
    with pytest.raises(ValueError, match=f'from 1 to below 8.*got {size}'):
      low_res(low_res=size)
  with pytest.raises(ValueError, match='augment must be at most'):
    low_res(low_res=4, augment=0.05)


@pytest.mark.parametrize('name', sorted(registry.SAMPLERS))
def test_every_sampler_is_built_by_name(name):
  mapped = name == 'flow_map'
  config = tiny.changed(
    changed(loss='shortcut') if mapped else CONFIG,
    sampling={
      'sampler': name,
      'steps': 3,
      'threshold': 'none' if mapped else 'clip',
    },
  )
  assert jax.eval_shape(*traced_draw(config)).x.shape == (2, 2)


@pytest.mark.parametrize(
  'times',
  [
    'uniform',
    'quadratic',
    'karras(5)',
    'log_snr',
    'polyexponential(2)',
    'trailing',
    'linspace',
    "distorted('cos')",
  ],
)
@pytest.mark.parametrize('threshold', ['none', 'clip', 'dynamic'])
def test_every_grid_and_threshold_is_built_by_name(times, threshold):
  sampling = {'times': times, 'threshold': threshold, 'steps': 3}
  config = tiny.changed(tiny.config, sampling=sampling)
  model = models.make(config, tiny.SPEC)
  grid = model.grid(config.sampling)
  assert grid.shape == (4,) and (np.diff(grid) < 0).all()
  denoiser = lambda xt, t: 3 * xt
  limited = model.limit(config.sampling, {}, denoiser)
  x = limited(np.ones((1, 2, 2, 1), np.float32), np.ones(1, np.float32))
  assert np.max(x) == (3 if threshold == 'none' else 1)


def test_a_network_without_noise_is_a_classifier():
  config = dataclasses.replace(
    tiny.config, diffusion=c.Classification(), network=c.ConvNet(width=4)
  )
  model = models.make(config, tiny.SPEC)
  assert model.process is None and model.denoiser is None
