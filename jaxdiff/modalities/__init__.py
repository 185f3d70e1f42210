"""Modalities: how samples of a kind of data are written, read and shown.

The data set says its modality: 'points', 'image', 'text' or 'graph'. Samples
come off the device as arrays; a Modality turns them into images, strings or
graphs and these into files, which are written whole or not at all.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxdiff import names
from jaxdiff.config import Spec

MODALITIES: names.Table = {
  'points': 'jaxdiff.modalities.points:make',
  'image': 'jaxdiff.modalities.image:make',
  'text': 'jaxdiff.modalities.text:make',
  'graph': 'jaxdiff.modalities.graph:make',
}


class Modality(NamedTuple):
  """Functions on samples: images uint8 [H, W, C], strings, dicts of arrays.

  unit                         the name of one sample
  element                      the name of one of its elements, in reports
  shown, filmed                samples in a strip, in a film
  suffix                       of the file of one sample
  endings                      of a file of all; the first is for looking
  split(drawn) -> samples      the samples in what a sampler returns
  save(sample, path)           writes one sample
  read(path) -> sample         reads it
  gather(samples, names, path) writes all into one file; sample i has the name
                               i modulo M, where there are names
  strip(path, stem) -> file    draws the way from noise to data, from a sampler
                               with `trajectory`; the ending is the modality's
  frames(path, num) -> images  draws it as a film of up to `num` pictures, uint8
                               [H, W, C], all of one size
  """

  unit: str
  element: str
  suffix: str
  endings: tuple[str, ...]
  split: Callable[[Any], Sequence[Any]]
  save: Callable[[Any, Path], None]
  read: Callable[[Path], Any]
  gather: Callable[[Sequence[Any], Sequence[str], Path], None]
  strip: Callable[[Any, Path], Path]
  frames: Callable[[Any, int], Sequence[np.ndarray]]
  shown: int = 6
  filmed: int = 9


def make(spec: Spec) -> Modality:
  """Builds the modality of a data set.

  Raises:
    ValueError: an unknown modality.
  """
  return names.find(MODALITIES, spec.modality, 'modality')(spec)
