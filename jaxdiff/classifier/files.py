"""A trained classifier on disk: whole or not at all, and known by its hash."""

import hashlib
import os
from pathlib import Path
from typing import Any, NamedTuple

import jax
import safetensors.numpy
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxdiff import files
from jaxdiff.networks.classifier import Classifier

_WEIGHTS, _ABOUT = 'classifier.safetensors', 'classifier.json'


class About(NamedTuple):
  """What a classifier was trained on, and how well it does."""

  dataset: str
  image_shape: tuple[int, int, int]
  num_classes: int
  width: int
  seed: int
  num_steps: int
  test_accuracy: float
  num_test: int


class Trained(NamedTuple):
  """A classifier, `params` for its `apply({'params': params}, images)`, and
  the hash of its file, which a result has to name."""

  network: Classifier
  params: Any
  about: About
  sha256: str


def save(workdir: str | os.PathLike, params: Any, about: About) -> str:
  """Writes a classifier and returns the SHA-256 of its weights."""
  workdir = Path(workdir)
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
  workdir = Path(workdir)
  if not (workdir / _ABOUT).is_file():
    raise FileNotFoundError(
      f'no classifier in {workdir}: train one with python -m '
      f'jaxdiff.classifier train SET --workdir {workdir}'
    )
  described = files.read_json(workdir / _ABOUT, 'the classifier')
  sha256 = described.pop('sha256')
  shape = tuple(described.pop('image_shape'))
  about = About(image_shape=shape, **described)
  content = (workdir / _WEIGHTS).read_bytes()
  if hashlib.sha256(content).hexdigest() != sha256:
    raise ValueError(
      f'{workdir / _WEIGHTS} is damaged: its SHA-256 is not that in {_ABOUT}; '
      'train it again in another workdir'
    )
  params = unflatten_dict(safetensors.numpy.load(content), sep='/')
  network = Classifier(about.num_classes, about.width)
  return Trained(network, params, about, sha256)
