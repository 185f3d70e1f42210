"""A trained classifier on disk: whole or not at all, and known by its hash."""

import hashlib
import os
import shlex
from typing import Annotated, Any, NamedTuple, get_type_hints

import jax
import safetensors.numpy
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxdiff import files
from jaxdiff.config.ranges import Count, Fraction, In, Seed, Size, check
from jaxdiff.networks.classifier import Classifier

_WEIGHTS, _ABOUT = 'classifier.safetensors', 'classifier.json'


class About(NamedTuple):
  """The data that a classifier was trained on, and its accuracy."""

  dataset: str
  image_shape: tuple[Size, Size, Size]
  num_classes: Size
  width: Size
  seed: Seed
  num_steps: Annotated[int, In('[0, 2147483647]')]  # 0: as it was drawn
  test_accuracy: Fraction
  num_test: Count


class Trained(NamedTuple):
  """A classifier, `params` for its `apply({'params': params}, images)`, and
  the hash of its file, which a result has to name."""

  network: Classifier
  params: Any
  about: About
  sha256: str


def save(workdir: str | os.PathLike, params: Any, about: About) -> str:
  """Writes a classifier and returns the SHA-256 of its weights."""
  workdir = files.as_path(workdir)
  arrays = flatten_dict(jax.device_get(params), sep='/')
  content = safetensors.numpy.save(arrays)
  sha256 = hashlib.sha256(content).hexdigest()
  described = {**about._asdict(), 'sha256': sha256}
  # The description comes last: without it there is no classifier.
  files.save(workdir / _WEIGHTS, lambda file: file.write_bytes(content))
  files.write_json(workdir / _ABOUT, described)
  return sha256


def load(workdir: str | os.PathLike) -> Trained:
  """Reads what `save` wrote.

  Raises:
    FileNotFoundError: no classifier there; the message says how to train one.
    ValueError: the weights are not those that were written.
  """
  workdir = files.as_path(workdir)
  if not (workdir / _ABOUT).is_file():
    raise FileNotFoundError(
      f'no classifier in {workdir}: train one with python -m '
      f'jaxdiff.classifier train SET --workdir {shlex.quote(str(workdir))}'
    )
  described = files.read_json(workdir / _ABOUT, 'the classifier')
  advice = 'train it again in another workdir'
  try:
    sha256 = described.pop('sha256')
    shape = tuple(described.pop('image_shape'))
    about = About(image_shape=shape, **described)
    for name, hint in get_type_hints(About, include_extras=True).items():
      check(getattr(about, name), hint, name)
  except (AttributeError, KeyError, TypeError, ValueError) as error:
    raise ValueError(
      f'{workdir / _ABOUT} is damaged ({error}): {advice}'
    ) from error
  if not (workdir / _WEIGHTS).is_file():
    raise FileNotFoundError(f'{workdir / _WEIGHTS} is missing: {advice}')
  content = (workdir / _WEIGHTS).read_bytes()
  if hashlib.sha256(content).hexdigest() != sha256:
    raise ValueError(
      f'{workdir / _WEIGHTS} is damaged, its SHA-256 is not that in {_ABOUT}: '
      f'{advice}'
    )
  params = unflatten_dict(safetensors.numpy.load(content), sep='/')
  network = Classifier(about.num_classes, about.width)
  blank = jax.ShapeDtypeStruct((1, *about.image_shape), 'float32')
  wanted = jax.eval_shape(network.init, jax.random.key(0), blank)['params']
  shapes = lambda tree: jax.tree.map(lambda x: x.shape, tree)
  if shapes(wanted) != shapes(params):
    raise ValueError(f'{workdir / _ABOUT} does not fit the weights: {advice}')
  return Trained(network, params, about, sha256)
