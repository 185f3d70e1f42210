"""Frechet distance of two sets of features, the formula of FID.

  d^2 = |m1 - m2|^2 + tr S1 + tr S2 - 2 tr (S1^1/2 S2 S1^1/2)^1/2

with means m and covariances S: the squared 2-Wasserstein distance of Gaussians
with the moments of the sets.

All of it is float64 on the host. Float32 sums over a data set are off by 2 % of
the covariance, and by 0.1 of the distance where the covariance is singular.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

_ROWS = 4096  # converted to float64 at a time


class Moments(NamedTuple):
  """Mean [D] and covariance [D, D] (ddof 1) of `num` examples, float64."""

  mean: np.ndarray
  cov: np.ndarray
  num: int | None = None  # None: not stated by published statistics


def moments(features: np.ndarray) -> Moments:
  """Computes the moments of features [N, D]; the covariance of one is 0."""
  if not len(features):
    raise ValueError('there are no features, so they have no moments')
  total = None
  for start in range(0, len(features), _ROWS):
    x = features[start : start + _ROWS].astype(np.float64)
    mean = x.mean(axis=0)
    x -= mean
    part = Moments(mean, x.T @ x / max(len(x) - 1, 1), len(x))
    total = part if total is None else merge(total, part)
  return total


def merge(a: Moments, b: Moments) -> Moments:
  """Computes the moments of the union of two sets.

    n m = na ma + nb mb,    C = Ca + Cb + (na nb / n) (mb - ma)(mb - ma)^T

  with C = (n - 1) S, no difference of large sums. Source: Chan et al. 1979.
  """
  if a.num is None or b.num is None:
    raise ValueError('statistics of an unknown number of examples do not merge')
  num = a.num + b.num
  delta = b.mean - a.mean
  scatter = a.cov * (a.num - 1) + b.cov * (b.num - 1)
  scatter += np.outer(delta, delta) * (a.num * b.num / num)
  return Moments(a.mean + delta * (b.num / num), scatter / (num - 1), num)


def accumulate(parts: Iterable[Mapping[str, np.ndarray]]) -> dict[str, Moments]:
  """Computes {name: Moments} over parts {name: [n, D]} without keeping them."""
  totals: dict[str, Moments] = {}
  waiting: dict[str, list[np.ndarray]] = {}

  def flush() -> None:
    for name, arrays in waiting.items():
      part = moments(np.concatenate(arrays))
      totals[name] = merge(totals[name], part) if name in totals else part
    waiting.clear()

  for part in parts:
    for name, array in part.items():
      waiting.setdefault(name, []).append(array)
    # A merge costs D^2 whatever the size of the part: not for every batch.
    if any(sum(map(len, arrays)) >= _ROWS for arrays in waiting.values()):
      flush()
  flush()
  return totals


def distance(a: Moments, b: Moments) -> float:
  """Computes the squared Frechet distance d^2 of two Gaussians.

  The trace is the sum of the roots of the eigenvalues of r S2 r, with r the
  symmetric root of S1, so no complex number occurs. The error is 1e-8 for
  covariances of full rank and 1e-4 (absolute, features of order 1) for singular
  ones, where equal moments may have a distance slightly below 0.

  Source: Heusel et al. 2017 ("TTUR") eq. 6.
  """
  check_dimensions(a.cov, b.cov)
  for mean, cov, num in (a, b):
    if cov.shape != 2 * mean.shape:
      raise ValueError(
        f'a mean {list(mean.shape)} does not fit a covariance {list(cov.shape)}'
      )
    if num is not None and num < 2:
      raise ValueError(f'a covariance needs at least 2 examples, got {num}')
    if not (np.isfinite(mean).all() and np.isfinite(cov).all()):
      raise ValueError('a mean or covariance of features is not finite')
  values, vectors = np.linalg.eigh(a.cov)
  root = (vectors * np.sqrt(values.clip(min=0))) @ vectors.T
  product = root @ b.cov @ root
  values = np.linalg.eigvalsh((product + product.T) / 2)
  cross = np.sqrt(values.clip(min=0)).sum()
  apart = np.sum((a.mean - b.mean) ** 2)
  return float(apart + np.trace(a.cov) + np.trace(b.cov) - 2 * cross)


def check_dimensions(samples: np.ndarray, reference: np.ndarray) -> None:
  """Raises ValueError unless [.., D] have the same D."""
  dims = samples.shape[-1], reference.shape[-1]
  if dims[0] != dims[1]:
    raise ValueError(
      f'features have {dims[0]} and {dims[1]} dimensions: they are not of the '
      'same network'
    )
