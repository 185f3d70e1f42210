"""Names with arguments, and what the configuration makes of them."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from jaxdiff import build, choices, schedules
from jaxdiff.losses import weightings


def changed(**diffusion):
  c = dataclasses.replace(tiny.config.diffusion, **diffusion)
  return dataclasses.replace(tiny.config, diffusion=c)


def test_a_name_takes_arguments():
  make = lambda text: choices.make(choices.WEIGHTINGS, text, 'weighting')
  log_snr = jnp.array(3.0)
  assert make('min_snr(2)')(log_snr) == 2.0
  assert make('min_snr(gamma=3.5)')(log_snr) == 3.5
  assert make('min_snr')(log_snr) == 5.0
  assert make('simple') is weightings.simple


@pytest.mark.parametrize(
  ('text', 'message'),
  [
    ('min_snr(1, 2)', 'too many positional'),
    ('min_snr(g=1)', "unexpected keyword argument 'g'"),
    ('simple(1)', 'too many positional'),
    ('min_snr(x)', 'a name or a call'),
    ('min_snr(', 'a name or a call'),
    ('min_snr({[1]: 2})', 'a name or a call'),
    ('min_sn(5)', r"one of \['edm', 'min_snr'"),
  ],
)
def test_wrong_arguments_are_named(text, message):
  with pytest.raises(ValueError, match=message):
    choices.make(choices.WEIGHTINGS, text, 'diffusion.weighting')


def test_schedules_of_the_configuration():
  t = jnp.linspace(0.1, 0.9, 5)
  same = lambda config, schedule: np.testing.assert_allclose(
    schedules.log_snr(build.make_schedule(config), t),
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
  assert build.make_schedule(config)(1.0).alpha == 0
  with pytest.raises(ValueError, match='table of betas'):
    build.make_schedule(changed(zero_terminal_snr=True))
  with pytest.raises(ValueError, match=r'shift=2.*needs a schedule'):
    build.make_schedule(changed(schedule='sub_vp', shift=2.0))


@pytest.mark.parametrize(
  'diffusion',
  [
    {'weighting': 'p2(1.0)', 'error': 'huber(0.5)', 'offset_noise': 0.1},
    {'schedule': 'edm', 'prediction': 'edm(0.5)', 'times': 'log_normal'},
    {'schedule': 'rectified_flow', 'times': 'logit_normal(0, 1)'},
    {'weighting': 'sigmoid(-1)', 'per_log_snr': True, 'importance': 10},
    {'variance': 'learned', 'times': 'grid', 'num_steps': 50},
    {
      'variance': 'learned',
      'times': 'grid',
      'num_steps': 50,
      'objective': 'vlb',
      'importance': 50,
    },
  ],
  ids=lambda d: '-'.join(map(str, d.values())),
)
def test_every_choice_trains_and_samples(diffusion):
  config = changed(**diffusion)
  task = build.make_task(config, tiny.SPEC)
  state = task.init(jax.random.key(0))
  x0 = np.zeros((8, 8, 8, 1), np.float32)
  step = jax.jit(task.step)
  new, metrics = step(state, {'x0': x0, 'cond': {}})
  assert np.isfinite(metrics['loss'])
  for sampler in ('ancestral', 'ddim'):
    chosen = dataclasses.replace(config.sampling, sampler=sampler)
    config = dataclasses.replace(config, sampling=chosen)
    draw = build.make_sampler(config, tiny.SPEC)
    images = jax.eval_shape(
      draw, state.params, build.options(config), np.arange(2)
    )
    assert images.shape == (2, 8, 8, 1)
  if config.diffusion.importance:
    assert new.importance.count.sum() == 8


def test_a_learned_variance_and_what_contradicts_it():
  with pytest.raises(ValueError, match='needs diffusion.times=grid'):
    build.make_task(changed(variance='learned'), tiny.SPEC)
  with pytest.raises(ValueError, match='needs diffusion.error=square'):
    build.make_task(
      changed(variance='learned', times='grid', error='abs'), tiny.SPEC
    )


def test_a_name_is_the_same_with_empty_arguments():
  config = changed(variance='learned', times='grid', num_steps=50)
  draws = []
  for sampler in ('ancestral', 'ancestral()'):
    chosen = dataclasses.replace(config.sampling, sampler=sampler)
    one = dataclasses.replace(config, sampling=chosen)
    draw = build.make_sampler(one, tiny.SPEC)
    state = jax.eval_shape(
      build.make_task(one, tiny.SPEC).init, jax.random.key(0)
    )
    jaxpr = jax.make_jaxpr(draw)(state.params, build.options(one), np.arange(2))
    draws.append(str(jaxpr))
  assert draws[0] == draws[1]
  assert choices.name_of('unipc(order=3)', 'sampler') == 'unipc'


def test_small_images_have_a_sensible_size():
  def config(**condition):
    c = dataclasses.replace(tiny.config.condition, **condition)
    return dataclasses.replace(tiny.config, condition=c)

  for size in (0, 8, 9):
    with pytest.raises(ValueError, match=f'from 1 to below 8.*got {size}'):
      build.make_task(config(low_res=size), tiny.SPEC)
  with pytest.raises(ValueError, match='within what is trained on'):
    build.make_task(config(low_res=4, augment=0.05), tiny.SPEC)


@pytest.mark.parametrize('name', sorted(choices.SAMPLERS))
def test_every_sampler_is_built_by_name(name):
  chosen = dataclasses.replace(tiny.config.sampling, sampler=name, steps=3)
  config = dataclasses.replace(tiny.config, sampling=chosen)
  draw = build.make_sampler(config, tiny.SPEC)
  params = jax.eval_shape(
    build.make_task(config, tiny.SPEC).init, jax.random.key(0)
  ).params
  images = jax.eval_shape(draw, params, build.options(config), np.arange(2))
  assert images.shape == (2, 8, 8, 1)
