"""Models of autoencoding: built of a configuration, losses of both kinds."""

import dataclasses

import jax
import numpy as np
import pytest
import tiny

from jaxdiff import config as c
from jaxdiff import models

NETWORK = c.Autoencoder(
  latent_channels=2,
  channels=4,
  channel_mults=(1, 2),
  num_res_blocks=1,
  num_groups=2,
)


def config_of(num_codes=None, **diffusion):
  return dataclasses.replace(
    tiny.config,
    diffusion=c.Autoencoding(**diffusion),
    network=dataclasses.replace(NETWORK, num_codes=num_codes),
  )


@pytest.mark.slow
def test_training_reconstructs():
  config = config_of(likelihood='gaussian(0.3)')
  config = tiny.changed(
    config, optimizer={'learning_rate': 3e-3}, network={'attention': False}
  )
  task = tiny.make_task(config)
  images = np.random.default_rng(0).uniform(-1, 1, (4, 1, 1, 1))
  batch = {
    'x0': np.broadcast_to(images, (4, 8, 8, 1)).astype(np.float32),
    'cond': {'label': np.zeros(4, np.int32)},
  }

  def steps(state):
    return jax.lax.scan(lambda s, _: task.step(s, batch), state, None, 60)

  _, metrics = jax.jit(steps)(jax.jit(task.init)(jax.random.key(0)))
  assert metrics['error'][-1] < 0.5 * metrics['error'][0]
  assert np.all(metrics['kl'] > 0)


@pytest.mark.parametrize('num_codes', [None, 5])
def test_reconstructions_and_metrics_of_both_kinds(num_codes):
  config = config_of(num_codes)
  model = models.make(config, tiny.SPEC)
  params = tiny.abstract_params(config)
  x0 = np.zeros((4, 8, 8, 1), np.float32)
  found = jax.eval_shape(model.reconstruct, params, x0)
  assert found.images.shape == (4, 8, 8, 1)
  assert (found.indices is None) == (num_codes is None)
  keys = jax.random.split(jax.random.key(0), 4)
  loss, metrics = jax.eval_shape(model.loss, params, keys, {'x0': x0})
  own = 'commitment' if num_codes else 'kl'
  assert metrics.keys() == {'reconstruction', 'error', own}
  assert {x.shape for x in (loss, *metrics.values())} == {(4,)}


@pytest.mark.parametrize(
  'change, spec, message',
  [
    ({'network': tiny.UNET}, tiny.SPEC, 'must be Autoencoder, got UNet'),
    ({}, tiny.SPEC._replace(shape=(9, 9, 1)), 'multiples of 2, got 9x9'),
    ({}, c.Spec('points', (2,)), 'is for images'),
  ],
)
def test_what_does_not_fit(change, spec, message):
  config = dataclasses.replace(config_of(), **change)
  with pytest.raises(ValueError, match=message):
    models.make(config, spec)


def test_a_likelihood_that_is_none_is_refused():
  with pytest.raises(ValueError, match='likelihood'):
    config_of(likelihood='laplace(-1)')
