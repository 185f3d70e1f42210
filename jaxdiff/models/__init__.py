"""Models: a configuration becomes one `Model`, built once.

  model = models.make(config, spec)

The classes of `config.diffusion` and of `config.network` are looked at here,
each name is parsed once, and the functions of the model are closed over what
was built. Nothing after this asks the configuration what kind of model it is.
"""

from collections.abc import Mapping
from typing import Any

from jaxdiff import names
from jaxdiff.config import (
  Autoencoding,
  Categorical,
  Classification,
  Config,
  Gaussian,
  Spec,
)
from jaxdiff.models.model import Model, Params, Start

__all__ = ['Model', 'Start', 'make']

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


def _replaced(params: Params, start: Params) -> Params:
  """Returns parameters with those of `start` in their places."""
  if not isinstance(params, Mapping):
    return start
  return {
    name: _replaced(x, start[name]) if name in start else x
    for name, x in params.items()
  }
