"""A tiny run and a tiny classifier that were never trained, on disk."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import tiny

from jaxdiff import build, classifier
from jaxdiff import config as configs
from jaxdiff.networks.classifier import Classifier
from jaxdiff.runs import Checkpoints, run_config


def make_run(workdir):
  """A class-conditional run of digits at step 3."""
  config = dataclasses.replace(
    tiny.config,
    workdir=str(workdir),
    condition=configs.Condition(label=True),
    network=configs.Network(
      unet=configs.UNet(
        channels=4,
        channel_mults=(1,),
        num_res_blocks=1,
        attention_resolutions=(),
      )
    ),
    sampling=configs.Sampling(steps=1, num=4),
  )
  task = build.make_task(config, tiny.SPEC)
  state = jax.jit(task.init)(jax.random.key(0))
  # A new network predicts 0, whatever it is told.
  rng = np.random.default_rng(0)
  stirred = jax.tree.map(
    lambda x: x + 0.3 * rng.normal(size=x.shape).astype(np.float32),
    state.params,
  )
  state = state._replace(params=stirred, ema_params=stirred)
  with Checkpoints(workdir) as store:
    store.save(3, state)
  run_config.save_config(workdir, configs.describe(config, tiny.SPEC))
  return config


def make_classifier(workdir):
  """One of digits; its test accuracy is made up."""
  network = Classifier(10, width=4)
  init = jax.jit(network.init)
  params = init(jax.random.key(1), jnp.zeros((1, 8, 8, 1)))['params']
  about = classifier.About('digits', (8, 8, 1), 10, 4, 0, 0, 0.125, 300)
  classifier.save(workdir, params, about)
  return network, params
