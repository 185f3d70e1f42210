"""Weights of LPIPS: torchvision's VGG-16 or AlexNet, and those of channels.

The network is a file of torchvision. The weights of its channels come with the
package `lpips`, of which nothing is imported, so that torch is not needed:
`pip install --no-deps lpips`.
"""

import importlib.util
import os
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict
from jax import Array

from jaxdiff import files, hub
from jaxdiff.networks.lpips import ALEXNET, VGG16, LpipsFeatures
from jaxdiff.pretrained.files import State, load_params, read_weights, sha256
from jaxdiff.pretrained.state_dicts import Params, Source, arranged

FETCH = (
  'https://download.pytorch.org/models/vgg16-397923af.pth or '
  'https://download.pytorch.org/models/alexnet-owt-7be5be79.pth'
)
_PACKAGE = 'the weights of channels: pip install --no-deps lpips'


class LpipsWeights(NamedTuple):
  """A network, its parameters, the weights of its channels, their hash."""

  network: LpipsFeatures
  params: Params
  weights: tuple[Array, ...]  # [C] of each map
  sha256: str


def load_lpips(path: str | os.PathLike) -> LpipsWeights:
  """Reads a network of torchvision, and the weights of `lpips` for it.

  Raises:
    FileNotFoundError: There is no such file, or `lpips` is not installed.
    ValueError: A file cannot be read, or is of another network.
  """
  path = hub.local_path(path)
  (network, params), network_hash = load_params(path, FETCH, lpips_params)
  name = 'vgg' if network.net == VGG16 else 'alex'
  file = _folder() / f'{name}.pth'
  state = read_weights(file, _PACKAGE)
  keys = [f'lin{i}.model.1.weight' for i in range(5)]
  if sorted(state) != keys:
    raise ValueError(f'{file} must hold {keys}, got {sorted(state)}')
  weights = tuple(jnp.asarray(state[key].ravel()) for key in keys)
  both = files.json_hash([network_hash, sha256(file)])
  return LpipsWeights(network, params, weights, both)


def lpips_params(state: State) -> tuple[LpipsFeatures, Params]:
  """Finds the network of a state dict, and renames its tensors.

  Raises:
    ValueError: Tensors are missing or of another shape.
  """
  first = state.get('features.0.weight')
  alexnet = first is not None and first.shape[-1] == 11
  network = LpipsFeatures(ALEXNET if alexnet else VGG16)
  images = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)
  shapes = jax.eval_shape(network.init, jax.random.key(0), images)['params']
  leaves = {'kernel': 'weight', 'bias': 'bias'}
  sources = {
    path: Source(f'{path[0].replace("_", ".")}.{leaves[path[1]]}')
    for path in flatten_dict(shapes)
  }
  unused = [name for name in state if name.startswith('classifier.')]
  return network, arranged(state, sources, shapes, unused)


def _folder() -> Path:
  found = importlib.util.find_spec('lpips')
  if found is None or not found.submodule_search_locations:
    raise FileNotFoundError(f'LPIPS needs {_PACKAGE}')
  return Path(found.submodule_search_locations[0]) / 'weights' / 'v0.1'
