"""Models: a configuration becomes one `Model`, built once.

  model = models.make(config, spec)

The classes of `config.diffusion` and of `config.network` are looked at here,
each name is parsed once, and the functions of the model are closed over what
was built. Nothing after this asks the configuration what kind of model it is.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
from jax import Array

from jaxdiff import names
from jaxdiff.config import (
  Autoencoding,
  Categorical,
  Classification,
  Config,
  Gaussian,
  Latent,
  Spec,
)
from jaxdiff.models.model import Model, Params, Start

if TYPE_CHECKING:
  from jaxdiff.losses import Loss

__all__ = ['Model', 'Start', 'Trained', 'make', 'sketch', 'trained']

_MAKERS = {
  Gaussian: 'jaxdiff.models.gaussian:make',
  Categorical: 'jaxdiff.models.categorical:make',
  Classification: 'jaxdiff.models.classification:make',
  Autoencoding: 'jaxdiff.models.autoencoder:make',
}


def make(
  config: Config,
  spec: Spec,
  null: Mapping[str, Any] | None = None,
  start: Params | None = None,
) -> Model:
  """Builds the model of a configuration, for data of a specification.

  Args:
    config: of the run.
    spec: of its data set.
    null: for training, the null value of each condition that is dropped, from
      `runs.examples.load`.
    start: for training, the weights of --init. The network starts from them,
      and what it has beside them as a new one; they are the teacher of a loss
      that has one.

  Raises:
    ValueError: the configuration does not fit the data.
  """
  path = _MAKERS[type(config.diffusion)]
  if config.latent.autoencoder is not None:
    path = 'jaxdiff.models.latent:make'
  maker = names.resolve(path, 'diffusion')
  if start is None:
    return maker(config, spec, null or {})
  taught = isinstance(config.diffusion, Gaussian)
  model = maker(config, spec, null or {}, *((start,) if taught else ()))
  return model._replace(init=lambda key: _replaced(model.init(key), start))


def sketch(config: Config, spec: Spec) -> Model:
  """Builds the model for checks of settings: no weights are read.

  It does not decode latents, and has no features that its loss compares.
  """
  if spec.latents is not None:
    inner = spec._replace(modality='latent', shape=spec.latents['shape'])
    config = dataclasses.replace(config, latent=Latent())
    return make(config, inner)._replace(spec=spec)
  return make(without_features(config), spec)


def without_features(config: Config) -> Config:
  """Returns a configuration without the features that a loss compares."""
  if not isinstance(config.diffusion, Autoencoding):
    return config
  own = dataclasses.replace(
    config.diffusion, perceptual=None, perceptual_weight=1.0
  )
  return dataclasses.replace(config, diffusion=own)


class Trained(NamedTuple):
  """The part of a model that is trained: see `training.make_task`."""

  init: Callable[[Array], Params]
  loss: Loss
  frozen: Params
  whole: Callable[[Params], Params]


def trained(config: Config, model: Model, base: Params | None) -> Trained:
  """Returns all of a model, or with --lora.rank factors beside `base`."""
  rank = config.lora.rank
  if rank is None:
    return Trained(model.init, model.loss, model.frozen, lambda params: params)
  from jaxdiff import lora  # which most runs have not

  scale = lora_scale(config)
  merge = jax.jit(lora.merged)
  inner = {} if model.frozen is None else {'frozen': model.frozen}
  return Trained(
    lambda key: lora.init(key, base, rank),
    lora.of_factors(model.loss, scale),
    {'base': base, **inner},
    lambda factors: merge(base, factors, scale),
  )


def lora_scale(config: Config) -> float:
  """Returns the weight of a product of factors, alpha / rank."""
  rank = config.lora.rank
  return (config.lora.alpha or rank) / rank


def _replaced(params: Params, start: Params) -> Params:
  """Returns parameters with those of `start` in their places."""
  if not isinstance(params, Mapping):
    return start
  return {
    name: _replaced(x, start[name]) if name in start else x
    for name, x in params.items()
  }
