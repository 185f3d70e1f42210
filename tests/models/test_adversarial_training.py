"""Adversarial and perceptual training of an autoencoder, by configuration."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tiny
import tiny_dino
from measured import make_classifier
from states import assert_same

from jaxdiff import config as c
from jaxdiff import models, parallel
from jaxdiff.losses import DISCRIMINATOR, autoencoding
from jaxdiff.models import optimizer as optimizers
from jaxdiff.models import perceptual
from jaxdiff.networks.discriminator import PatchDiscriminator
from jaxdiff.pretrained import dinov2_weights
from jaxdiff.runs import Checkpoints

CONFIG = dataclasses.replace(
  tiny.config,
  diffusion=c.Autoencoding(
    adversary='patch(width=4, depth=1)', adversarial_start=2
  ),
  network=c.Autoencoder(
    latent_channels=2,
    channels=4,
    channel_mults=(1, 2),
    num_res_blocks=1,
    attention=False,
    num_groups=2,
  ),
  optimizer=c.Optimizer(name='sgd', learning_rate=0.1, clip_norm=None),
)
IMAGES = np.random.default_rng(0).uniform(-1, 1, (4, 8, 8, 1))
BATCH = {'x0': IMAGES.astype(np.float32), 'cond': {}}


@pytest.fixture(scope='module')
def step():
  return jax.jit(tiny.make_task(CONFIG).step)


@pytest.fixture(scope='module')
def steps(step):
  """The states after three steps, and their metrics."""
  state, found = tiny.make_task(CONFIG).init(jax.random.key(0)), []
  for _ in range(3):
    state, metrics = step(state, BATCH)
    found.append((state, jax.device_get(metrics)))
  return found


@pytest.mark.slow
def test_both_networks_learn_from_the_start_step_on(steps):
  own = [state.params[DISCRIMINATOR] for state, _ in steps]
  same = lambda x, y: jax.tree.all(jax.tree.map(jnp.array_equal, x, y))
  assert same(own[0], own[1]) and not same(own[1], own[2])
  weights = [metrics['adversarial_weight'] for _, metrics in steps]
  assert weights[:2] == [0, 0] and weights[2] > 0
  assert [m['discriminator'] > 0 for _, m in steps] == [False, False, True]


@pytest.mark.slow
def test_the_gradient_is_that_of_the_equations(steps):
  model = models.make(CONFIG, tiny.SPEC)
  network = models.autoencoder.make_network(CONFIG, tiny.SPEC)
  discriminate = lambda params, x: PatchDiscriminator(width=4, depth=1).apply(
    {'params': params}, x
  )
  before, after = steps[1][0], steps[2][0]

  def keys():
    key = jax.random.fold_in(jax.random.clone(before.key), 2)
    key = jax.random.split(key)[0]
    return jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(4))

  x, step = BATCH['x0'], jnp.full(4, 2)

  def alone(params):  # without the discriminator
    quiet = {**BATCH, 'step': step - 2}
    return model.loss(params, keys(), quiet)[0].mean()

  def reconstruct(params):
    apply = lambda x, method: network.apply(
      {'params': params}, x, method=method
    )
    z = autoencoding.draw_latents(keys(), apply(x, 'moments'))
    return apply(z, 'decode')

  def deceive(params):
    own = before.params['discriminator']
    return -discriminate(own, reconstruct(params)).mean()

  def hinge(own):
    x_hat = reconstruct(before.params)
    real, fake = (discriminate(own, x) for x in (x, x_hat))
    return (jax.nn.relu(1 - real) + jax.nn.relu(1 + fake)).mean() / 2

  @jax.jit
  def gradients(params):
    own = jax.grad(hinge)(params['discriminator'])
    return jax.grad(alone)(params), jax.grad(deceive)(params), own

  first, second, own = gradients(before.params)
  kernel = lambda grads: grads['decoder']['conv_out']['kernel']
  norms = [float(jnp.linalg.norm(kernel(g).ravel())) for g in (first, second)]
  weight = 0.5 * norms[0] / (norms[1] + 1e-4)
  np.testing.assert_allclose(
    steps[2][1]['adversarial_weight'], weight, rtol=1e-3
  )
  for name, x in before.params.items():
    slopes = (
      own
      if name == 'discriminator'
      else jax.tree.map(lambda a, b: a + weight * b, first[name], second[name])
    )
    wanted = jax.tree.map(lambda x, g: x - 0.1 * g, x, slopes)
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-5)
    jax.tree.map(close, after.params[name], wanted)


@pytest.mark.slow
def test_the_adaptive_weight_is_of_the_whole_batch(steps):
  task = tiny.make_task(tiny.changed(CONFIG, training={'accumulate': 2}))
  before = steps[1][0]
  before = before._replace(key=jax.random.clone(before.key))
  state, metrics = jax.jit(task.step)(before, BATCH)
  whole = steps[2][1]['adversarial_weight']
  np.testing.assert_allclose(metrics['adversarial_weight'], whole, rtol=1e-4)
  close = lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-3, atol=1e-5)
  jax.tree.map(close, state.params, steps[2][0].params)


@pytest.mark.slow
def test_devices_share_the_step(steps):
  """The weight is that of gradients of the whole batch under pmap too."""
  mesh = parallel.make_mesh(devices=jax.devices()[:4])
  before, (after, metrics) = steps[1][0], steps[2]
  arrays = jax.tree.map(jnp.copy, before._replace(key=None))
  step = parallel.compile_train_step(
    tiny.make_task(CONFIG).step, mesh, None, mode='pmap'
  )
  state, found = step(arrays._replace(key=jax.random.clone(before.key)), BATCH)
  close = lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-6)
  jax.tree.map(close, found, metrics)
  jax.tree.map(close, state.params, after.params)


def test_an_autoencoder_starts_as_without_an_adversary():
  made = models.make(CONFIG, tiny.SPEC)
  config = tiny.changed(CONFIG, diffusion={'adversary': None})
  assert 'balance' not in optimizers.step_options(config)
  shapes = jax.eval_shape(made.init, jax.random.key(0))
  assert shapes.pop('discriminator')
  assert shapes == tiny.abstract_params(config)


def test_each_network_is_clipped_by_its_own_norm():
  grads = {'encoder': jnp.array([3.0]), 'discriminator': jnp.array([30.0])}
  clipped = optimizers.clip(6.0).update(grads, optax.EmptyState())[0]
  np.testing.assert_allclose(clipped['encoder'], [3.0])
  np.testing.assert_allclose(clipped['discriminator'], [6.0])


def test_the_perceptual_error_is_of_features_of_a_classifier(tmp_path):
  network, params = make_classifier(tmp_path)
  name = f'classifier:{tmp_path}'
  space = perceptual.load(name)
  maps = network.apply({'params': params}, BATCH['x0']).maps
  assert [x.shape[1:3] for x in maps] == [(8, 8), (4, 4)]
  jax.tree.map(
    np.testing.assert_array_equal,
    list(space.features(space.params, BATCH['x0'])),
    list(maps),
  )
  diffusion = c.Autoencoding(perceptual=name, perceptual_weight=0.5)
  config = dataclasses.replace(CONFIG, diffusion=diffusion)
  model = models.make(config, tiny.SPEC)
  keys = jax.random.split(jax.random.key(0), 4)
  frozen = {'frozen': model.frozen}
  value, metrics = jax.jit(model.loss)(
    model.init(jax.random.key(1)), keys, {**BATCH, **frozen}
  )
  rest = metrics['reconstruction'] + metrics['kl']
  np.testing.assert_allclose(value - rest, metrics['perceptual'], rtol=1e-3)
  assert np.all(metrics['perceptual'] > 0)
  spec = tiny.SPEC._replace(data={'kind': 'digits', 'perceptual': '0' * 64})
  with pytest.raises(ValueError, match='the run was trained with 000000000000'):
    models.make(config, spec)
  with pytest.raises(ValueError, match=r'takes images \[8, 8, 1\]'):
    models.make(config, tiny.SPEC._replace(shape=(16, 16, 1)))


def test_the_perceptual_error_is_of_patches_of_dinov2(tmp_path):
  tiny_dino.save(tmp_path)
  space = perceptual.load(f'dinov2:{tmp_path}')
  x, y = np.random.default_rng(1).uniform(-1, 1, (2, 2, 8, 8, 1)).astype('f')
  network, params, _ = dinov2_weights.load_dinov2(tmp_path)

  @jax.jit
  def exact(images):
    images = jnp.repeat(images, 3, -1)
    images = jax.image.resize(images, (2, 224, 224, 3), 'cubic')
    ends = np.array([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]], np.float32)
    mean, std = ends.reshape(2, 1, 1, 1, 3)
    seen = ((images + 1) / 2 - mean) / std
    patches = network.apply({'params': params}, seen).patches
    length = jnp.linalg.norm(patches, axis=-1, keepdims=True)
    return patches / length

  error = autoencoding.perceptual_error(
    lambda x: space.features(space.params, x), space.weights
  )
  square = ((exact(x) - exact(y)) ** 2).sum(-1)
  rest = tuple(range(1, square.ndim))
  np.testing.assert_allclose(jax.jit(error)(x, y), square.mean(rest), rtol=1e-4)


@pytest.mark.parametrize(
  'change, message',
  [
    ({'perceptual': 'vgg'}, 'must be classifier:WORKDIR, dinov2:PATH or lpips'),
    ({'perceptual': 'classifier:nowhere'}, 'no classifier in nowhere'),
    ({'adversary': 'patch(depth=3)'}, 'depth 3 does not fit images of 8x8'),
    ({'adversary': 'patches'}, 'adversary must be one of'),
    ({'adversary': 'patch(size=3)'}, 'size'),
  ],
)
def test_what_does_not_fit_is_refused(change, message):
  with pytest.raises((ValueError, FileNotFoundError), match=message):
    models.make(tiny.changed(CONFIG, diffusion=change), tiny.SPEC)


@pytest.mark.slow
def test_a_run_that_was_stopped_continues_bit_for_bit(step, steps, tmp_path):
  with Checkpoints(tmp_path) as store:
    store.save(2, steps[1][0])
  task = tiny.make_task(CONFIG)
  with Checkpoints(tmp_path) as store:
    abstract = jax.eval_shape(task.init, jax.random.key(0))
    _, state = store.restore(abstract)
  assert 'discriminator' in state.params
  assert_same(step(state, BATCH)[0], steps[2][0])
