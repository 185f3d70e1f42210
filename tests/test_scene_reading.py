"""Detector of captioned_shapes objects and its scores, on drawn scenes."""

import itertools

import numpy as np
import pytest

from benchmarks import scene_scores as scenes
from benchmarks.scene_reading import read
from jaxdiff.data.sets.captioned_shapes import (
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
from jaxdiff.data.sets.captioned_shapes import scenes as split_scenes

RED = Object('large', 'red', 'square')
OPPOSITE = {
  'left of': 'right of',
  'right of': 'left of',
  'above': 'below',
  'below': 'above',
}
NUMBER = {16: 60, 32: 30}  # of scenes, by the size of their images


@pytest.fixture(scope='module', params=NUMBER)
def drawn(request):
  """The scenes of seen and test, and their images of one size."""
  taken = [
    one
    for split in ('seen', 'test')
    for one in itertools.islice(split_scenes(split), NUMBER[request.param])
  ]
  told = [scene for scene, _ in taken]
  return told, np.array([draw(*one, request.param) for one in taken])


def blurred(x):
  """Half of each pixel stays, half is spread as [1 2 1] / 4 in x and y."""
  padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), 'edge')
  rows = (padded[:, :-2] + 2 * padded[:, 1:-1] + padded[:, 2:]) / 4
  spread = (rows[:, :, :-2] + 2 * rows[:, :, 1:-1] + rows[:, :, 2:]) / 4
  return (x + spread) / 2


def centred(thing, image_size=16, x=0.5, y=0.5):
  return draw(Scene((thing,)), (Place(x, y, SIZES[thing.size]),), image_size)


@pytest.mark.parametrize('change', ['none', 'noise', 'blur', 'noise and blur'])
def test_real_scenes_are_read_right(drawn, change):
  told, images = drawn
  x0 = images / 127.5 - 1
  if 'blur' in change:
    x0 = blurred(x0)
  if 'noise' in change:
    x0 = x0 + np.random.default_rng(0).normal(0, 0.05, x0.shape)
  if change == 'none':
    x0 = images
  scores = scenes.score(x0, [caption(scene) for scene in told])
  assert min(scenes.accuracy(scores).values()) >= 0.99
  two = sum(len(scene.objects) == 2 for scene in told)
  total = {name: score.total.sum() for name, score in scores.items()}
  assert total['colour'] == total['shape'] == total['size'] == len(told) + two
  assert total['relation'] == two
  assert total['number'] == total['caption'] == len(told)


@pytest.mark.parametrize('name', Object._fields)
def test_one_wrong_word_is_noticed(drawn, name):
  told, images = drawn
  options = {'size': SIZES, 'colour': COLOURS, 'shape': SHAPES}[name]
  wrong = []
  for i, scene in enumerate(told):
    first, *rest = scene.objects
    others = [word for word in options if word != getattr(first, name)]
    first = first._replace(**{name: others[i % len(others)]})
    wrong.append(caption(scene._replace(objects=(first, *rest))))
  scores = scenes.score(images, wrong)
  assert not scores['caption'].right.any()
  one = scores['number'].right == 1
  assert (scores[name].right < scores[name].total).all() and one.all()
  single = scores['relation'].total == 0
  for other in set(Object._fields) - {name}:
    right, total = scores[other]
    assert (right == total)[single].all() and single.sum() > 10


def test_relations_are_of_one_direction(drawn):
  told, images = drawn
  pairs = [
    (scene, image)
    for scene, image in zip(told, images, strict=True)
    if scene.relation and scene.objects[0] != scene.objects[1]
  ]
  images = np.array([image for _, image in pairs])
  for relation in RELATIONS:
    captions = [
      caption(scene._replace(relation=relation)) for scene, _ in pairs
    ]
    scores = scenes.score(images, captions)
    holds = np.array([scene.relation == relation for scene, _ in pairs])
    assert scenes.accuracy(scores)['colour'] == 1
    np.testing.assert_array_equal(scores['relation'].right, holds)
    np.testing.assert_array_equal(scores['caption'].right, holds)
  # The same said from the other object's point of view.
  turned = [
    caption(Scene(scene.objects[::-1], OPPOSITE[scene.relation]))
    for scene, _ in pairs
  ]
  assert scenes.accuracy(scenes.score(images, turned))['caption'] == 1


def test_captions_of_other_images_are_refused(drawn):
  told, images = drawn
  captions = [caption(scene) for scene in told]
  others = captions[1:] + captions[:1]
  differ = np.array([a != b for a, b in zip(captions, others, strict=True)])
  scores = scenes.score(images, others)
  assert scores['caption'].right[differ].mean() < 0.05
  # By chance about a sixth of the colours agree; the better pairing counts.
  assert scenes.accuracy(scores)['colour'] < 0.4


@pytest.mark.parametrize('image_size', [16, 32])
def test_places_are_found(image_size):
  rng = np.random.default_rng(1)
  for words in itertools.product(SIZES, ['white'], SHAPES):
    thing = Object(*words)
    edge = SIZES[thing.size]
    x, y = rng.uniform(edge / 2, 1 - edge / 2, size=2)
    (found,) = read(centred(thing, image_size, x, y)[None])[0]
    assert found[:3] == thing
    # Half a pixel.
    assert np.hypot(found.x - x, found.y - y) < 0.5 / image_size


def test_empty_image():
  black = np.zeros((2, 16, 16, 3), np.uint8)
  assert read(black) == [[], []]
  told = [caption(Scene((RED,))), caption(Scene((RED, RED), 'above'))]
  for score in scenes.score(black, told).values():
    assert not score.right.any()
  nothing = scenes.accuracy(scenes.score(black[:0], []))
  assert all(np.isnan(value) for value in nothing.values())


def test_one_object_too_many():
  image = centred(RED, x=0.25, y=0.25) + centred(RED, x=0.75, y=0.75)
  scores = scenes.score(image[None], [caption(Scene((RED,)))])
  wrong = {name for name, score in scores.items() if not score.right.all()}
  assert wrong - {'relation'} == {'number', 'caption'}


def test_one_object_too_few():
  scores = scenes.score(
    centred(RED)[None], [caption(Scene((RED, RED), 'above'))]
  )
  right = {name: score.right.tolist() for name, score in scores.items()}
  assert right['colour'] == right['size'] == right['shape'] == [1]
  assert right['number'] == right['relation'] == right['caption'] == [0]


def test_dirt_is_no_object():
  image = centred(RED, 32, 0.3, 0.3)
  image[28:30, 28:30] = 255
  assert len(read(image[None])[0]) == 1
  image[24:30, 24:30] = 255
  assert len(read(image[None])[0]) == 2


@pytest.mark.parametrize('image_size', [16, 32])
def test_what_is_no_shape_has_none(image_size):
  upside_down = centred(Object('large', 'red', 'triangle'), image_size)[::-1]
  ring = centred(Object('large', 'red', 'circle'), image_size).copy()
  middle = slice(image_size * 7 // 16, image_size * 9 // 16)
  ring[middle, middle] = 0
  everything = np.full_like(ring, 255)
  for image in (upside_down, ring, everything):
    (found,) = read(image[None])[0]
    assert found.shape is None and found.size is None


def test_what_is_of_no_colour_has_none():
  white = centred(Object('large', 'white', 'square'))
  orange = white * np.array([255, 128, 0]) // 255
  striped = white.copy()
  striped[:, :8, 0] = striped[:, 8:, 2] = 0
  # Mostly yellow, and so on the average.
  edged = np.where(np.arange(16)[:, None] < 7, [255, 32, 32], COLOURS['yellow'])
  edged = white * edged // 255
  for image in (orange, striped, edged):
    (found,) = read(image.astype(np.uint8)[None])[0]
    assert found.colour is None and found.shape == 'square'


def test_images_and_captions_that_do_not_fit():
  images = np.zeros((2, 16, 16, 3), np.uint8)
  with pytest.raises(ValueError, match='needs a caption, got 2 and 1'):
    scenes.score(images, ['a small red circle'])
  with pytest.raises(ValueError, match="got 'a red circle'"):
    scenes.score(images, ['a red circle'] * 2)
  with pytest.raises(ValueError, match=r'\[N, S, S, 3\], got \(2, 16, 16\)'):
    read(images[..., 0])
  with pytest.raises(ValueError, match='uint8 or float, got int64'):
    read(images.astype(np.int64))
