"""Metrics of features against a reference, by their established names."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from jaxdiff.evaluation import frechet, kernel, precision_recall
from jaxdiff.evaluation.class_score import class_score
from jaxdiff.evaluation.features import Reduced
from jaxdiff.evaluation.frechet import Moments
from jaxdiff.evaluation.spaces import LOGITS, POOL, SPATIAL, FeatureSpace, name


class Metrics(NamedTuple):
  """{metric: {'value': ..., errors, settings}}, and warnings."""

  values: dict[str, dict[str, Any]]
  warnings: list[str]


def check_size(num: int, what: str) -> None:
  """Raises ValueError for a set too small for a covariance."""
  if num < 2:
    raise ValueError(f'a distance needs at least 2 {what}, got {num}')


def measure(
  space: FeatureSpace,
  samples: Reduced,
  reference: Reduced,
  *,
  feature: str = POOL,
  seed: int = 0,
  subset_size: int = 1000,
) -> Metrics:
  """Computes the metrics of samples against a reference.

    FD                      of `feature`, and of spatial features if present
    KD, precision, recall,  of `feature`, if both sets have the features and not
    density, coverage       only their moments
    class score             if the samples have logits

  A metric that needs more examples is left out with a warning.

  Args:
    space: Of the features, for the names.
    samples: {feature: [N, D] or moments}.
    reference: {feature: [M, D] or moments}.
    feature: The one that is compared.
    seed: Of subsets and splits.
    subset_size: Of the kernel distance, at most half the smaller set.
  """
  if feature not in samples or feature not in reference:
    raise ValueError(
      f'both sets must have the feature {feature!r}: samples have '
      f'{sorted(samples)}, the reference {sorted(reference)}'
    )
  values: dict[str, dict[str, Any]] = {}
  warnings: list[str] = []
  for f in dict.fromkeys((feature, SPATIAL)):
    if f in samples and f in reference:
      distance = frechet.distance(moments(samples[f]), moments(reference[f]))
      values[name('FD', space, f)] = {'value': distance}

  ours, theirs = samples[feature], reference[feature]
  if isinstance(ours, np.ndarray) and isinstance(theirs, np.ndarray):
    smaller = min(len(ours), len(theirs))
    size = min(subset_size, smaller // 2)
    if size < 2:
      warnings.append(f'no kernel distance: it needs 4 examples, not {smaller}')
    else:
      found = kernel.distance(ours, theirs, subset_size=size, seed=seed)
      values[name('KD', space, feature)] = found._asdict()
    for balls, k in (
      (precision_recall.precision_recall, 3),
      (precision_recall.density_coverage, 5),
    ):
      if smaller <= k:
        what = balls.__name__.replace('_', ' and ')
        warnings.append(f'no {what}: they need {k + 1} examples, not {smaller}')
        continue
      for metric, value in balls(ours, theirs, neighbours=k)._asdict().items():
        values[name(metric, space, feature)] = {
          'value': value,
          'neighbours': k,
        }

  if LOGITS in samples:
    splits = min(10, len(samples[LOGITS]))
    score = class_score(samples[LOGITS], splits=splits, seed=seed)
    values[name('class score', space, LOGITS)] = score._asdict()
  return Metrics(values, warnings)


def moments(x: np.ndarray | Moments) -> Moments:
  """Reduces features to their moments, unless they are already."""
  return x if isinstance(x, Moments) else frechet.moments(x)


def table(result: Mapping[str, Any]) -> str:
  """Formats metrics with their errors and the floor."""
  metrics, floor = result['metrics'], result.get('floor') or {}
  width = max(map(len, metrics))
  against = result.get('reference') or 'their prompts'
  rows = [f'{result["num_samples"]} of {result["samples"]} against {against}']
  for metric, values in metrics.items():
    row = f'  {metric:{width}}  {number(values["value"])}'
    error = values.get('standard_error', values.get('std'))
    if error is not None:
      row += f' +- {number(error)}'
    if metric in floor:
      row += f'   (floor {number(floor[metric]["value"])})'
    rows.append(row)
  return '\n'.join(rows)


def number(value: float) -> str:
  """Formats four digits, without an exponent where it is not far from 1."""
  return f'{value:.4g}'
