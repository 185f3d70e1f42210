"""Kernel distance, the formula of KID: MMD^2 with a cubic kernel.

  MMD^2 = E k(x, x') + E k(y, y') - 2 E k(x, y),   k(x, y) = (x.y / D + 1)^3

The estimate leaves out k(x, x), so it is unbiased: its expectation does not
depend on the number of examples, and is 0 for equal distributions. It is
averaged over random subsets, and called KID for the pool features of the
published Inception.
"""

from typing import NamedTuple

import numpy as np

from jaxdiff.data.shuffling import permutation
from jaxdiff.evaluation.frechet import check_dimensions


class KernelDistance(NamedTuple):
  """Mean over subsets; `standard_error` is that of `value` as an estimate of
  the distributions' MMD^2, `std` that over subsets, which others print."""

  value: float
  standard_error: float
  std: float
  subset_size: int
  num_subsets: int


def mmd2(x: np.ndarray, y: np.ndarray) -> float:
  """Computes the unbiased MMD^2 of x [n, D] and y [m, D]; may be negative.

  Source: Gretton et al. 2012 eq. 3.
  """
  x, y = x.astype(np.float64), y.astype(np.float64)
  kernel = lambda x, y: (x @ y.T / x.shape[1] + 1) ** 3
  within = lambda k: (k.sum() - np.trace(k)) / (len(k) * (len(k) - 1))
  between = kernel(x, y).mean()
  return float(within(kernel(x, x)) + within(kernel(y, y)) - 2 * between)


def distance(
  samples: np.ndarray,
  reference: np.ndarray,
  *,
  subset_size: int = 1000,
  num_subsets: int = 100,
  seed: int = 0,
) -> KernelDistance:
  """Computes the mean of `mmd2` over random subsets, and its standard error.

  Subsets are drawn without replacement from n examples, so they overlap: a
  fraction r = subset_size / n of one is in another. With s the standard
  deviation over K subsets (ddof 1) and n the size of the smaller set,

    error^2 = s^2 (1 / K + r / (1 - r)).

  The first term comes from few subsets, the second from few examples.

  Args:
    samples: [N, D].
    reference: [M, D].
    subset_size: At most half of the smaller set, or the error is unknown.
    num_subsets: At least 2.
    seed: Of the subsets.

  Source: Binkowski et al. 2018, "Demystifying MMD GANs", section 4; the error
  follows from its U-statistic.
  """
  check_dimensions(samples, reference)
  smaller = min(len(samples), len(reference))
  if not 2 <= subset_size <= smaller // 2:
    raise ValueError(
      f'subset_size must be from 2 to {smaller // 2}, half of the '
      f'smaller set, got {subset_size}'
    )
  if num_subsets < 2:
    raise ValueError(f'num_subsets must be at least 2, got {num_subsets}')
  bits = np.random.PCG64(seed)
  draw = lambda x: x[permutation(len(x), bits)[:subset_size]]
  values = [mmd2(draw(samples), draw(reference)) for _ in range(num_subsets)]
  std, overlap = np.std(values, ddof=1), subset_size / smaller
  error = std * np.sqrt(1 / num_subsets + overlap / (1 - overlap))
  return KernelDistance(
    float(np.mean(values)), float(error), float(std), subset_size, num_subsets
  )
