"""One step of each few-step model of two moons beside its teacher's ODE."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from jaxdiff import config as c
from jaxdiff import data, models, samplers, training
from jaxdiff.models import optimizer as optimizers

TEACHER = c.Config(
  data=c.Data(name='two_moons'),
  diffusion=c.Gaussian(schedule='cosine', prediction='v'),
  network=c.MLP(width=64, depth=2, time_scale=20.0),
  optimizer=c.Optimizer(learning_rate=2e-3, schedule='cosine'),
  sampling=c.Sampling(sampler='heun', steps=40, threshold='none'),
)
SPEC, NUM = c.Spec('points', (2,)), 512
ONE = {'sampler': 'lcm', 'steps': 1}
METHODS = {
  'mean_flow(fraction=0.75)': {'sampler': 'flow_map', 'steps': 1},
  'shortcut(fraction=0.5)': {'sampler': 'flow_map', 'steps': 1},
  'consistency(every=200)': ONE,
  'consistency_distillation(every=200)': ONE,
  'progressive(1, substeps=16)': {'sampler': 'ddim', 'steps': 1},
}


def trained(config, start=None, num_steps=2000):
  """The averaged weights after so many steps."""
  model = models.make(config, SPEC, start=start)
  optimizer = optimizers.make(config.optimizer, num_steps)
  task = training.make_task(model.init, model.loss, optimizer, decay=0.99)
  dataset = data.load('two_moons', split='train')
  points = jnp.asarray(dataset.gather(np.arange(len(dataset)))['x0'])

  def body(state, key):
    index = jax.random.randint(key, (256,), 0, len(points))
    return task.step(state, {'x0': points[index]})[0], None

  @jax.jit
  def run(key):
    keys = jax.random.split(jax.random.fold_in(key, 1), num_steps)
    return jax.lax.scan(body, task.init(key), keys)[0].ema_params

  return run(jax.random.key(0))


def drawn(config, params):
  model, c = models.make(config, SPEC), config.sampling
  prior_keys, keys = samplers.sample_keys(0, np.arange(NUM))
  x = jax.vmap(lambda key: model.process.prior(key, (2,)))(prior_keys)
  step = model.solver(c, {'eta': 0.0}, params, {})
  denoise = model.denoiser(params, {})
  return jax.jit(
    lambda x: samplers.sample(step, denoise, keys, x, model.grid(c))
  )(x)


@pytest.fixture(scope='module')
def teacher():
  params = trained(TEACHER)
  at = lambda **s: drawn(tiny.changed(TEACHER, sampling=s), params)
  return params, at(), at(sampler='ddim', steps=1)


@pytest.mark.slow
@pytest.mark.parametrize('loss', METHODS)
def test_one_step_is_where_the_ode_ends(teacher, loss):
  params, ends, one = teacher
  times = 'log_normal(-1.1, 2.0)' if 'consistency' in loss else 'continuous'
  config = tiny.changed(
    TEACHER.__class__(**{**vars(TEACHER), 'init': 'teacher'}),
    sampling=METHODS[loss],
    diffusion={'loss': loss, 'times': times},
    optimizer={'learning_rate': 1e-3},
  )
  size = lambda x: float(jnp.sqrt(jnp.mean(jnp.square(x - ends))))
  found = size(drawn(config, trained(config, params)))
  assert found < 0.3 * size(one)


def test_a_network_without_a_second_time_is_refused():
  edm2 = c.EDM2(
    channels=64,
    channel_mults=(1,),
    num_res_blocks=1,
    attention_resolutions=(),
  )
  config = c.Config(network=edm2, diffusion=c.Gaussian(loss='shortcut'))
  with pytest.raises(ValueError, match='the second time .* that EDM2 reads'):
    models.make(config, tiny.SPEC)


@pytest.mark.parametrize(
  'network',
  [
    tiny.UNET,
    pytest.param(
      c.DiT(patch_size=4, width=8, depth=1, num_heads=2), marks=pytest.mark.slow
    ),
  ],
)
def test_a_second_time_starts_without_effect(network):
  # Parameters that both have are named alike.
  plain = c.Config(network=network)
  config = tiny.changed(plain, diffusion={'loss': 'shortcut'})
  old, new = map(tiny.abstract_params, (plain, config))
  assert set(new) - set(old) == {'length_0', 'length_1'}
  made = models.make(config, tiny.SPEC, start=tiny.random_params(plain))
  params = made.init(jax.random.key(0))
  x, t = jnp.ones((2, 8, 8, 1)), jnp.float32([0.5, 0.9])
  at = lambda s: made.denoiser(params, {'s': s})(x, t)
  np.testing.assert_array_equal(at(t), at(0.2 * t))
  # And it has one when its last layer is not zero.
  last = params['length_1']
  last['kernel'] = jnp.ones_like(last['kernel'])
  assert np.abs(at(t) - at(0.2 * t)).max() > 1e-3
