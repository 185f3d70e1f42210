"""Subjects of measurements: an untrained run and an untrained classifier."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import tiny

from jaxdiff import classifier, training
from jaxdiff import config as c
from jaxdiff.models import optimizer as optimizers
from jaxdiff.networks.classifier import Classifier
from jaxdiff.runs import Checkpoints
from jaxdiff.runs.config_json import save_config


def normal(num, dim=4, shift=0.0, seed=0):
  """Features [num, dim] from N(shift, 1)."""
  x = np.random.default_rng(seed).normal(size=(num, dim)) + shift
  return x.astype(np.float32)


def make_run(workdir, seed=0, label=True):
  """Writes a run of digits by class at step 3, and its config."""
  config = dataclasses.replace(
    tiny.config,
    workdir=str(workdir),
    condition=c.Condition(label=label),
    sampling=c.Sampling(steps=1, num=4),
  )
  # A new network predicts 0, whatever its conditions.
  params = jax.tree.map(
    lambda x: (1 + seed) * jnp.asarray(x), tiny.random_params(config)
  )
  state = training.init_state(
    params,
    optimizers.make(config.optimizer, config.training.num_steps),
    jax.random.key(0),
  )
  with Checkpoints(workdir) as store:
    store.save(3, state)
  save_config(workdir, c.describe(config, tiny.SPEC))
  return config


def make_classifier(workdir):
  """Writes a classifier of digits; its test accuracy is made up."""
  network = Classifier(10, width=4)
  init = jax.jit(network.init)
  params = init(jax.random.key(1), jnp.zeros((1, 8, 8, 1)))['params']
  about = classifier.About('digits', (8, 8, 1), 10, 4, 0, 1, 0.125, 300)
  classifier.save(workdir, params, about)
  return network, params
