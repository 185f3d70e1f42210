"""Precision, recall, density and coverage from k-nearest-neighbour balls.

The ball of an example reaches to its k-th nearest neighbour in its own set.
With X the reference and Y the samples,

  precision = fraction of Y in a ball of X      (samples that look real)
  recall    = fraction of X in a ball of Y      (data that is covered)
  density   = 1/(k |Y|) sum over Y of the number of balls of X it is in
  coverage  = fraction of the balls of X that hold some of Y

An outlier of X has a ball so large that precision accepts anything in it;
density and coverage are less sensitive to that. All four depend on the numbers
of examples and on k: compare only where these are the same.

The balls of precision and recall are closed, as in their paper; those of
density and coverage are open, as in the authors' program (prdc), so that
density(X, X) = 1. Only examples exactly on a rim differ.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from jaxdiff.evaluation.frechet import check_dimensions

_BLOCK = 2**22  # distances in memory at a time


class PrecisionRecall(NamedTuple):
  precision: float
  recall: float


class DensityCoverage(NamedTuple):
  density: float
  coverage: float


def precision_recall(
  samples: np.ndarray, reference: np.ndarray, *, neighbours: int = 3
) -> PrecisionRecall:
  """Computes precision and recall of samples [N, D], reference [M, D].

  Source: Kynkaanniemi et al. 2019 eq. 1, 2.
  """
  samples, reference = _centred(samples, reference, neighbours)
  reach = _radii(samples, neighbours)
  radii = _radii(reference, neighbours)
  real = np.zeros(len(samples), bool)
  covered = np.zeros(len(reference), bool)
  for rows, squared, _ in _blocks(samples, reference):
    real[rows] = (squared <= radii).any(axis=1)
    covered |= (squared <= reach[rows, None]).any(axis=0)
  return PrecisionRecall(float(real.mean()), float(covered.mean()))


def density_coverage(
  samples: np.ndarray, reference: np.ndarray, *, neighbours: int = 5
) -> DensityCoverage:
  """Computes density and coverage of samples [N, D], reference [M, D].

  Source: Naeem et al. 2020 eq. 3, 5, and their program.
  """
  samples, reference = _centred(samples, reference, neighbours)
  radii = _radii(reference, neighbours)
  total, covered = 0, np.zeros(len(reference), bool)
  for _, squared, rounding in _blocks(samples, reference):
    # A neighbour on the rim must not be inside by a rounding.
    inside = squared < radii - rounding
    total += int(inside.sum())
    covered |= inside.any(axis=0)
  density = total / (neighbours * len(samples))
  return DensityCoverage(density, float(covered.mean()))


def _centred(
  samples: np.ndarray, reference: np.ndarray, neighbours: int
) -> tuple[np.ndarray, np.ndarray]:
  """Centres both in float64, as distances are differences of squares.

  Raises:
    ValueError: Different dimensions, or a set of no more than k examples.
  """
  check_dimensions(samples, reference)
  smaller = min(len(samples), len(reference))
  if not 1 <= neighbours < smaller:
    raise ValueError(
      f'neighbours must be from 1 to {smaller - 1}, less than the examples of '
      f'the smaller set, got {neighbours}'
    )
  centre = reference.mean(axis=0, dtype=np.float64)
  return samples - centre, reference - centre


def _radii(x: np.ndarray, neighbours: int) -> np.ndarray:
  """Returns the squared distance to the k-th nearest other example, [N]."""
  radii = np.empty(len(x))
  for rows, squared, _ in _blocks(x, x):
    np.fill_diagonal(squared[:, rows], np.inf)
    squared.partition(neighbours - 1, axis=1)
    radii[rows] = squared[:, neighbours - 1]
  return radii


def _blocks(
  x: np.ndarray, y: np.ndarray
) -> Iterator[tuple[slice, np.ndarray, float]]:
  """Yields rows of x, squared distances [rows, M] to y, and their rounding."""
  x2, y2 = np.sum(x**2, axis=1), np.sum(y**2, axis=1)
  # Copies must be at distance 0, whatever was rounded.
  rounding = 1e-12 * (x2.max() + y2.max())
  size = max(1, _BLOCK // len(y))
  for start in range(0, len(x), size):
    rows = slice(start, min(start + size, len(x)))
    squared = x[rows] @ y.T
    squared *= -2
    squared += x2[rows, None]
    squared += y2
    squared[squared < rounding] = 0
    yield rows, squared, rounding
