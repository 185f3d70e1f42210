"""NPZ files of images: read as they were written, or refused."""

import numpy as np
import pytest

from jaxdiff import data
from jaxdiff.data.sets import npz


@pytest.fixture
def path(tmp_path):
  return tmp_path / 'x.npz'


def load(path):
  return data.load(f'npz:{path}')


def test_images_are_those_written(path):
  x = np.random.default_rng(0).integers(0, 256, (5, 4, 3, 1), np.uint8)
  np.savez_compressed(path, arr_0=x)
  dataset = load(path)
  assert len(dataset) == 5 and dataset.shape == (4, 3, 1)
  np.testing.assert_array_equal(
    dataset.gather(np.array([3, 0]))['x0'], x[[3, 0]]
  )


@pytest.mark.parametrize(
  ('x', 'message'),
  [
    (np.zeros((2, 4, 4, 3), np.float32), r'uint8 .*got float32 \[2, 4, 4, 3\]'),
    (np.zeros((2, 4, 4), np.uint8), r'got uint8 \[2, 4, 4\]'),
    (np.zeros((0, 4, 4, 3), np.uint8), r'got uint8 \[0, 4, 4, 3\]'),
    (np.array([{}], object), 'cannot be read as images'),
  ],
)
def test_arrays_that_are_no_images(path, x, message):
  np.savez(path, arr_0=x)
  with pytest.raises(ValueError, match=message):
    load(path)


@pytest.mark.parametrize('shape', [(0, 4, 1), (4, 0, 1), (4, 4, 0), (4, 4, 5)])
def test_images_that_cannot_be_drawn(path, shape):
  np.savez(path, arr_0=np.zeros((2, *shape), np.uint8))
  with pytest.raises(ValueError, match=r'C from 1 to 4, and .*x\.npz. has \['):
    load(path)


def test_labels_are_those_written(path):
  np.savez(path, np.zeros((3, 4, 4, 3), np.uint8), np.array([2, 0, 4]))
  dataset = load(path)
  assert dataset.num_classes == 5
  labels = dataset.gather(np.array([2, 0]))['label']
  assert labels.dtype == np.int32 and labels.tolist() == [4, 2]


@pytest.mark.parametrize(
  'labels', [np.ones(3), [1, 2], [[1], [2], [3]], [-1, 0, 1], [0, 1, 2**40]]
)
def test_an_arr_1_that_is_no_labels_is_refused(path, labels):
  np.savez(path, np.zeros((3, 4, 4, 3), np.uint8), np.array(labels))
  with pytest.raises(ValueError, match=r'arr_1 must be 3 labels.*x\.npz'):
    load(path)


def test_another_name_is_refused(path):
  np.savez(path, images=np.zeros((2, 4, 4, 3), np.uint8))
  with pytest.raises(ValueError, match='cannot be read as images under arr_0'):
    load(path)


def test_a_file_that_unpacks_to_far_more_is_refused(path, monkeypatch):
  np.savez_compressed(path, arr_0=np.zeros((9, 90, 90, 3), np.uint8))
  assert len(load(path)) == 9
  monkeypatch.setattr(npz, 'MAX_BYTES', 1000)
  with pytest.raises(ValueError, match='unpacks to 218828 bytes'):
    load(path)


def test_a_damaged_file_is_refused(path):
  x = np.random.default_rng(0).integers(0, 256, (9, 8, 8, 3), np.uint8)
  np.savez_compressed(path, arr_0=x)
  whole = path.read_bytes()
  # Cut, and with bytes of the compressed data changed: two different errors.
  for content in (whole[:-40], whole[:60] + bytes(40) + whole[100:], b''):
    path.write_bytes(content)
    with pytest.raises(ValueError, match='cannot be read as images'):
      load(path)
