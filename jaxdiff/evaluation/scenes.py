"""Does an image show what its caption says? For `captioned_shapes`.

`read` finds the objects on an image, each with the words that a caption would
have for it; here they are compared with the caption's own.
"""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jaxdiff.data.sets.captioned_shapes import RELATIONS, Object, parse
from jaxdiff.evaluation.scene_reading import Found, read

ATTRIBUTES = Object._fields


class Score(NamedTuple):
  """How much of what captions say images show.

  Attributes:
    right: int [N], how many of them the image shows.
    asked: int [N], how many the caption tells: one a object of colours,
      shapes and sizes; one of relations if it has two objects, else none.
  """

  right: np.ndarray
  asked: np.ndarray


def score(images: np.ndarray, captions: Sequence[str]) -> dict[str, Score]:
  """Compares images with captions, attribute by attribute.

  The objects found are told apart by what they look like: they are paired
  with the caption's so that most attributes agree, and of equally good
  pairings so that the relation holds. An object that is not there has every
  attribute wrong.

  Args:
    images: [N, S, S, 3], uint8 or float in [-1, 1].
    captions: N captions.

  Returns:
    'colour', 'shape', 'size', 'relation', 'number' (of objects) and 'caption'
    (all of these), to scores.

  Raises:
    ValueError: If the shapes do not fit, or a caption is none.
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
  """The share that is right of all that is asked; nan if nothing is."""
  return {
    name: float(right.sum() / asked.sum()) if asked.sum() else float('nan')
    for name, (right, asked) in scores.items()
  }


def _score_one(found: list[Found], caption: str) -> list[tuple[int, int]]:
  """(right, asked) of every name of `score`, of one image."""
  scene = parse(caption)
  told = len(scene.objects)
  # Pairings may leave objects of the caption out where too few are found.
  missing = [None] * max(0, told - len(found))
  options = [
    _agreement(pairing, scene.objects, scene.relation)
    for pairing in itertools.permutations([*found, *missing], told)
  ]
  *attributes, relation = max(
    options, key=lambda right: (sum(right[:-1]), right[-1])
  )
  number = int(len(found) == told)
  asked = [told] * len(ATTRIBUTES) + [int(told == 2), 1]
  right = [*attributes, relation, number]
  return [*zip(right, asked, strict=True), (int(right == asked), 1)]


def _agreement(
  pairing: Sequence[Found | None],
  objects: Sequence[Object],
  relation: str | None,
) -> list[int]:
  """How many sizes, colours, shapes and relations are as told."""
  attributes = [
    sum(
      seen is not None and getattr(seen, name) == getattr(told, name)
      for seen, told in zip(pairing, objects, strict=True)
    )
    for name in ATTRIBUTES
  ]
  holds = (
    relation is not None and None not in pairing and _holds(relation, *pairing)
  )
  return [*attributes, int(holds)]


def _holds(relation: str, first: Found, second: Found) -> bool:
  """Whether the objects are farthest apart in the relation's direction."""
  x, y = RELATIONS[relation]
  dx, dy = first.x - second.x, first.y - second.y
  along, across = x * dx + y * dy, y * dx + x * dy
  return along > abs(across)
