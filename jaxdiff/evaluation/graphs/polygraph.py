"""PolyGraph Discrepancy: how well a classifier tells two sets of graphs apart.

A classifier d(x), the probability that a graph is of the reference, bounds the
Jensen-Shannon distance of two distributions of graphs from below:

  JS^2 >= 1 + (mean log2 d(reference) + mean log2 (1 - d(samples))) / 2,

in [0, 1], by graphs that it was not fitted to: it is fitted to one half of both
sets and measured on the other. There is one for each statistic of `mmd`. Of
their bounds that one counts whose statistic is the best in cross-validation
within the first half.

The paper's classifier is TabPFN, a pretrained network. Here it is a logistic
regression, so a value is a lower bound still, but none to set beside theirs.

Source: Krimmel et al. 2025 (arXiv:2510.06122), sections 3.1 to 3.3.
"""

from collections.abc import Sequence

import numpy as np
from scipy import optimize

from jaxdiff.evaluation.graphs import mmd

LEAST = 8  # graphs of a set, of which half are in four folds
_FOLDS = 4
_ROUNDING = 1e-12  # of a mean: the standard deviation that a constant can have
_RIDGE = 1.0  # of standardised statistics, the weight of |w|^2 / 2


def discrepancy(
  reference: mmd.Described, samples: mmd.Described, seed: int = 0
) -> dict[str, float]:
  """Computes the discrepancy, and the bound by each statistic.

  Args:
    reference: From `mmd.describe`, of at least `LEAST` graphs.
    samples: Likewise.
    seed: Of the halves and folds.

  Returns:
    'polygraph', and 'polygraph_degree' .. by each statistic. Empty where a set
    has too few graphs.
  """
  sizes = [len(x['degree']) for x in (reference, samples)]
  if min(sizes) < LEAST:
    return {}
  rng = np.random.default_rng(seed)
  orders = [rng.permutation(size) for size in sizes]
  bounds, validated = {}, {}
  for name in mmd.STATISTICS:
    sets = mmd.padded(reference[name], samples[name])
    shuffled = [x[order] for x, order in zip(sets, orders, strict=True)]
    first = [x[: len(x) // 2] for x in shuffled]
    folds = [
      bound(
        [np.delete(x, np.s_[k::_FOLDS], axis=0) for x in first],
        [x[k::_FOLDS] for x in first],
      )
      for k in range(_FOLDS)
    ]
    validated[name] = np.mean(folds)
    bounds[name] = bound(first, [x[len(x) // 2 :] for x in shuffled])
  best = max(validated, key=validated.get)
  each = {f'polygraph_{name}': value for name, value in bounds.items()}
  return {'polygraph': bounds[best], **each}


def bound(fitted: Sequence[np.ndarray], held: Sequence[np.ndarray]) -> float:
  """Computes the bound on the Jensen-Shannon distance, from 0 to 1.

  Args:
    fitted: The reference [N, D] and the samples [M, D] of the classifier.
    held: The same, to which it is not fitted.
  """
  both = np.concatenate(fitted)
  center, scale = both.mean(0), both.std(0)
  constant = scale <= _ROUNDING * np.abs(center)
  unit = lambda x: (x - center) / np.where(constant, 1.0, scale)
  weights = _logistic(*map(unit, fitted))
  reference, samples = map(unit, held)
  nats = _nats(weights, reference, 1) + _nats(weights, samples, -1)
  return float(np.sqrt(np.clip(1 - nats / (2 * np.log(2)), 0, 1)))


def _logistic(reference: np.ndarray, samples: np.ndarray) -> np.ndarray:
  """Fits the weights [D + 1], the last of them the intercept."""
  size = (len(reference) + len(samples)) / 2  # both sets weigh the same

  def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
    total = _RIDGE * weights[:-1] @ weights[:-1] / 2
    slope = _RIDGE * np.append(weights[:-1], 0.0)
    for x, sign in ((reference, 1), (samples, -1)):
      total += size * _nats(weights, x, sign)
      wrong = -sign / (1 + np.exp(sign * _scores(weights, x))) / len(x)
      slope += size * np.append(wrong @ x, wrong.sum())
    return total, slope

  start = np.zeros(reference.shape[1] + 1)
  return optimize.minimize(loss, start, jac=True, method='L-BFGS-B').x


def _scores(weights: np.ndarray, x: np.ndarray) -> np.ndarray:
  # Statistics that were constant when fitted have no limit here.
  return np.clip(x @ weights[:-1] + weights[-1], -500, 500)


def _nats(weights: np.ndarray, x: np.ndarray, sign: int) -> float:
  """Computes the mean cross-entropy of x [N, D] for one of the two sets."""
  return float(np.logaddexp(0, -sign * _scores(weights, x)).mean())
