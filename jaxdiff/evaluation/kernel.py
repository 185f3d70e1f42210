"""The kernel distance: maximum mean discrepancy with a cubic kernel.

  MMD^2 = E k(x, x') + E k(y, y') - 2 E k(x, y),   k(x, y) = (x.y / D + 1)^3,

unbiased by leaving out k(x, x): its expectation does not depend on how many
examples there are, unlike that of the Frechet distance, and is 0 for equal
laws. Computed on subsets and averaged; "KID" when the features are those of
the published Inception network.
"""

from typing import NamedTuple

import numpy as np

from jaxdiff.data.shuffling import permutation


class KernelDistance(NamedTuple):
  """Over subsets of both sets.

  std is that between the subsets, which other programs print as the error;
  standard_error is that of `value` as an estimate of the laws' MMD^2.
  """

  value: float
  standard_error: float
  std: float
  subset_size: int
  num_subsets: int


def mmd2(x: np.ndarray, y: np.ndarray) -> float:
  """The unbiased estimate from x [n, D] and y [m, D]; may be negative.

  Source: Gretton et al. 2012 eq. 3.
  """
  x, y = x.astype(np.float64), y.astype(np.float64)
  within = lambda k: (k.sum() - np.trace(k)) / (len(k) * (len(k) - 1))
  between = _cubic(x, y).mean()
  return float(within(_cubic(x, x)) + within(_cubic(y, y)) - 2 * between)


def distance(
  samples: np.ndarray,
  reference: np.ndarray,
  *,
  subset_size: int = 1000,
  num_subsets: int = 100,
  seed: int = 0,
) -> KernelDistance:
  """The mean of `mmd2` over random subsets, with its standard error.

  Subsets are drawn without replacement from sets of n, so they overlap: a
  share r = subset_size / n of one is in another. With s the deviation between
  them (ddof 1), K their number and n the smaller set's size,

    error^2 = s^2 (1 / K + r / (1 - r)),

  the first term for having few subsets, the second for having few examples,
  which no number of subsets makes up for.

  Args:
    samples: [N, D].
    reference: [M, D].
    subset_size: at most half of the smaller set, or the error is unknown.
    num_subsets: at least 2.
    seed: of the subsets.

  Raises:
    ValueError: subset_size or num_subsets is out of range, or the dimensions
      differ.

  Source: Binkowski et al. 2018, "Demystifying MMD GANs", section 4; the error
  follows from its U-statistic.
  """
  if samples.shape[1] != reference.shape[1]:
    raise ValueError(
      f'features have {samples.shape[1]} and {reference.shape[1]} dimensions: '
      'they are not of the same network'
    )
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


def _cubic(x: np.ndarray, y: np.ndarray) -> np.ndarray:
  return (x @ y.T / x.shape[1] + 1) ** 3
