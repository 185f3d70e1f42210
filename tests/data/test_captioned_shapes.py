"""captioned_shapes: what is drawn is what is said, and what is held out."""

import itertools

import numpy as np
import pytest

from benchmarks.scene_scores import parse
from jaxdiff import data, tokenizers
from jaxdiff.data.sets import captioned_shapes
from jaxdiff.data.sets.captioned_shapes import (
  COLOURS,
  HELD_OUT,
  RELATIONS,
  SHAPES,
  SIZES,
  Object,
  Place,
  Scene,
  caption,
  coverage,
  draw,
  scenes,
)


@pytest.fixture(scope='module')
def splits():
  return {split: list(scenes(split)) for split in ('train', 'seen', 'test')}


@pytest.fixture
def few(monkeypatch):
  """Makes the splits small."""
  sizes = {'train': 40, 'seen': 10, 'test': 10}
  monkeypatch.setattr(captioned_shapes, 'NUM_SCENES', sizes)


def objects(split):
  return [thing for scene, _ in split for thing in scene.objects]


def is_held_out(thing):
  return (thing.colour, thing.shape) in HELD_OUT


def test_parse_inverts_caption():
  things = [Object(*w) for w in itertools.product(SIZES, COLOURS, SHAPES)]
  for scene in [
    *(Scene((thing,)) for thing in things),
    *(Scene((a, b), r) for a in things for b in things[::5] for r in RELATIONS),
  ]:
    assert parse(caption(scene)) == scene
  assert caption(Scene((Object('small', 'red', 'circle'),) * 2, 'left of')) == (
    'a small red circle left of a small red circle'
  )


@pytest.mark.parametrize(
  'words',
  [
    '',
    'a red circle',
    'a small pink circle',
    'small a red circle',
    'a small red circle a large blue square',
    'a small red circle beside a large blue square',
    'a small red circle left of a large blue',
    'an small red circle',
  ],
)
def test_parse_refuses(words):
  with pytest.raises(ValueError, match='a caption must read'):
    parse(words)


def test_splits_hold_out_what_they_say(splits):
  assert not any(map(is_held_out, objects(splits['train'])))
  assert not any(map(is_held_out, objects(splits['seen'])))
  for scene, _ in splits['test']:
    assert sum(map(is_held_out, scene.objects)) == 1
  # Each held-out pair, in either place of the caption.
  for place in (0, -1):
    pairs = {tuple(scene.objects[place][1:]) for scene, _ in splits['test']}
    assert set(HELD_OUT) <= pairs


def test_train_has_every_other_combination_evenly(splits):
  things = objects(splits['train'])
  words = set(itertools.product(SIZES, COLOURS, SHAPES))
  kinds = {w for w in words if w[1:] not in HELD_OUT}
  counts = [things.count(Object(*kind)) for kind in sorted(kinds)]
  assert len(counts) == 30 and len(things) == sum(counts)
  # 1/30 each, within 5 standard deviations.
  assert abs(np.array(counts) - len(things) / 30).max() < 5 * np.sqrt(
    len(things) / 30
  )
  relations = [scene.relation for scene, _ in splits['train']]
  for relation, share in [(None, 1 / 4), *((r, 3 / 16) for r in RELATIONS)]:
    deviation = np.sqrt(share * (1 - share) / len(relations))
    assert abs(relations.count(relation) / len(relations) - share) < (
      5 * deviation
    )


def test_splits_share_no_scene(splits):
  seen = [places for split in splits.values() for _, places in split]
  assert len(set(seen)) == len(seen) == 24_000


def test_objects_are_inside_apart_and_placed_as_told(splits):
  for scene, places in splits['train'] + splits['test']:
    assert len(places) == len(scene.objects)
    for place, thing in zip(places, scene.objects, strict=True):
      assert abs(place.edge / SIZES[thing.size] - 1) <= 0.041
      for centre in (place.x, place.y):
        assert place.edge / 2 - 1e-9 <= centre <= 1 - place.edge / 2 + 1e-9
    if scene.relation is None:
      continue
    first, second = places
    x, y = RELATIONS[scene.relation]
    along = x * (first.x - second.x) + y * (first.y - second.y)
    across = abs(y * (first.x - second.x) + x * (first.y - second.y))
    gap = along - (first.edge + second.edge) / 2
    assert gap >= 1.5 / 16 - 1e-9 and across <= along / 2 + 1e-9


@pytest.mark.parametrize('image_size', [16, 32])
def test_coverage_is_area(image_size):
  areas = {'circle': np.pi / 4, 'square': 1, 'triangle': 1 / 2}
  rng = np.random.default_rng(0)
  for shape, area in areas.items():
    for edge in SIZES.values():
      x, y = rng.uniform(edge / 2, 1 - edge / 2, size=(2, 200))
      covered = coverage(shape, x, y, edge, image_size).sum(axis=(1, 2))
      wanted = area * (edge * image_size) ** 2
      # A corner counts as covered where both of its sides would be: of the
      # smallest triangle, of 9 pixels, that is a twentieth.
      np.testing.assert_allclose(covered.mean(), wanted, rtol=0.06)
      assert abs(covered / wanted - 1).max() < 0.12


@pytest.mark.parametrize('shape', SHAPES)
def test_coverage_moves_with_its_centre(shape):
  here = coverage(shape, 0.4, 0.45, 0.4, 16)
  there = coverage(shape, 0.4 + 2 / 16, 0.45 + 3 / 16, 0.4, 16)
  np.testing.assert_allclose(there[3:, 2:], here[:-3, :-2], atol=1e-9)
  # In the middle it is its own mirror image; a triangle's base is below.
  middle = coverage(shape, 0.5, 0.5, 0.4, 16)
  np.testing.assert_allclose(middle, middle[:, ::-1], atol=1e-9)
  below = middle[8:].sum() - middle[:8].sum()
  assert (below > 3) if shape == 'triangle' else (abs(below) < 1e-9)


def test_unknown_shape_is_refused():
  with pytest.raises(ValueError, match="circle.*got 'star'"):
    coverage('star', 0.5, 0.5, 0.4, 16)


def test_both_sizes_show_the_same(splits):
  for scene, places in splits['seen'][:200]:
    large = draw(scene, places, 32).astype(float)
    small = draw(scene, places, 16)
    halved = large.reshape(16, 2, 16, 2, 3).mean(axis=(1, 3))
    assert abs(halved - small).mean() < 2


def test_every_object_shows_its_colour(splits):
  for scene, places in splits['train'][:200]:
    pixels = draw(scene, places, 16).reshape(-1, 3).tolist()
    assert {*map(tuple, pixels)} >= {COLOURS[o.colour] for o in scene.objects}


def test_colours_are_far_apart():
  for a, b in itertools.combinations(COLOURS.values(), 2):
    assert np.linalg.norm(np.subtract(a, b)) > 0.7 * 255
  assert all(max(colour) == 255 for colour in COLOURS.values())


def test_the_set_is_its_scenes(few):
  drawn = list(scenes('train'))
  captions = [caption(scene) for scene, _ in drawn]
  for image_size in (16, 32):
    dataset = data.load('captioned_shapes', image_size=image_size)
    assert len(dataset) == 40 and dataset.has_captions
    assert dataset.shape == (image_size, image_size, 3)
    read = dataset.gather(np.arange(40))
    assert read['caption'].tolist() == captions
    for image, scene in zip(read['x0'], drawn, strict=True):
      np.testing.assert_array_equal(image, draw(*scene, image_size))
  default = data.load('captioned_shapes', 'test')
  assert default.shape == (32, 32, 3) and len(default) == 10


def test_a_batch_has_tokens_for_captions(few):
  dataset = data.load('captioned_shapes', image_size=16)
  tokenizer = tokenizers.byte_tokenizer(96)
  encode = lambda captions: {'tokens': tokenizer.encode(captions)}
  tokens = data.encoded(dataset, encode)
  assert not tokens.has_captions and dataset.has_captions
  read = tokens.gather(np.array([3, 0]))
  captions = dataset.gather(np.array([3, 0]))['caption']
  np.testing.assert_array_equal(read['tokens'], tokenizer.encode(captions))
  (batch,) = data.epoch(tokens, 40)
  assert batch['x0'].shape == (40, 16, 16, 3) and set(batch) == {'x0', 'cond'}
  assert set(batch['cond']) == {'tokens'}
  assert batch['cond']['tokens'].dtype == np.int32
  # Strings go to no device.
  (batch,) = data.epoch(dataset, 40)
  assert batch['cond'] == {}


def test_captions_fit_96_bytes(splits):
  count = tokenizers.byte_tokenizer(96).count
  for split in splits.values():
    assert max(count(caption(scene)) for scene, _ in split) <= 96


def test_what_is_not_there_is_refused():
  with pytest.raises(ValueError, match='16 and 32, got 24'):
    data.load('captioned_shapes', image_size=24)
  with pytest.raises(ValueError, match=r"'seen', 'test'\], got 'valid'"):
    data.load('captioned_shapes', 'valid')
  gather = lambda indices: {'x0': np.zeros((len(indices), 1, 1, 1), np.uint8)}
  bare = data.Dataset('bare', 'train', 'image', 4, (1, 1, 1), None, gather)
  with pytest.raises(ValueError, match='captions .*bare train has none'):
    data.encoded(bare, lambda captions: {'length': np.char.str_len(captions)})


def test_places_must_match_objects():
  scene = Scene((Object('small', 'red', 'circle'),))
  with pytest.raises(ValueError):
    draw(scene, (Place(0.5, 0.5, 0.3),) * 2, 16)
