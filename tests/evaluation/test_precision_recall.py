"""Precision, recall, density and coverage: brute force and known sets."""

import tracemalloc

import numpy as np
import pytest
from measured import normal

from jaxdiff.evaluation import (
  precision_recall,
)


def by_hand(samples, reference, k):
  """The definitions, ball by ball."""
  gap = lambda a, b: np.linalg.norm(a.astype(np.float64) - b)
  radius = lambda s: [
    sorted(gap(a, b) for j, b in enumerate(s) if j != i)[k - 1]
    for i, a in enumerate(s)
  ]
  r_x, r_y = radius(reference), radius(samples)
  apart = np.array([[gap(y, x) for x in reference] for y in samples])
  inside = apart <= r_x
  reach = np.array(
    [
      [gap(y, x) <= r for x in reference]
      for y, r in zip(samples, r_y, strict=True)
    ]
  )
  return (
    inside.any(axis=1).mean(),
    reach.any(axis=0).mean(),
    # Open balls; no example lies on a rim of another set's.
    (apart < r_x).sum() / (k * len(samples)),
    (apart < r_x).any(axis=0).mean(),
  )


@pytest.mark.parametrize('block', [1, 64, 2**22])
def test_balls_by_brute_force(monkeypatch, block):
  """The same whatever number of rows is worked on at a time."""
  monkeypatch.setattr(precision_recall, '_BLOCK', block)
  samples, reference = normal(23, 3), normal(31, 3, 1.0, seed=1)
  for k in (1, 3):
    ours = precision_recall.precision_recall(samples, reference, neighbours=k)
    more = precision_recall.density_coverage(samples, reference, neighbours=k)
    expected = by_hand(samples, reference, k)
    assert min(expected) > 0
    np.testing.assert_allclose((*ours, *more), expected)


def test_balls_around_equal_and_distant_sets():
  # Around a point far from 0, where float32 squares would lose distances.
  x = normal(60, 8) + 1000
  assert precision_recall.precision_recall(x, x.copy()) == (1, 1)
  # Each open ball holds its centre and k - 1 others, as in prdc.
  for k in (1, 5):
    found = precision_recall.density_coverage(x, x.copy(), neighbours=k)
    assert found == (1, 1)
  far = x + 100
  assert precision_recall.precision_recall(far, x) == (0, 0)
  assert precision_recall.density_coverage(far, x) == (0, 0)
  # One mode of two: all of it is real, and half of reality is covered.
  both = np.concatenate([x, far])
  precision, recall = precision_recall.precision_recall(x, both)
  assert precision == 1 and recall == 0.5
  # All samples the same: in many balls, but balls of radius 0.
  same = np.repeat(x[:1], 60, axis=0)
  precision, recall = precision_recall.precision_recall(same, x)
  assert precision == 1 and recall == 1 / 60


def test_rims_are_inside_of_closed_balls_and_outside_of_open_ones():
  # Balls of radius 1. Centred, all numbers are whole: distances are exact.
  reference = np.array([[0.0], [1.0], [3.0], [4.0]])
  samples = np.array([[-1.0], [2.0], [5.0], [9.0]])
  balls = precision_recall.precision_recall
  assert balls(samples, reference, neighbours=1).precision == 3 / 4
  # The other way round, about a mean that is whole too.
  even = np.array([[-1.0], [2.0], [5.0], [10.0]])
  assert balls(reference, even, neighbours=1).recall == 3 / 4
  found = precision_recall.density_coverage(samples, reference, neighbours=1)
  assert found == (0, 0)


def test_copies_are_at_distance_zero(monkeypatch):
  """Every sample four times: balls of radius 0 around one real image each.

  In blocks of one row products are summed in another order than in blocks of
  a few, and what should be 0 is not the same nothing everywhere.
  """
  monkeypatch.setattr(precision_recall, '_BLOCK', 300)
  x = 3 * normal(61, 67)
  copies = np.repeat(x, 4, axis=0)
  assert precision_recall.precision_recall(copies, x) == (1, 1)
  assert precision_recall.precision_recall(copies, x + 1e-3) == (1, 0)


def test_density_of_equal_distributions_is_one():
  densities = []
  for seed in range(8):
    x, y = normal(200, 3, seed=2 * seed), normal(200, 3, seed=2 * seed + 1)
    densities.append(precision_recall.density_coverage(x, y).density)
  assert abs(np.mean(densities) - 1) < 0.05


def test_an_outlier_deceives_precision_but_not_density():
  reference = normal(100, 2)
  reference[0] = 500
  samples = normal(50, 2, shift=100.0, seed=1)
  assert precision_recall.precision_recall(samples, reference).precision == 1
  assert precision_recall.density_coverage(samples, reference).density < 0.3


def test_no_matrix_of_all_pairs():
  num = 6000
  x, y = normal(num), normal(num, seed=1)
  tracemalloc.start()
  precision_recall.precision_recall(x, y)
  peak = tracemalloc.get_traced_memory()[1]
  tracemalloc.stop()
  assert peak < 8 * num**2 / 2


def test_balls_refuse():
  x = normal(5)
  for measure in (
    precision_recall.precision_recall,
    precision_recall.density_coverage,
  ):
    with pytest.raises(ValueError, match='from 1 to 4'):
      measure(x, normal(9), neighbours=5)
    with pytest.raises(ValueError, match='dimensions'):
      measure(x, normal(9, 3))
