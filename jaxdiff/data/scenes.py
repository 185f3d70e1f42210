"""Scenes of one or two coloured shapes: the words, the caption, the pixels.

A scene and its caption are the same thing written twice,

  caption = object | object relation object
  object  = a size colour shape,

so `parse(caption(scene)) == scene`, and every attribute is in the caption.
Lengths are fractions of the image's edge; x grows to the right, y downwards.
"""

from typing import NamedTuple

import numpy as np

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
# Edge of the square that the shape fills: at 16x16, 4.25 and 6.5 pixels.
SIZES = {'small': 0.265, 'large': 0.405}
# Where the first object is, seen from the second: (x, y).
RELATIONS = {
  'left of': (-1, 0),
  'right of': (1, 0),
  'above': (0, -1),
  'below': (0, 1),
}


class Object(NamedTuple):
  """What a caption says of one object."""

  size: str
  colour: str
  shape: str


class Scene(NamedTuple):
  """What a caption says: one object, or two and their relation."""

  objects: tuple[Object, ...]
  relation: str | None = None


class Place(NamedTuple):
  """Centre and edge of the square that an object fills."""

  x: float
  y: float
  edge: float


def caption(scene: Scene) -> str:
  """'a small red circle', 'a large red circle above a small blue square'."""
  words = [f'a {" ".join(thing)}' for thing in scene.objects]
  return f' {scene.relation} '.join(words)


def parse(text: str) -> Scene:
  """The scene that a caption tells of; inverse of `caption`.

  Raises:
    ValueError: If the text is not such a caption.
  """
  words = text.split()
  if len(words) < 4:
    raise ValueError(_not_a_caption(text))
  first, relation, second = words[:4], ' '.join(words[4:-4]), words[-4:]
  if len(words) == 4:
    relation, groups = None, [first]
  elif relation in RELATIONS:
    groups = [first, second]
  else:
    raise ValueError(_not_a_caption(text))
  for article, size, colour, shape in groups:
    known = size in SIZES and colour in COLOURS and shape in SHAPES
    if article != 'a' or not known:
      raise ValueError(_not_a_caption(text))
  return Scene(tuple(Object(*group[1:]) for group in groups), relation)


def coverage(
  shape: str,
  x: np.ndarray | float,
  y: np.ndarray | float,
  edge: np.ndarray | float,
  image_size: int,
) -> np.ndarray:
  """How much of each pixel a shape covers: clip(1/2 - distance, 0, 1).

  The distance to the outline is in pixels, negative inside. All shapes are as
  wide and as high as `edge`; triangles stand on their base.

  Args:
    shape: One of `SHAPES`.
    x: Centre [...], as a fraction of the image's edge.
    y: Centre [...].
    edge: Width and height [...].
    image_size: S.

  Returns:
    float64 [..., S, S] in [0, 1].
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
  """Draws a scene on black, antialiased.

  Args:
    scene: What to draw.
    places: Where each object is; they must not overlap.
    image_size: S.

  Returns:
    uint8 [S, S, 3].
  """
  image = np.zeros((image_size, image_size, 3))
  for thing, place in zip(scene.objects, places, strict=True):
    covered = coverage(thing.shape, *place, image_size)
    image += covered[..., None] * np.array(COLOURS[thing.colour])
  return np.round(image).astype(np.uint8)


def _not_a_caption(text: str) -> str:
  return (
    'a caption must read "a SIZE COLOUR SHAPE", or two of these with a '
    f'relation between, of {list(SIZES)}, {list(COLOURS)}, {list(SHAPES)} and '
    f'{list(RELATIONS)}; got {text!r}'
  )
