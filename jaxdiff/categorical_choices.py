"""What the names in a configuration stand for, of text, graphs and pixels that
are categories.

As in `choices`, whose `make` reads them.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from jaxdiff import losses, processes, samplers
from jaxdiff.choices import pick
from jaxdiff.losses import categorical as categorical_losses
from jaxdiff.losses import time_sampling
from jaxdiff.processes import Process
from jaxdiff.samplers import unmasking as orders
from jaxdiff.schedules import Schedule, mixing


class Mixing(NamedTuple):
  """What the process of a kind of category may depend on."""

  data: np.ndarray  # [K] how frequent each is in the data
  noise: np.ndarray  # [K'] what is redrawn; K' = K + 1 with MASK


# the data's frequencies [K] -> what it is redrawn from [K']
NOISES: dict[str, Callable[..., np.ndarray]] = {
  'absorbing': lambda data: np.eye(len(data) + 1)[-1],
  'uniform': lambda data: np.full(len(data), 1 / len(data)),
  'marginal': lambda data: data,
  # Its limit, too, is uniform.
  'ordinal': lambda data, width=2.0: np.full(len(data), 1 / len(data)),
}

# (schedule, noise [K'], estimate, ...) -> Process
PROCESSES: dict[str, Callable[..., Process]] = {
  'absorbing': processes.categorical,
  'uniform': processes.categorical,
  'marginal': processes.categorical,
  'ordinal': lambda schedule, noise, estimate, width=2.0: processes.ordinal(
    schedule, len(noise), width
  ),
}

# (Mixing, ...) -> Schedule
MIXINGS: dict[str, Callable[..., Schedule]] = {
  'linear': lambda c: mixing.linear(),
  'log_linear': lambda c, eps=1e-3: mixing.log_linear(eps),
  'cosine': lambda c: mixing.cosine(),
  'squared_cosine': lambda c: mixing.squared_cosine(),
  'mutual_information': lambda c: mixing.mutual_information(
    np.pad(c.data, (0, len(c.noise) - len(c.data))), c.noise
  ),
}


class Training(NamedTuple):
  """What a loss of categories may depend on."""

  apply: losses.Apply
  process: Process
  times: time_sampling.Times
  num_steps: int
  parts: tuple[str, ...]  # of a graph


def _weights(c: Training, edges: float | None) -> dict[str, float] | None:
  if edges is None:
    return None
  if set(c.parts) != {'nodes', 'edges'}:
    raise ValueError(
      f'cross_entropy(edges={edges}) weighs edges beside nodes, and of this '
      'data the nodes have no kinds'
    )
  return {'nodes': 1.0, 'edges': edges}


# (Training, ...) -> Loss
LOSSES: dict[str, Callable[..., losses.Loss]] = {
  'nelbo': lambda c: categorical_losses.nelbo(c.apply, c.process, c.times),
  'variational': lambda c, weight=0.0: categorical_losses.variational(
    c.apply, c.process, c.num_steps, weight
  ),
  'cross_entropy': lambda c, edges=None: categorical_losses.cross_entropy(
    c.apply, c.process, c.times, _weights(c, edges)
  ),
}

SCORES: dict[str, orders.Score] = {
  'probability': orders.probability,
  'margin': orders.margin,
  'certainty': orders.certainty,
  'left_to_right': orders.left_to_right,
}


class Unmasking(NamedTuple):
  """What a sampler of categories may depend on."""

  process: Process
  schedule: Schedule | None  # None where parts of the data have their own
  num_classes: int | None  # K, of absorbing noise alone


def _unmasking(c: Unmasking, name: str) -> tuple[Schedule, int]:
  if c.num_classes is None or c.schedule is None:
    raise ValueError(
      f'sampling.sampler={name} lifts masks: it needs '
      'diffusion.process=absorbing, and no graph'
    )
  return c.schedule, c.num_classes


# (Unmasking, ...) -> Step
CATEGORICAL_SAMPLERS: dict[str, Callable[..., samplers.Step]] = {
  'ancestral': lambda c: samplers.ancestral(c.process),
  'surest_first': lambda c, score='probability', noise=0.0: orders.surest_first(
    *_unmasking(c, 'surest_first'),
    pick(SCORES, score, 'the score of surest_first'),
    noise,
  ),
  'remasked': lambda c, scale=1.0, cap=1.0: samplers.ancestral(
    processes.remasked(*_unmasking(c, 'remasked'), scale, cap)
  ),
}
