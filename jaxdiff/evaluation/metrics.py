"""Every metric that a set of features allows, each under the name it earns."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxdiff.evaluation import frechet, kernel, precision_recall
from jaxdiff.evaluation.class_score import class_score
from jaxdiff.evaluation.frechet import Moments
from jaxdiff.evaluation.spaces import LOGITS, POOL, SPATIAL, FeatureSpace, name

Result = dict[str, dict[str, Any]]  # {metric: {'value': ..., ...}}


def measure(
  space: FeatureSpace,
  samples: Mapping[str, np.ndarray | Moments],
  reference: Mapping[str, np.ndarray | Moments],
  *,
  feature: str = POOL,
  seed: int = 0,
  splits: int = 10,
  subset_size: int = 1000,
  num_subsets: int = 100,
) -> Result:
  """The metrics of samples against a reference.

    FD                      of `feature`, and of spatial features if there
    KD, precision, recall,  of `feature`, if both have the features and not
    density, coverage       just their moments
    class score             if the samples have logits

  Args:
    space: of the features; it decides on the names, see `spaces.name`.
    samples: {feature: [N, D] or moments}.
    reference: {feature: [M, D] or moments}.
    feature: which of the network's features.
    seed: of the subsets of the kernel distance and splits of the class score.
    splits: of the class score.
    subset_size: of the kernel distance; at most half the smaller set is used,
      and the size that was used is in the result.
    num_subsets: of the kernel distance.

  Returns:
    {name: {'value': float, ...}}, with errors and settings beside the value.

  Raises:
    ValueError: one of them lacks `feature`; sets too small for a metric.
  """
  if feature not in samples or feature not in reference:
    raise ValueError(
      f'both sets must have the feature {feature!r}: samples have '
      f'{sorted(samples)}, the reference {sorted(reference)}'
    )
  common = [feature]
  if SPATIAL in samples and SPATIAL in reference and feature != SPATIAL:
    common.append(SPATIAL)
  result: Result = {}
  for f in common:
    distance = frechet.distance(_moments(samples[f]), _moments(reference[f]))
    result[name('FD', space, f)] = {'value': distance}

  ours, theirs = samples[feature], reference[feature]
  if isinstance(ours, np.ndarray) and isinstance(theirs, np.ndarray):
    kernel_distance = kernel.distance(
      ours,
      theirs,
      subset_size=min(subset_size, min(len(ours), len(theirs)) // 2),
      num_subsets=num_subsets,
      seed=seed,
    )
    result[name('KD', space, feature)] = kernel_distance._asdict()
    for balls in (
      precision_recall.precision_recall,
      precision_recall.density_coverage,
    ):
      values = balls(ours, theirs)._asdict()
      neighbours = values.pop('neighbours')
      for metric, value in values.items():
        result[name(metric, space, feature)] = {
          'value': value,
          'neighbours': neighbours,
        }

  if LOGITS in samples:
    score = class_score(samples[LOGITS], splits=splits, seed=seed)
    result[name('class score', space, LOGITS)] = score._asdict()
  return result


def _moments(x: np.ndarray | Moments) -> Moments:
  return x if isinstance(x, Moments) else frechet.moments(x)
