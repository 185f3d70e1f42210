"""Accuracy of `captioned_shapes` images: detected objects against captions."""

import itertools
import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from benchmarks.scene_reading import Found, read
from jaxdiff.data.sets.captioned_shapes import (
  COLOURS,
  RELATIONS,
  SHAPES,
  SIZES,
  Object,
  Scene,
)

ATTRIBUTES = Object._fields
_OBJECT = 'a ' + ' '.join(f'({"|".join(x)})' for x in (SIZES, COLOURS, SHAPES))
_CAPTION = re.compile(f'{_OBJECT}(?: ({"|".join(RELATIONS)}) {_OBJECT})?')


class Score(NamedTuple):
  """Correct and total counts of one attribute.

  Attributes:
    right: int [N], correct ones of each image.
    total: int [N], those of the caption: one an object for colour, shape and
      size; for the relation one if there are two objects, else none.
  """

  right: np.ndarray
  total: np.ndarray


def parse(text: str) -> Scene:
  """Parses a caption; the inverse of `captioned_shapes.caption`.

  Raises:
    ValueError: The text is not such a caption.
  """
  found = _CAPTION.fullmatch(' '.join(text.split()))
  if not found:
    raise ValueError(
      'a caption must read "a SIZE COLOUR SHAPE", or two of these with a '
      f'relation between, of {list(SIZES)}, {list(COLOURS)}, {list(SHAPES)} '
      f'and {list(RELATIONS)}; got {text!r}'
    )
  words = found.groups()
  second = (Object(*words[4:]),) if words[3] else ()
  return Scene((Object(*words[:3]), *second), words[3])


def score(images: np.ndarray, captions: Sequence[str]) -> dict[str, Score]:
  """Compares images with captions, attribute by attribute.

  Detected objects are paired with the caption's such that most attributes
  agree, and among equally good pairings such that the relation holds. A missing
  object has every attribute wrong.

  Args:
    images: [N, S, S, 3], uint8 or float in [-1, 1].
    captions: N captions.

  Returns:
    Scores of 'colour', 'shape', 'size', 'relation', 'number' (of objects) and
    'caption' (all of these).

  Raises:
    ValueError: Shapes that do not fit, or an invalid caption.
  """
  if len(images) != len(captions):
    raise ValueError(
      f'every image needs a caption, got {len(images)} and {len(captions)}'
    )
  rows = [
    _score_one(found, caption)
    for found, caption in zip(read(images), captions, strict=True)
  ]
  names = (*ATTRIBUTES, 'relation', 'number', 'caption')
  columns = np.array(rows, np.int64).reshape(-1, len(names), 2)
  return {name: Score(*columns[:, i].T) for i, name in enumerate(names)}


def accuracy(scores: dict[str, Score]) -> dict[str, float]:
  """Returns the fraction that is correct; nan of none."""
  return {
    name: float(right.sum() / total.sum()) if total.sum() else float('nan')
    for name, (right, total) in scores.items()
  }


def _score_one(found: list[Found], caption: str) -> list[tuple[int, int]]:
  """Returns (right, total) of every name of `score`, for one image."""
  scene = parse(caption)
  num = len(scene.objects)
  # Pairings may leave objects of the caption out where too few are found.
  missing = [None] * max(0, num - len(found))
  options = [
    _agreement(pairing, scene.objects, scene.relation)
    for pairing in itertools.permutations([*found, *missing], num)
  ]
  *attributes, relation = max(
    options, key=lambda right: (sum(right[:-1]), right[-1])
  )
  number = int(len(found) == num)
  total = [num] * len(ATTRIBUTES) + [int(num == 2), 1]
  right = [*attributes, relation, number]
  return [*zip(right, total, strict=True), (int(right == total), 1)]


def _agreement(
  pairing: Sequence[Found | None],
  objects: Sequence[Object],
  relation: str | None,
) -> list[int]:
  """Counts the sizes, colours, shapes and relations that agree."""
  attributes = [
    sum(
      one is not None and getattr(one, name) == getattr(wanted, name)
      for one, wanted in zip(pairing, objects, strict=True)
    )
    for name in ATTRIBUTES
  ]
  holds = (
    relation is not None and None not in pairing and _holds(relation, *pairing)
  )
  return [*attributes, int(holds)]


def _holds(relation: str, first: Found, second: Found) -> bool:
  """Returns whether the relation's axis is the one they differ most in."""
  x, y = RELATIONS[relation]
  dx, dy = first.x - second.x, first.y - second.y
  along, across = x * dx + y * dy, y * dx + x * dy
  return along > abs(across)
