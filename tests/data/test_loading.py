"""data.load: names inside and outside the library, splits and options."""

import sys

import numpy as np
import pytest

from jaxdiff.data import batches, load
from jaxdiff.data.sets import SETS

OUTSIDE = """
import numpy as np
from jaxdiff.data.dataset import in_memory


def spiral(split, length=3):
  x0 = np.linspace(0, 1, 8 * length, dtype=np.float32).reshape(8, length)
  return in_memory('spiral', split, 'points', {'x0': x0})
"""
POINTS = ('two_moons', 'swiss_roll', 'checkerboard')


@pytest.fixture
def outside(tmp_path, monkeypatch):
  """The name of a set in a module of another package."""
  (tmp_path / 'mylab').mkdir()
  (tmp_path / 'mylab/sets.py').write_text(OUTSIDE)
  monkeypatch.syspath_prepend(tmp_path)
  yield 'mylab.sets:spiral'
  for name in ('mylab.sets', 'mylab'):
    sys.modules.pop(name, None)


def test_a_set_outside_the_library(outside):
  data = load(outside)
  assert data.name == outside and data.shape == (3,)
  other = load(outside, length=5)
  assert other.shape == (5,) and data.identity == load(outside).identity
  assert other.identity['train split'] != data.identity['train split']
  (iterator,) = [batches(data, 4, seed=0)]
  batch = next(iterator)
  iterator.close()
  # Numbers are served as they are.
  assert batch['x0'].dtype == np.float32 and 0 <= batch['x0'].min()
  with pytest.raises(ValueError, match=r'takes --data.length, got --data.im'):
    load(outside, image_size=4)


@pytest.mark.parametrize('name', ['digits', 'sums', 'grid_small', *POINTS])
def test_splits_share_no_example(name):
  parts = [load(name, split) for split in ('train', 'test')]
  assert parts[0].shape == parts[1].shape
  leaf = lambda x: x['edges'] if isinstance(x, dict) else x
  rows = [leaf(p.gather(np.arange(len(p)))['x0']) for p in parts]
  train, test = ({row.tobytes() for row in part} for part in rows)
  assert train and test and not train & test
  with pytest.raises(ValueError, match=r"one of \['train', 'test'\], got 'va"):
    load(name, 'valid')


@pytest.mark.parametrize('name', POINTS)
def test_points(name):
  data = load(name)
  assert data.modality == 'points' and data.shape == (2,) and len(data) == 10000
  arrays = data.gather(np.arange(len(data)))
  x0 = arrays['x0']
  assert x0.dtype == np.float32 and np.abs(x0).max() < 2.5
  assert np.abs(x0.mean(0)).max() < 0.25 and (x0.std(0) > 0.4).all()
  np.testing.assert_array_equal(load(name).gather(np.arange(10))['x0'], x0[:10])
  if name == 'two_moons':
    centre = np.where(arrays['label'] == 0, -1, 1)[:, None] * [0.5, 0.25]
    radius = np.linalg.norm(x0 - centre, axis=-1)
    assert data.num_classes == 2 and abs(radius.mean() - 1.005) < 0.005
    assert abs(radius.std() - 0.1) < 0.005
  if name == 'checkerboard':
    square = np.floor(x0).astype(int).sum(1)
    assert (square % 2 == 0).all()
    _, counts = np.unique(np.floor(x0), axis=0, return_counts=True)
    assert len(counts) == 8 and abs(counts - 1250).max() < 5 * 1250**0.5


@pytest.mark.parametrize('size', [8, 4])
def test_digits_are_the_scans_of_scikit_learn(size):
  from sklearn.datasets import load_digits

  scans = load_digits()
  parts = [load('digits', s, image_size=size) for s in ('train', 'test')]
  assert [len(part) for part in parts] == [1497, 300]
  ours = [part.gather(np.arange(len(part))) for part in parts]
  for part, arrays in zip(parts, ours, strict=True):
    assert part.shape == (size, size, 1) and part.num_classes == 10
    assert np.bincount(arrays['label'], minlength=10).min() >= 20
  if size == 4:
    return
  # Levels 0..16 come back exactly, and every scan exactly once.
  rows = lambda labels, images: sorted(
    (int(label), np.round(image).astype(int).ravel().tolist())
    for label, image in zip(labels, images, strict=True)
  )
  found = sum((rows(x['label'], x['x0'] / 255 * 16) for x in ours), [])
  assert sorted(found) == rows(scans.target, scans.images)
  levels = {round(i * 255 / 16) for i in range(17)}
  assert set(ours[0]['x0'].ravel().tolist()) == levels


@pytest.mark.parametrize(
  ('name', 'options', 'message'),
  [
    ('mnist', {}, "one of .*'captioned_shapes', .*'tfds'.*got 'mnist'"),
    ('floder:a', {}, r"floder.*known names are \['captioned_shapes'"),
    ('nowhere.sets:f', {}, 'cannot be imported: No module'),
    ('folder', {}, "must be 'folder:PATH', got 'folder'"),
    ('tfds:', {}, "must be 'tfds:NAME', got 'tfds:'"),
    ('digits:8', {}, "must be 'digits', got 'digits:8'"),
    ('digits', {'length': 4}, 'takes --data.image-size, got --data.length'),
    ('digits', {'data_dir': 'd'}, 'got --data.data-dir'),
    ('digits', {'image_size': 0}, 'image_size must be at least 1, got 0'),
    ('sums', {'image_size': 4}, 'takes no options, got --data.image-size'),
    ('digits', {'downsampling': 'area'}, "'halved', got 'area'"),
    (
      'digits',
      {'image_size': 4, 'downsampling': 'halved'},
      'takes --data.image-size, got --data.downsampling',
    ),
    ('sums', {'length': 4}, 'takes no options, got --data.length'),
    ('planar', {'tokenizer': 't.json'}, 'got --data.tokenizer'),
    ('lines:a', {'cache_bytes': 1}, 'takes --data.length, got cache_bytes'),
    ('text:a.txt', {}, "'text:a.txt' needs --data.length"),
  ],
)
def test_refuses(name, options, message):
  with pytest.raises(ValueError, match=message):
    load(name, **options)


def test_every_name_has_a_loader():
  from jaxdiff import names

  for path in SETS.values():
    assert callable(names.resolve(path, 'data.name'))


@pytest.mark.parametrize(
  ('name', 'message'),
  [
    ('os.path:exists', 'must be a function of split .* got exists.path'),
    ('os.path:getcwd', 'cannot be imported.*known names are'),
    ('os:getcwd', 'must be a function of split'),
    ('os:sep', 'is no function of known parameters; the known names'),
    ('re:split', 'must be a function of split'),
    ('os:', 'cannot be imported'),
    (':', 'cannot be imported'),
  ],
)
def test_names_that_are_no_loaders(name, message):
  with pytest.raises(ValueError, match=message):
    load(name)


def test_a_loader_must_return_a_dataset(outside, monkeypatch):
  load(outside)
  monkeypatch.setattr('mylab.sets.spiral', lambda split: split)
  with pytest.raises(ValueError, match='must return a Dataset, got .train'):
    load(outside)
