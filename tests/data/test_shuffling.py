"""Permutations of small and of large sets."""

import numpy as np
import pytest

from jaxdiff.data import shuffling
from jaxdiff.data.shuffling import permutation, shuffled


@pytest.mark.parametrize('large', [False, True])
@pytest.mark.parametrize('size', [1, 2, 3, 64, 65, 1000])
def test_every_number_once_and_another_order_each_epoch(
  size, large, monkeypatch
):
  shuffling._order.cache_clear()
  if large:
    monkeypatch.setattr(shuffling, 'LARGE', 0)
  places = np.arange(size)
  orders = [shuffled(3, epoch, size, places) for epoch in range(2)]
  for order in orders:
    assert order.dtype == np.int64
    np.testing.assert_array_equal(np.sort(order), places)
  # A place has what it has, whatever else is asked for.
  last = shuffled(3, 0, size, places[-1:])
  np.testing.assert_array_equal(last, orders[0][-1:])
  if size > 10:
    assert (orders[0] != orders[1]).any()
    assert (shuffled(4, 0, size, places) != orders[0]).any()
  shuffling._order.cache_clear()


def test_large_sets_keep_no_order(monkeypatch):
  monkeypatch.setattr(shuffling, 'LARGE', 0)
  size = 5000
  order = shuffled(0, 0, size, np.arange(size))
  shuffling._order.cache_clear()
  # Ranks of neighbours, and of places and what stands there, are unrelated: a
  # correlation of n pairs has the standard deviation n^-1/2.
  bound = 5 / np.sqrt(size)
  assert abs(np.corrcoef(order[:-1], order[1:])[0, 1]) < bound
  assert abs(np.corrcoef(np.arange(size), order)[0, 1]) < bound
  steps = np.bincount(np.abs(np.diff(order)), minlength=size)
  assert steps.max() < 20


def test_a_large_set_is_not_sorted(monkeypatch):
  def never(*args):
    raise AssertionError('a permutation of 90 million was made')

  monkeypatch.setattr(shuffling, 'permutation', never)
  size = 90_000_000
  found = shuffled(0, 7, size, np.arange(1000))
  assert len(set(found.tolist())) == 1000
  assert 0 <= found.min() and size * 0.99 < found.max() < size


def test_permutations_by_seed_and_by_stream():
  np.testing.assert_array_equal(permutation(5, 0), [3, 2, 1, 0, 4])
  bits = np.random.PCG64(0)
  first, second = permutation(5, bits), permutation(5, bits)
  np.testing.assert_array_equal(first, permutation(5, 0))
  assert (first != second).any()
