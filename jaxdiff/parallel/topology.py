"""Topologies of TPUs, described by libtpu without a TPU."""

import importlib.util
import math
import os
import re
from typing import Any

from jaxdiff.parallel.chips import CHIPS, Chip

# Dimensions of the torus that connects the chips.
_AXES = {'v4': 3, 'v5e': 2, 'v5p': 3, 'v6e': 2}
# The two cores of a chip as one device, which is the default of the others.
_OPTIONS = {'v4': {'chip_config_name': 'megacore'}}
_MOST_CHIPS = 65_536  # several times the largest pod


def topology(name: str) -> tuple[Chip, list[Any]]:
  """Returns the chip and the devices of a topology such as 'v5e:4x4'.

  Raises:
    ValueError: no such chip or topology, or libtpu is not installed.
  """
  kind = _check_grid(name)
  check_libtpu()
  from jax.experimental import topologies

  # libtpu asks the machine which TPU it has, unless it is told.
  chip = CHIPS[kind]
  for variable, value in (
    ('TPU_SKIP_MDS_QUERY', '1'),
    ('TPU_ACCELERATOR_TYPE', f'{chip.accelerator}-16'),
    ('TPU_WORKER_HOSTNAMES', 'localhost'),
    ('ALLOW_MULTIPLE_LIBTPU_LOAD', '1'),  # several plans at once
  ):
    os.environ.setdefault(variable, value)
  try:
    found = topologies.get_topology_desc(
      platform='tpu', topology_name=name, **_OPTIONS.get(kind, {})
    )
  except Exception as error:  # libtpu raises its own
    raise ValueError(f'--topology {name}: {error}') from error
  return chip, list(found.devices)


def check_libtpu() -> None:
  """Raises ValueError unless libtpu is installed."""
  if importlib.util.find_spec('libtpu') is None:
    raise ValueError('a plan compiles with libtpu: pip install libtpu')


def _check_grid(name: str) -> str:
  """Returns the kind of chip; libtpu aborts the process for some grids.

  Raises:
    ValueError: no such chip, or its chips are in no such grid.
  """
  kind, _, grid = name.partition(':')
  if kind not in CHIPS or not grid:
    raise ValueError(
      f'--topology must be one of {list(CHIPS)} with a grid, such as v5e:4x4, '
      f'got {name!r}'
    )
  axes = _AXES[kind]
  number, more = '([1-9][0-9]{0,4})', '(_twisted|_untwisted)?'
  found = re.fullmatch('x'.join([number] * axes) + more, grid)
  if found is None:
    example = 'x'.join(['4'] * axes)
    raise ValueError(
      f'--topology {kind} needs a grid of {axes} positive whole numbers, such '
      f'as {kind}:{example}, got {name!r}'
    )
  if (num := math.prod(map(int, found.groups()[:axes]))) > _MOST_CHIPS:
    raise ValueError(
      f'--topology must have at most {_MOST_CHIPS:,} chips, got {num:,}'
    )
  return kind
