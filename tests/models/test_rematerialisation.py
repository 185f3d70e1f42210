"""Policies of rematerialisation, from the flag to the work of a step."""

from dataclasses import replace

import jax
import numpy as np
import pytest
import tiny

from jaxdiff import config as c
from jaxdiff import flops, models

NETWORKS = {
  'unet': tiny.UNET,
  'dit': c.DiT(width=8, depth=2, num_heads=2),
  'edm2': c.EDM2(
    channels=64,
    channel_mults=(1,),
    num_res_blocks=1,
    attention_resolutions=(),
  ),
  'autoencoder': c.Autoencoder(
    channels=4, channel_mults=(1,), num_groups=2, num_res_blocks=1
  ),
}


@pytest.mark.slow
@pytest.mark.parametrize('name', NETWORKS)
def test_a_policy_keeps_what_it_says(name):
  """Products that are kept are not computed again."""
  config = tiny.config
  diffusion = {'diffusion': c.Autoencoding()} if name == 'autoencoder' else {}

  def work(**settings):
    network = replace(NETWORKS[name], **settings)
    model = models.make(
      replace(config, network=network, **diffusion), tiny.SPEC
    )
    params = jax.eval_shape(model.init, jax.random.key(0))
    batch = tiny.batch(config, tiny.SPEC, 2) | {
      'u': np.ones(2),
      'step': np.ones(2),
    }
    keys = jax.random.split(jax.random.key(0), 2)
    loss = lambda params, keys: model.loss(params, keys, batch)[0].mean()
    return flops.count(jax.grad(loss), params, keys)

  again, kept = work(remat=True), work(remat=True, remat_policy='dots_saveable')
  plain = work()
  assert plain <= kept <= again and plain < again
  if name == 'dit':  # its convolutions are products
    assert kept < again
