"""Metrics of features: brute force, closed forms, known distributions."""

import numpy as np
import pytest
from measured import normal

from jaxdiff.evaluation import (
  class_score,
  clip_score,
  frechet,
  kernel,
  metrics,
  spaces,
)

SPACE = spaces.FeatureSpace('classifier', 'digits, seed 0', '0' * 64, 'none')
INCEPTION = spaces.FeatureSpace(
  spaces.INCEPTION, 'published', spaces.INCEPTION_SHA256, 'tf1'
)


def test_mmd_by_brute_force():
  x, y = normal(5, 3), normal(4, 3, 0.5, seed=1)
  k = lambda a, b: (float(a.astype(np.float64) @ b) / 3 + 1) ** 3
  pairs = lambda s: [
    k(a, b) for i, a in enumerate(s) for j, b in enumerate(s) if i != j
  ]
  between = np.mean([k(a, b) for a in x for b in y])
  expected = np.mean(pairs(x)) + np.mean(pairs(y)) - 2 * between
  np.testing.assert_allclose(kernel.mmd2(x, y), expected, rtol=1e-6)


def test_kernel_distance_and_its_error_over_many_sets():
  """Over 60 pairs of sets: no bias, and the error is what it says it is.

  One dimension, laws N(0, 1) and N(c, 1): E (xy + 1)^3 is the sum over j of
  binomial(3, j) E x^j E y^j, so MMD^2 = sum binomial(3, j) (m_j - m'_j)^2.
  """
  for shift, count in ((0.0, 60), (0.7, 60)):
    exact = 3 * shift**2 + 3 * shift**4 + (3 * shift + shift**3) ** 2
    found = [
      kernel.distance(
        normal(300, 1, seed=2 * i),
        normal(400, 1, shift, seed=2 * i + 1),
        subset_size=60,
        num_subsets=20,
      )
      for i in range(count)
    ]
    values = np.array([f.value for f in found])
    spread = values.std(ddof=1)
    assert abs(values.mean() - exact) < 3 * spread / np.sqrt(count)
    claimed = np.sqrt(np.mean([f.standard_error**2 for f in found]))
    # For equal laws the leading term vanishes, and the claim is too careful.
    assert 0.75 < claimed / spread < (1.4 if shift else 3)


def test_kernel_distances_error_is_that_of_overlapping_subsets(monkeypatch):
  values = iter([1.0, 2.0, 3.0])
  monkeypatch.setattr(kernel, 'mmd2', lambda *_: next(values))
  found = kernel.distance(normal(40), normal(50), subset_size=10, num_subsets=3)
  assert (found.value, found.std) == (2, 1)
  # A quarter of the smaller set is in a subset.
  assert found.standard_error == pytest.approx(np.sqrt(1 / 3 + 1 / 3))


def test_kernel_distance_settings():
  x, y = normal(40), normal(50, shift=1.0, seed=1)
  found = kernel.distance(x, y, subset_size=20, num_subsets=9, seed=3)
  again = kernel.distance(x, y, subset_size=20, num_subsets=9, seed=3)
  other = kernel.distance(x, y, subset_size=20, num_subsets=9, seed=4)
  assert found == again and found.value != other.value
  assert (found.subset_size, found.num_subsets) == (20, 9)
  assert found.standard_error > found.std / 3 > 0
  for options, message in (
    ({'subset_size': 21}, 'from 2 to 20'),
    ({'subset_size': 1}, 'from 2 to 20'),
    ({'subset_size': 9, 'num_subsets': 1}, 'at least 2'),
  ):
    with pytest.raises(ValueError, match=message):
      kernel.distance(x, y, **options)
  with pytest.raises(ValueError, match='4 and 3 dimensions'):
    kernel.distance(x, normal(50, 3), subset_size=9)


def test_class_score_of_known_answers():
  sure = 1000.0 * np.eye(5, dtype=np.float32)
  every = np.tile(sure, (8, 1))
  found = class_score.class_score(every, splits=1)
  np.testing.assert_allclose(found.value, 5)
  # Each split has one class only, in this order; shuffled it has nearly all.
  ordered = np.repeat(sure, 8, axis=0)
  in_order = class_score.class_score(ordered, splits=5, seed=None)
  np.testing.assert_allclose((in_order.value, in_order.std), (1, 0), atol=1e-9)
  shuffled = class_score.class_score(ordered, splits=5)
  assert 3 < shuffled.value < 5 and shuffled.std > 0
  unsure = np.full((12, 5), 7.0, np.float32)
  np.testing.assert_allclose(class_score.class_score(unsure).value, 1)
  # Two answers, p and 1 - p of two classes: log 2 less their entropy.
  p = 0.9
  logits = np.log([[p, 1 - p], [1 - p, p]])
  entropy = -p * np.log(p) - (1 - p) * np.log(1 - p)
  found = class_score.class_score(logits, splits=1)
  np.testing.assert_allclose(np.log(found.value), np.log(2) - entropy)
  with pytest.raises(ValueError, match='from 1 to 12'):
    class_score.class_score(unsure, splits=13)


def test_class_score_counts_every_image():
  """11 images in 3 splits of 3, 4, 4."""
  logits = normal(11, 4)
  found = class_score.class_score(logits, splits=3, seed=None)
  one = lambda x: class_score.class_score(x, splits=1).value
  parts = [one(logits[:3]), one(logits[3:7]), one(logits[7:])]
  np.testing.assert_allclose(found.value, np.mean(parts))
  np.testing.assert_allclose(found.std, np.std(parts))


def test_clip_score():
  """Held to 0 after the mean: a wrong pair counts against a right one."""
  a = np.array([[3.0, 0], [0, 2], [1, 1]], np.float32)
  b = np.array([[1.0, 0], [5, 0], [0, -1]], np.float32)
  cosines = 100 * np.array([1, 0, -np.sqrt(0.5)])
  value, error = clip_score.clip_score(a, b)
  np.testing.assert_allclose(value, cosines.mean(), rtol=1e-6)
  np.testing.assert_allclose(error, cosines.std(ddof=1) / np.sqrt(3))
  assert clip_score.clip_score(a, -b).value == 0
  with pytest.raises(ValueError, match='one text'):
    clip_score.clip_score(a, b[:2])
  with pytest.raises(ValueError, match='length 0'):
    clip_score.clip_score(a, 0 * b)


def sets():
  samples = {
    'pool': normal(60),
    'spatial': normal(60, 3),
    'logits': normal(60, 5, seed=3),
  }
  reference = {
    'pool': normal(70, shift=0.5, seed=1),
    'spatial': normal(70, 3, seed=2),
    'logits': normal(70, 5, seed=4),
  }
  return samples, reference


def test_only_published_weights_earn_the_established_names():
  samples, reference = sets()
  known = metrics.measure(INCEPTION, samples, reference).values
  assert {'FID', 'sFID', 'KID', 'IS'} < set(known)
  others = [
    SPACE,
    INCEPTION._replace(sha256='1' * 64, weights='random'),
    INCEPTION._replace(network='clip-vit-b-32', weights='openai'),
  ]
  for space in others:
    found = metrics.measure(space, samples, reference).values
    assert len(found) == len(known)
    for name in found:
      assert not {'FID', 'KID', 'IS'} & set(name.replace('sF', 'F').split())
      assert space.weights in name
    # Named otherwise, but the same numbers.
    for a, b in zip(found.values(), known.values(), strict=True):
      assert a == b


def test_what_is_measured_depends_on_what_is_there():
  samples, reference = sets()
  moments = {name: frechet.moments(x) for name, x in reference.items()}
  found, _ = metrics.measure(INCEPTION, samples, moments)
  assert sorted(found) == ['FID', 'IS', 'sFID']
  whole, warnings = metrics.measure(INCEPTION, samples, reference)
  assert warnings == []
  assert whole['FID'] == found['FID']
  # Half of the smaller set, where 1000 are too many.
  assert whole['KID']['subset_size'] == 30
  del moments['spatial']
  assert 'sFID' not in metrics.measure(INCEPTION, samples, moments).values
  with pytest.raises(ValueError, match="feature 'pool'"):
    metrics.measure(SPACE, {'pool': samples['pool']}, {'spatial': moments})
  del samples['logits']
  only, _ = metrics.measure(SPACE, samples, reference, feature='spatial')
  assert len(only) == 6 and all('/spatial' in name for name in only)


@pytest.mark.parametrize('num', [2, 3, 5, 6])
def test_of_few_images_what_can_be_computed_is(num):
  samples, reference = sets()
  few = {name: x[:num] for name, x in samples.items()}
  found, warnings = metrics.measure(SPACE, few, reference)
  kinds = {name.partition(' (')[0] for name in found}
  expected = {'FD', 'class score'}
  expected |= {'KD', 'precision', 'recall'} if num >= 4 else set()
  expected |= {'density', 'coverage'} if num >= 6 else set()
  assert kinds == expected
  assert len(warnings) == 2 * (num < 4) + (num < 6)
  assert all(f'examples, not {num}' in warning for warning in warnings)
  with pytest.raises(ValueError, match='at least 2 samples, got 1'):
    metrics.check_size(1, 'samples')
