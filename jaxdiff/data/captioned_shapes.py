"""Captioned scenes of one or two coloured shapes, as a TFDS set.

Drawn by `scenes`, in seconds, with neither network nor TensorFlow; 16x16 and
32x32 (two configs) show the same scenes. Three scenes of four have two
objects. Splits:

  train  20,000 scenes without the held-out pairs of colour and shape: no
         blue circle, no yellow square, no purple triangle
  seen   2,000 further scenes drawn as those of train
  test   2,000 scenes with exactly one object of a held-out pair

So every colour, shape, size and relation occurs in train, each held-out
colour with two other shapes and each shape with five colours; what test asks
for is to put them together anew.
"""

import io
from collections.abc import Iterator

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from jaxdiff.data.scenes import (
  COLOURS,
  RELATIONS,
  SHAPES,
  SIZES,
  Object,
  Place,
  Scene,
  caption,
  draw,
)

HELD_OUT = (('blue', 'circle'), ('yellow', 'square'), ('purple', 'triangle'))
_SEEN = tuple(
  (colour, shape)
  for colour in COLOURS
  for shape in SHAPES
  if (colour, shape) not in HELD_OUT
)
NUM_SCENES = {'train': 20_000, 'seen': 2_000, 'test': 2_000}
# Numbers drawn for a scene, used or not: scene i needs no other.
_NUMBERS = 16
# Between two objects: at 16x16 a pixel and a half, so that one stays dark.
_GAP = 1.5 / 16


def scenes(split: str) -> Iterator[tuple[Scene, tuple[Place, ...]]]:
  """The scenes of a split, each with the places of its objects."""
  seed = list(NUM_SCENES).index(split)
  # Raw output: NumPy promises that it never changes.
  raw = np.random.PCG64(seed).random_raw(NUM_SCENES[split] * _NUMBERS)
  for numbers in (raw / 2.0**64).reshape(-1, _NUMBERS):
    # 53 bits are kept, so the largest may round up to 1.
    yield _scene(np.minimum(numbers, 1 - 2.0**-53), split == 'test')


def _scene(
  numbers: np.ndarray, held_out: bool
) -> tuple[Scene, tuple[Place, ...]]:
  """A scene from uniform numbers in [0, 1)."""
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


class CaptionedShapes(tfds.core.GeneratorBasedBuilder):
  """Builder of the set 'captioned_shapes': RGB images and captions."""

  VERSION = tfds.core.Version('1.0.0')
  BUILDER_CONFIGS = [
    tfds.core.BuilderConfig(name='32x32', description='32x32 pixels.'),
    tfds.core.BuilderConfig(name='16x16', description='16x16 pixels.'),
  ]

  def _info(self) -> tfds.core.DatasetInfo:
    return tfds.core.DatasetInfo(
      builder=self,
      description='Scenes of coloured shapes with exact captions.',
      features=tfds.features.FeaturesDict(
        {
          'image': tfds.features.Image(
            shape=(self._image_size, self._image_size, 3), encoding_format='png'
          ),
          'caption': tfds.features.Text(),
        }
      ),
      disable_shuffling=True,
    )

  @property
  def _image_size(self) -> int:
    return int(self.builder_config.name.partition('x')[0])

  def _split_generators(self, dl_manager) -> dict[str, Iterator]:
    del dl_manager  # Nothing is downloaded.
    return {split: self._generate_examples(split) for split in NUM_SCENES}

  def _generate_examples(self, split: str) -> Iterator[tuple[int, dict]]:
    for key, (scene, places) in enumerate(scenes(split)):
      png = io.BytesIO()
      image = draw(scene, places, self._image_size)
      Image.fromarray(image).save(png, 'PNG')
      yield key, {'image': png.getvalue(), 'caption': caption(scene)}
