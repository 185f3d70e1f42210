"""Samplers that lift masks, by name: surest first, and with remasking."""

from jaxdiff import processes, samplers
from jaxdiff.samplers import unmasking
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
