"""Tiny models of text and graphs, and their samplers."""

import dataclasses

import jax
import numpy as np
import tiny
from nets import jit

from jaxdiff import config as c
from jaxdiff import models
from jaxdiff.generation.sampler import make_sampler, traced_options

MASKED = c.Categorical()
UNIFORM = c.Categorical(process='uniform')
NETWORK = c.Transformer(width=8, depth=1, num_heads=2, time=False)
TEXT = dataclasses.replace(
  tiny.config,
  diffusion=MASKED,
  network=NETWORK,
  sampling=c.Sampling(sampler='ancestral', steps=3, num=2),
)
GRAPHS = dataclasses.replace(
  TEXT,
  diffusion=c.Categorical(process='marginal'),
  network=c.GraphTransformer(
    width=8, edge_width=8, global_width=8, depth=1, num_heads=2
  ),
)


def with_diffusion(config, **values):
  return tiny.changed(config, diffusion=values)


def with_time(config):
  """With a network that has the noise level as an input."""
  return tiny.changed(config, network={'time': True})


def with_sampling(config, **values):
  return tiny.changed(config, sampling=values)


def sampler_of(config, spec, **settings):
  return jit(
    make_sampler(models.make(config, spec), config.sampling, **settings)
  )


def samples(config, spec, index=(0, 1, 2), params=None, **options):
  """Samples of a network of small random weights, or of `params`."""
  if params is None:
    params = tiny.random_params(config, spec, 0.1)
  draw = sampler_of(config, spec)
  options = {**traced_options(config), **options}
  return jax.tree.map(np.asarray, draw(params, options, np.array(index)))
