"""Datasets: subsets, captions that are cut, what a set says of itself."""

import numpy as np
import pytest

from jaxdiff import data, tokenizers
from jaxdiff.data import Dataset


def numbered(size, **fields):
  gather = lambda indices: {
    'x0': np.asarray(indices, np.float32)[:, None],
    'caption': np.array(['x' * (i % 10) for i in indices], object),
  }
  return Dataset('set', 'test', 'points', size, (1,), None, gather, **fields)


def chosen(dataset):
  return dataset.gather(np.arange(len(dataset)))['x0'][:, 0].astype(int)


@pytest.mark.parametrize(
  ('size', 'num'), [(7, 7), (10, 3), (1000, 999), (9, 1)]
)
def test_a_subset_is_fixed_and_evenly_spread(size, num):
  part = data.subset(numbered(size), num)
  indices = chosen(part)
  assert len(part) == num == len(set(indices.tolist()))
  np.testing.assert_array_equal(
    chosen(data.subset(numbered(size), num)), indices
  )
  bounds = np.arange(num + 1) * size // num
  assert (bounds[:-1] <= indices).all() and (indices < bounds[1:]).all()


def test_a_subset_of_a_sorted_or_periodic_set_has_its_classes():
  for labels in (np.arange(1000) // 100, np.arange(1000) % 10):
    counts = np.bincount(labels[chosen(data.subset(numbered(1000), 100))])
    # Ten of each: evenly where sorted, else within 5 standard deviations.
    assert len(counts) == 10 and abs(counts - 10).max() < 5 * 9**0.5
  # A large set needs no permutation.
  assert len(chosen(data.subset(numbered(10**12), 50))) == 50


@pytest.mark.parametrize('num', [0, -1, 11])
def test_a_subset_of_another_size_is_refused(num):
  with pytest.raises(ValueError, match=rf'in 1 .. 10, .*set test, got {num}'):
    data.subset(numbered(10), num)


@pytest.mark.parametrize(
  ('size', 'limit', 'right'), [(100, 200, 30), (7, 9, 0)]
)
def test_captions_that_are_cut_are_counted(size, limit, right):
  tokenizer = tokenizers.byte_tokenizer(8)  # start and end among them
  dataset = numbered(size, has_captions=True)
  found = data.count_cut(dataset, tokenizer.count, tokenizer.length, limit)
  assert found == (right, size, 8)
  found = data.count_cut(dataset, tokenizer.count, 8, limit=5)
  assert found.of == 5 and 0 <= found.num <= 5


def test_digests_are_of_what_the_set_says():
  digests = [
    dataset.digest()
    for dataset in (
      numbered(5),
      numbered(5, class_names=('a', 'b')),
      numbered(5, class_names=('b', 'a')),
      numbered(5, symbols=('a', 'b')),
      numbered(5, content=lambda: [('x', b'one'), ('x', b'two')]),
      numbered(5, content=lambda: [('x', b'onet'), ('x', b'wo')]),
      numbered(5, content=lambda: [('x', b'one'), ('y', b'two')]),
    )
  ]
  assert len(set(digests)) == len(digests)
  assert numbered(5).digest() == numbered(7, splits=('a',)).digest()


@pytest.mark.parametrize(
  ('name', 'said'),
  [
    ('digits', '1,497 images of 8x8x1, 10 classes; splits: train, test'),
    ('planar', '128 graphs of 64x64; splits: train, validation, test'),
    ('sums', '498,500 texts of 11; splits: train, test'),
    ('two_moons', '10,000 points of 2, 2 classes; splits: train, test'),
  ],
)
def test_summaries(name, said):
  dataset = data.load(name)
  assert dataset.summary() == f'{name} train: {said}'
  assert dataset.digest() == data.load(name, 'test').digest()
