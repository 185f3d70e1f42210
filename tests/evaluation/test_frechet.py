import numpy as np
import pytest

from jaxdiff.evaluation import frechet
from jaxdiff.evaluation.frechet import Moments

DIM = 16


def basis(rng, dim=DIM):
  return np.linalg.qr(rng.normal(size=(dim, dim)))[0]


def random_moments(rng, dim=DIM):
  vectors = basis(rng, dim)
  return Moments(
    rng.normal(size=dim), (vectors * rng.uniform(0.1, 3, dim)) @ vectors.T, 100
  )


def test_covariances_that_commute():
  """tr (S1 S2)^1/2 is then the sum of the roots of the products."""
  rng = np.random.default_rng(0)
  vectors = basis(rng)
  a, b = rng.uniform(0.01, 5, (2, DIM))
  means = rng.normal(size=(2, DIM))
  expected = np.sum((means[0] - means[1]) ** 2)
  expected += np.sum((np.sqrt(a) - np.sqrt(b)) ** 2)
  of = lambda mean, values: Moments(mean, (vectors * values) @ vectors.T, 9)
  found = frechet.distance(of(means[0], a), of(means[1], b))
  assert abs(found - expected) < 1e-8


def test_any_two_covariances_in_two_dimensions():
  """(tr M^1/2)^2 = tr M + 2 det M^1/2 for 2x2 matrices M."""
  rng = np.random.default_rng(0)
  for _ in range(5):
    a, b = random_moments(rng, 2), random_moments(rng, 2)
    product = a.cov @ b.cov
    cross = np.sqrt(np.trace(product) + 2 * np.sqrt(np.linalg.det(product)))
    expected = np.trace(a.cov) + np.trace(b.cov) - 2 * cross
    expected += np.sum((a.mean - b.mean) ** 2)
    assert abs(frechet.distance(a, b) - expected) < 1e-8


def test_it_is_a_distance():
  rng = np.random.default_rng(0)
  a, b, c = (random_moments(rng) for _ in range(3))
  root = lambda x, y: np.sqrt(frechet.distance(x, y))
  assert abs(frechet.distance(a, a)) < 1e-8
  assert abs(root(a, b) - root(b, a)) < 1e-8
  assert root(a, c) < root(a, b) + root(b, c)
  turn, shift = basis(rng), rng.normal(size=DIM)
  moved = [Moments(turn @ m + shift, turn @ s @ turn.T) for m, s, _ in (a, b)]
  assert abs(frechet.distance(*moved) - frechet.distance(a, b)) < 1e-8


def test_fewer_examples_than_dimensions():
  """With S = X X^T / (n - 1) the trace is the nuclear norm of X1^T X2."""
  rng = np.random.default_rng(0)
  x = rng.normal(size=(30, 200)).astype(np.float32)
  y = (0.5 * rng.normal(size=(50, 200)) + 0.3).astype(np.float32)
  a, b = frechet.moments(x), frechet.moments(y)
  half = lambda x: (x - x.mean(axis=0)) / np.sqrt(len(x) - 1)
  root_a, root_b = half(x.astype(np.float64)), half(y.astype(np.float64))
  cross = np.linalg.svd(root_a @ root_b.T, compute_uv=False).sum()
  expected = np.sum(root_a**2) + np.sum(root_b**2) - 2 * cross
  expected += np.sum((a.mean - b.mean) ** 2)
  assert abs(frechet.distance(a, b) - expected) < 1e-4
  assert abs(frechet.distance(a, a)) < 1e-4


@pytest.mark.parametrize('num', [1, 2, 7, 9001])
def test_moments_of_any_number_of_examples(num):
  rng = np.random.default_rng(0)
  # Far from 0: sums of squares in float32 would leave nothing.
  x = (1000 + rng.normal(size=(num, 3))).astype(np.float32)
  mean, cov, count = frechet.moments(x)
  assert count == num
  exact = x.astype(np.float64)
  np.testing.assert_allclose(mean, exact.mean(axis=0), rtol=1e-14)
  expected = np.cov(exact.T) if num > 1 else np.zeros((3, 3))
  np.testing.assert_allclose(cov, expected, rtol=1e-9)


def test_moments_in_parts():
  rng = np.random.default_rng(0)
  x = (50 + rng.normal(size=(9000, 4))).astype(np.float32)
  whole = frechet.moments(x)
  # Nearly all come after the first 4096, and one part is a single example.
  cuts = [1, 4, 5000]
  parts = ({'x': part, 'y': part[:, :1]} for part in np.split(x, cuts))
  found = frechet.accumulate(parts)
  assert found['x'].num == found['y'].num == 9000
  np.testing.assert_allclose(found['x'].mean, whole.mean, rtol=1e-13)
  np.testing.assert_allclose(found['x'].cov, whole.cov, rtol=1e-9)
  np.testing.assert_allclose(found['y'].cov, whole.cov[:1, :1], rtol=1e-9)
  a, b = frechet.moments(x[:1]), frechet.moments(x[1:3])
  np.testing.assert_allclose(
    frechet.merge(a, b).cov, np.cov(x[:3].T.astype(np.float64)), rtol=1e-9
  )


def test_what_is_refused():
  rng = np.random.default_rng(0)
  a = random_moments(rng, 3)
  cases = [
    (random_moments(rng, 4), '3 and 4 dimensions'),
    (Moments(a.mean[:2], a.cov, 5), 'does not fit a covariance'),
    (frechet.moments(np.zeros((1, 3))), 'at least 2 examples'),
    (Moments(a.mean * np.nan, a.cov), 'not finite'),
  ]
  for b, message in cases:
    with pytest.raises(ValueError, match=message):
      frechet.distance(a, b)
  with pytest.raises(ValueError, match='unknown number'):
    frechet.merge(a, Moments(a.mean, a.cov))
  assert frechet.accumulate([]) == {}
  with pytest.raises(ValueError, match='no features'):
    frechet.moments(np.zeros((0, 3)))
