"""Models of latents: the loss between encoder and decoder, shift and scale."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from jaxdiff import config as c
from jaxdiff import models
from jaxdiff.generation.sampler import make_sampler, traced_options
from jaxdiff.losses.autoencoding import draw_latents
from jaxdiff.models import gaussian, latent
from jaxdiff.pretrained.autoencoder_weights import load_autoencoder
from jaxdiff.runs import examples


@pytest.fixture(scope='module')
def made(tmp_path_factory):
  """A configuration of latents of the digits, its spec, and its autoencoder."""
  folder = tmp_path_factory.mktemp('autoencoder')
  config = dataclasses.replace(
    tiny.config,
    latent=c.Latent(autoencoder='wherever', num=128),
    sampling=c.Sampling(steps=2, num=4, threshold='none'),
  )
  config, spec = tiny.with_latents(config, tiny.SPEC, folder)
  return config, spec, load_autoencoder(folder)


def encode(autoencoder, images):
  network, params, _ = autoencoder
  apply = jax.jit(
    lambda params, x: network.apply({'params': params}, x, method='moments')
  )
  return apply(params, images)


def normalized(z, spec):
  shift, scale = (
    np.float32(spec.latents[name]).reshape(1, 1, 1, -1)
    for name in ('shift', 'scale')
  )
  return (z - shift) * scale


def test_measured_latents_have_mean_0_and_variance_1(made, tmp_path):
  config, _, autoencoder = made
  found = examples.load(config, tmp_path, training=True)
  x0 = found.dataset.gather(np.arange(len(found.dataset)))['x0']
  x0 = x0.astype(np.float32) / 127.5 - 1
  part = np.arange(0, len(x0), 3)
  z = normalized(encode(autoencoder, x0[part]).mean, found.spec)
  noise = np.exp(encode(autoencoder, x0[part]).log_variance)
  noise = noise * np.square(np.float32(found.spec.latents['scale']))
  np.testing.assert_allclose(z.mean((0, 1, 2)), 0, atol=0.1)
  total = z.var((0, 1, 2)) + noise.mean((0, 1, 2))
  np.testing.assert_allclose(total, 1, rtol=0.1)
  assert found.spec.latents['shape'] == (4, 4, 2)
  assert found.spec.latents['sha256'] == autoencoder.sha256
  described = c.describe(config, found.spec)
  assert c.undescribe(described) == (config, found.spec)
  models.make(config, found.spec)


def test_the_loss_is_that_of_the_latents(made):
  config, spec, autoencoder = made
  model = models.make(config, spec)
  inner = gaussian.make(
    config, spec._replace(modality='latent', shape=(4, 4, 2)), {}
  )
  assert model.bins is None  # latents are not 256 values
  images = np.random.default_rng(0).uniform(-1, 1, (3, 8, 8, 1))
  batch = {
    'x0': images.astype(np.float32),
    'u': np.array([0.1, 0.5, 0.9], np.float32),
    'cond': {},
  }
  params = tiny.random_params(config, spec)
  keys = lambda: jax.random.split(jax.random.key(1), 3)

  def by_hand(params, keys, batch):
    split = jax.vmap(lambda key: tuple(jax.random.split(key)))
    latent_keys, keys = split(keys)
    z = draw_latents(latent_keys, encode(autoencoder, batch['x0']))
    x0 = normalized(z, spec)
    return inner.loss(params, keys, {**batch, 'x0': x0})[0]

  loss = jax.jit(lambda *args: model.loss(*args)[0])
  ours = loss(params, keys(), batch)
  np.testing.assert_allclose(ours, jax.jit(by_hand)(params, keys(), batch))
  assert np.all(np.isfinite(ours)) and np.ptp(ours) > 0


def test_samples_are_decoded_latents(made):
  config, spec, (network, params, _) = made
  model = models.make(config, spec)
  z = np.random.default_rng(0).normal(size=(2, 3, 4, 4, 2)).astype(np.float32)
  decode = jax.jit(
    lambda z: network.apply({'params': params}, z, method='decode')
  )
  flat = z.reshape(6, 4, 4, 2)
  exact = np.asarray(decode(flat)).reshape(2, 3, 8, 8, 1)
  x0 = normalized(flat, spec).reshape(z.shape)
  found = jax.jit(model.decode)(x0)  # with the xt on the way
  np.testing.assert_allclose(found, exact, atol=1e-5)
  draw = make_sampler(model, config.sampling, trajectory=True)
  weights = tiny.abstract_params(config, spec)
  options = traced_options(config)
  path = jax.eval_shape(draw, weights, options, np.arange(2))
  assert path.x.shape == (2, 3, 8, 8, 1)


def test_latents_are_means_or_draws(made):
  config, spec, autoencoder = made
  model = models.make(config, spec)
  x = np.random.default_rng(0).uniform(-1, 1, (2, 8, 8, 1)).astype(np.float32)
  keys = lambda: jax.random.split(jax.random.key(1), 2)
  moments = encode(autoencoder, x)
  run = jax.jit(lambda x, *keys: model.latents(x, None, *keys))
  for found, z in (
    (run(x), moments.mean),
    (run(x, keys()), draw_latents(keys(), moments)),
  ):
    np.testing.assert_allclose(found, normalized(z, spec), atol=1e-5)


@pytest.mark.slow
def test_the_autoencoder_is_no_constant_of_a_program(made):
  config, spec, autoencoder = made
  model = models.make(config, spec)
  params = tiny.abstract_params(config, spec)
  size = sum(x.nbytes for x in jax.tree.leaves(autoencoder.params))
  draw = make_sampler(model, config.sampling)
  task = tiny.make_task(config, spec)
  state = jax.eval_shape(task.init, jax.random.key(0))
  batch = tiny.batch(config, spec, 2)

  def lowered(function, *args):
    return len(jax.jit(function).lower(*args).as_text())

  def drawn(**frozen):
    return lowered(draw, params, traced_options(config, **frozen), np.arange(2))

  own = lowered(task.step, state, batch), drawn()
  given = (
    lowered(task.step, state, batch, model.frozen),
    drawn(frozen=model.frozen),
  )
  # Of the step the encoder, of samples the decoder, each about a half.
  assert all(a - b > size / 2 for a, b in zip(own, given, strict=True))


def test_another_autoencoder_is_refused(made, tmp_path):
  config, spec, _ = made
  other, _ = tiny.with_latents(config, spec, tmp_path, seed=1)
  with pytest.raises(ValueError, match='the run was trained with'):
    models.make(other, spec)
  with pytest.raises(ValueError, match='not in the specification'):
    models.make(other, tiny.SPEC)


def test_latents_that_are_the_same_everywhere_are_refused(made):
  config, _, _ = made
  blank = [np.zeros((2, 8, 8, 1), np.float32)]
  constant = jnp.zeros  # of a network that has learned nothing

  class Dead:
    apply = staticmethod(
      lambda variables, x, method: (
        constant((*x.shape[:3], 2)),
        jnp.full((*x.shape[:3], 2), -jnp.inf),
      )
    )

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(latent, 'load_autoencoder', lambda _: (Dead, {}, 'hash'))
    with pytest.raises(ValueError, match='the same everywhere'):
      latent.measure(config.latent.autoencoder, blank)


@pytest.mark.parametrize(
  'change, message',
  [
    ({'sampling': {'threshold': 'clip'}}, 'threshold must be none'),
    ({'condition': {'low_res': 4}}, 'low-res is for images'),
    ({'diffusion': c.Autoencoding()}, 'is for diffusion Gaussian'),
  ],
)
def test_settings_that_do_not_fit_latents(made, change, message):
  config = made[0]
  with pytest.raises(ValueError, match=message):
    if 'diffusion' in change:
      dataclasses.replace(config, **change)
    tiny.changed(config, **change)
