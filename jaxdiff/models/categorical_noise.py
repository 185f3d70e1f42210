"""Categorical processes of a configuration, for elements, nodes and edges."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from jaxdiff import names, processes
from jaxdiff.config import Categorical, registry
from jaxdiff.processes import Process
from jaxdiff.schedules import Schedule

# The distribution from which an element is redrawn, [K'], by that of the data.
_NOISES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
  'absorbing': lambda data: np.eye(len(data) + 1)[-1],
  'uniform': lambda data: np.full(len(data), 1 / len(data)),
  'ordinal': lambda data: np.full(len(data), 1 / len(data)),
}


class Part(NamedTuple):
  """The noise of elements of one kind."""

  process: Process
  schedule: Schedule
  num_logits: int  # K, and 1 more with MASK


def make(c: Categorical, marginals: Any) -> Part:
  """Builds the noise of elements whose categories have these frequencies.

  Raises:
    ValueError: the noise does not fit the data or the prediction.
  """
  data = np.asarray(marginals, np.float64)
  flag = '--diffusion.process'
  name = names.name_of(c.process, flag)
  noise = _NOISES.get(name, lambda data: data)(data)
  if name == 'marginal' and len(data) > 1 and data.max() == data.sum():
    raise ValueError(
      f'{flag} marginal redraws from the frequencies of the data, and in this '
      'data set every element is the same: use uniform'
    )
  schedule = names.make(
    registry.CATEGORICAL_SCHEDULES,
    c.schedule,
    '--diffusion.schedule',
    data=np.pad(data, (0, len(noise) - len(data))),
    noise=noise,
  )
  alpha = float(schedule(1.0).alpha)
  if c.prediction == 'log_ratios' and alpha == 0 and noise.max() < 1:
    raise ValueError(
      '--diffusion.prediction log_ratios says nothing of the data where '
      'nothing of it is left, at t = 1 of --diffusion.schedule '
      f'{c.schedule}: use log_linear'
    )
  process = names.make(
    registry.PROCESSES,
    c.process,
    flag,
    schedule=schedule,
    probs=noise,
    num_classes=len(noise),
    estimate=c.prediction,
  )
  return Part(process, schedule, len(noise))


def joint(parts: Mapping[str, Part]) -> Process:
  """Builds the process of a graph, whose edges are symmetric."""
  every = {name: part.process for name, part in parts.items()}
  every['edges'] = processes.symmetric(every['edges'])
  return processes.joint(every)
