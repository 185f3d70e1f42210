"""Samplers of categories, by name: all but ancestral sampling."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax.numpy as jnp
from jax import Array

from jaxdiff import processes, samplers
from jaxdiff.samplers import categorical, unmasking
from jaxdiff.schedules import Schedule

_SCORES: dict[str, unmasking.Score] = {
  'probability': unmasking.probability,
  'margin': unmasking.margin,
  'certainty': unmasking.certainty,
  'left_to_right': unmasking.left_to_right,
}


def surest_first(
  schedule: Schedule,
  num_classes: int,
  score: str = 'probability',
  noise: float = 0.0,
) -> samplers.Step:
  """Builds `samplers.unmasking.surest_first` with the name of a score.

  Raises:
    ValueError: an unknown score.
  """
  if score not in _SCORES:
    raise ValueError(f'score must be one of {sorted(_SCORES)}, got {score!r}')
  return unmasking.surest_first(schedule, num_classes, _SCORES[score], noise)


def remasked(
  schedule: Schedule, num_classes: int, scale: float = 1.0, cap: float = 1.0
) -> samplers.Step:
  """Builds the ancestral sampler of `processes.remasked`."""
  return samplers.ancestral(
    processes.remasked(schedule, num_classes, scale, cap)
  )


def rate_matrix(
  rebuild: Callable[..., processes.Process],
  omega: float = 0.0,
  eta: float = 0.0,
) -> samplers.Step:
  """Builds the ancestral sampler of `processes.rate_matrix`.

  Args:
    rebuild: (schedule, probs, estimate) -> Process to the model's process.
    omega, eta: target guidance and stochasticity.
  """
  kind = partial(processes.rate_matrix, omega=omega, eta=eta)
  return samplers.ancestral(rebuild(kind))


def greedy_tail(process: processes.Process) -> samplers.Step:
  """Builds ancestral sampling that takes the likeliest x0 in its last step.

  Source: Duo (Sahoo et al. 2025, arXiv:2506.10892) section 4.2.
  """
  step = samplers.ancestral(process)

  def last_is_greedy(
    denoiser: samplers.Denoiser, keys: Array, xt: Any, t: Array, s: Array
  ) -> Any:
    sharp = categorical.temperature(denoiser, jnp.where(s == 0, 1e-4, 1.0))
    return step(sharp, keys, xt, t, s)

  return last_is_greedy
