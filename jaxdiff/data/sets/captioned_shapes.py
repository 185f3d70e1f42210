"""captioned_shapes: scenes of one or two coloured shapes, with exact captions.

A caption says all of its scene but the places:

  caption = object | object relation object
  object  = a size colour shape

Lengths are fractions of the image's side; x grows to the right, y downwards.
Images are RGB, and show the same scenes at 16x16 and 32x32. Three scenes of
four have two objects. Splits:

  train  20,000 scenes without the held-out pairs of colour and shape: no
         blue circle, no yellow square, no purple triangle
  seen   2,000 further scenes drawn as those of train
  test   2,000 scenes with exactly one object of a held-out pair

So every word occurs in train, and a model of test's captions must combine
them anew.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from jaxdiff.data.dataset import Dataset, check_split, in_memory

# The largest channel of each is 255: on black it is how much of a pixel an
# object covers, whatever the object's colour.
COLOURS = {
  'red': (255, 32, 32),
  'green': (32, 255, 64),
  'blue': (32, 80, 255),
  'yellow': (255, 224, 32),
  'purple': (208, 32, 255),
  'white': (255, 255, 255),
}
SHAPES = ('circle', 'square', 'triangle')
# Side of the square that the shape fills: at 16x16, 4.25 and 6.5 pixels.
SIZES = {'small': 0.265, 'large': 0.405}
# Direction from the second object to the first: (x, y).
RELATIONS = {
  'left of': (-1, 0),
  'right of': (1, 0),
  'above': (0, -1),
  'below': (0, 1),
}
HELD_OUT = (('blue', 'circle'), ('yellow', 'square'), ('purple', 'triangle'))
_SEEN = tuple(
  (colour, shape)
  for colour in COLOURS
  for shape in SHAPES
  if (colour, shape) not in HELD_OUT
)
NUM_SCENES = {'train': 20_000, 'seen': 2_000, 'test': 2_000}
# Random numbers of a scene, used or not, so that scene i depends on i alone.
_NUMBERS = 16
# Between two objects: at 16x16 a pixel and a half, so that one stays dark.
_GAP = 1.5 / 16


class Object(NamedTuple):
  """The words for one object."""

  size: str
  colour: str
  shape: str


class Scene(NamedTuple):
  """One object, or two and their relation."""

  objects: tuple[Object, ...]
  relation: str | None = None


class Place(NamedTuple):
  """Centre and side length of the square that an object fills."""

  x: float
  y: float
  edge: float


def load(split: str, image_size: int = 32) -> Dataset:
  """Draws the scenes of a split; `image_size` is 16 or 32."""
  check_split(split, NUM_SCENES)
  if image_size not in (16, 32):
    raise ValueError(
      f'captioned_shapes has images of size 16 and 32, got {image_size}'
    )
  drawn = list(scenes(split))
  x0 = np.stack([draw(scene, at, image_size) for scene, at in drawn])
  captions = np.array([caption(scene) for scene, _ in drawn], object)
  arrays, splits = {'x0': x0, 'caption': captions}, tuple(NUM_SCENES)
  return in_memory('captioned_shapes', split, 'image', arrays, splits=splits)


def scenes(split: str) -> Iterator[tuple[Scene, tuple[Place, ...]]]:
  """Yields the scenes of a split, each with the places of its objects."""
  seed = list(NUM_SCENES).index(split)
  # Raw output, see `shuffling`.
  raw = np.random.PCG64(seed).random_raw(NUM_SCENES[split] * _NUMBERS)
  for numbers in (raw / 2.0**64).reshape(-1, _NUMBERS):
    # 53 bits are kept, so the largest may round up to 1.
    yield _scene(np.minimum(numbers, 1 - 2.0**-53), split == 'test')


def _scene(
  numbers: np.ndarray, held_out: bool
) -> tuple[Scene, tuple[Place, ...]]:
  """Makes a scene of uniform numbers in [0, 1)."""
  u = iter(numbers.tolist())
  pick = lambda options: options[int(next(u) * len(options))]
  between = lambda low, high: low + next(u) * (high - low)

  two = next(u) < 0.75
  relation = pick(list(RELATIONS))
  novel = int(next(u) * (2 if two else 1)) if held_out else None
  objects, edges = [], []
  for i in range(2):
    size = pick(list(SIZES))
    colour, shape = pick(HELD_OUT if i == novel else _SEEN)
    objects.append(Object(size, colour, shape))
    edges.append(SIZES[size] * between(0.96, 1.04))
  if not two:
    (edge, _) = edges
    x, y = (between(edge / 2, 1 - edge / 2) for _ in range(2))
    return Scene((objects[0],)), (Place(x, y, edge),)

  # Along the relation's axis one object comes before the other.
  direction = RELATIONS[relation]
  order = (0, 1) if sum(direction) < 0 else (1, 0)
  before, after = (edges[i] for i in order)
  apart = (before + after) / 2 + _GAP
  start = between(before / 2, 1 - after / 2 - apart)
  end = between(start + apart, 1 - after / 2)
  # Across it they differ by at most half as much: the relation is clear.
  reach = (end - start) / 2
  across = between(before / 2, 1 - before / 2)
  other = between(
    max(after / 2, across - reach), min(1 - after / 2, across + reach)
  )
  along = [(start, across, before), (end, other, after)]
  places = [
    Place(a, c, edge) if direction[0] else Place(c, a, edge)
    for a, c, edge in along
  ]
  return Scene(tuple(objects), relation), tuple(places[i] for i in order)


def caption(scene: Scene) -> str:
  """Writes a caption, as 'a small red circle above a large blue square'."""
  words = [f'a {" ".join(thing)}' for thing in scene.objects]
  return f' {scene.relation} '.join(words)


def coverage(
  shape: str,
  x: np.ndarray | float,
  y: np.ndarray | float,
  edge: np.ndarray | float,
  image_size: int,
) -> np.ndarray:
  """Computes the fraction of each pixel that a shape covers.

  It is clip(1/2 - distance to the outline, 0, 1), the distance in pixels and
  negative inside. Triangles stand on their base.

  Args:
    shape: One of `SHAPES`.
    x: Centre [...], as a fraction of the image's side.
    y: Centre [...].
    edge: Width and height [...].
    image_size: S.

  Returns:
    float64 [..., S, S].
  """
  at = np.arange(image_size) + 0.5
  dx = at - image_size * np.asarray(x)[..., None, None]
  dy = at[:, None] - image_size * np.asarray(y)[..., None, None]
  half = image_size / 2 * np.asarray(edge)[..., None, None]
  if shape == 'circle':
    distance = np.hypot(dx, dy) - half
  elif shape == 'square':
    distance = np.maximum(np.abs(dx), np.abs(dy)) - half
  elif shape == 'triangle':
    side = (2 * np.abs(dx) - dy - half) / np.sqrt(5)
    distance = np.maximum(side, dy - half)
  else:
    raise ValueError(f'shape must be one of {list(SHAPES)}, got {shape!r}')
  return np.clip(0.5 - distance, 0, 1)


def draw(
  scene: Scene, places: tuple[Place, ...], image_size: int
) -> np.ndarray:
  """Draws a scene on black, antialiased: uint8 [S, S, 3].

  The objects must not overlap.
  """
  image = np.zeros((image_size, image_size, 3))
  for thing, place in zip(scene.objects, places, strict=True):
    covered = coverage(thing.shape, *place, image_size)
    image += covered[..., None] * np.array(COLOURS[thing.colour])
  return np.round(image).astype(np.uint8)
