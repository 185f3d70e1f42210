"""Quality apart from variety, by balls around examples.

Around each of n examples lies a ball that just reaches its k-th nearest
neighbour; their union stands for where the data are. With X the reference, Y
the samples,

  precision = share of Y inside a ball of X      (samples that look real)
  recall    = share of X inside a ball of Y      (reality that is covered)
  density   = 1/(k |Y|) sum over Y of the balls of X it is in
  coverage  = share of the balls of X that hold some of Y

One outlier of X has a ball so large that precision believes anything in it;
density and coverage are the answer to that. All depend on the numbers of
examples and on k: compare like with like.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

_BLOCK = 2**22  # distances held at a time


class PrecisionRecall(NamedTuple):
  precision: float
  recall: float
  neighbours: int


class DensityCoverage(NamedTuple):
  density: float
  coverage: float
  neighbours: int


def precision_recall(
  samples: np.ndarray, reference: np.ndarray, *, neighbours: int = 3
) -> PrecisionRecall:
  """Improved precision and recall of samples [N, D] against reference [M, D].

  Raises:
    ValueError: dimensions differ, or a set has no more than k examples.

  Source: Kynkaanniemi et al. 2019 eq. 1, 2.
  """
  samples, reference = _centred(samples, reference, neighbours)
  reach = _radii(samples, neighbours)
  radii = _radii(reference, neighbours)
  real = np.zeros(len(samples), bool)
  covered = np.zeros(len(reference), bool)
  for rows, squared in _blocks(samples, reference):
    real[rows] = (squared <= radii).any(axis=1)
    covered |= (squared <= reach[rows, None]).any(axis=0)
  return PrecisionRecall(float(real.mean()), float(covered.mean()), neighbours)


def density_coverage(
  samples: np.ndarray, reference: np.ndarray, *, neighbours: int = 5
) -> DensityCoverage:
  """Density and coverage of samples [N, D] against reference [M, D].

  Raises:
    ValueError: dimensions differ, or a set has no more than k examples.

  Source: Naeem et al. 2020 eq. 3, 5.
  """
  samples, reference = _centred(samples, reference, neighbours)
  radii = _radii(reference, neighbours)
  total, covered = 0, np.zeros(len(reference), bool)
  for _, squared in _blocks(samples, reference):
    inside = squared <= radii
    total += int(inside.sum())
    covered |= inside.any(axis=0)
  density = total / (neighbours * len(samples))
  return DensityCoverage(density, float(covered.mean()), neighbours)


def _centred(
  samples: np.ndarray, reference: np.ndarray, neighbours: int
) -> tuple[np.ndarray, np.ndarray]:
  """In float64 about one point, for differences are taken of squares."""
  if samples.shape[1] != reference.shape[1]:
    raise ValueError(
      f'features have {samples.shape[1]} and {reference.shape[1]} dimensions: '
      'they are not of the same network'
    )
  smaller = min(len(samples), len(reference))
  if not 1 <= neighbours < smaller:
    raise ValueError(
      f'neighbours must be from 1 to {smaller - 1}, less than the examples of '
      f'the smaller set, got {neighbours}'
    )
  centre = reference.mean(axis=0, dtype=np.float64)
  return samples - centre, reference - centre


def _radii(x: np.ndarray, neighbours: int) -> np.ndarray:
  """[N] squared distance of each example to its k-th nearest other one."""
  radii = np.empty(len(x))
  for rows, squared in _blocks(x, x):
    np.fill_diagonal(squared[:, rows], np.inf)
    squared.partition(neighbours - 1, axis=1)
    radii[rows] = squared[:, neighbours - 1]
  return radii


def _blocks(x: np.ndarray, y: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
  """Rows of x, and their squared distances [rows, M] to all of y."""
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
    yield rows, squared
