"""Published weights of the Inception-v3 of FID as our parameters."""

import os
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict

from jaxdiff import hub
from jaxdiff.networks.inception import Inception
from jaxdiff.pretrained.files import State, load_params
from jaxdiff.pretrained.state_dicts import Params, Path, Source, arranged

FETCH = (
  'https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/'
  'pt_inception-2015-12-05-6726825d.pth'
)
_NORM = {
  'scale': 'weight',
  'bias': 'bias',
  'mean': 'running_mean',
  'var': 'running_var',
}


class InceptionWeights(NamedTuple):
  """Parameters of `Inception`, and the SHA-256 of their file for results."""

  params: Params
  sha256: str


def load_inception(path: str | os.PathLike) -> InceptionWeights:
  """Reads the file of pytorch-fid and torch-fidelity, see `FETCH`.

  Raises:
    FileNotFoundError: There is no such file; the message says where to get it.
    ValueError: The file cannot be read, or is of another network.
  """
  path = hub.local_path(path)
  return InceptionWeights(*load_params(path, FETCH, inception_params))


def inception_params(state: State) -> Params:
  """Renames the 472 published tensors to the parameters of `Inception`.

  `num_batches_tracked`, a count that training keeps, may be among them.

  Raises:
    ValueError: Tensors are missing, left over or of another shape.
  """
  images = jax.ShapeDtypeStruct((1, 299, 299, 3), jnp.float32)
  shapes = jax.eval_shape(Inception().init, jax.random.key(0), images)['params']
  sources = {path: Source(_key(path)) for path in flatten_dict(shapes)}
  counts = [name for name in state if name.endswith('num_batches_tracked')]
  return arranged(state, sources, shapes, counts)


def _key(path: Path) -> str:
  """Our path -> their name: a convolution and its norm are one layer here."""
  *layer, leaf = path
  if path[0] == 'fc':
    return 'fc.weight'
  if path[0] == 'fc_bias':
    return 'fc.bias'
  part = 'conv.weight' if leaf == 'kernel' else f'bn.{_NORM[leaf]}'
  return '.'.join([*layer, part])
