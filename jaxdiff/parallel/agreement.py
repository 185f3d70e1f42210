"""Agreement: settings that must be the same on every process of a job."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils


def check_same(settings: Mapping[str, Any]) -> None:
  """Compares settings with those of process 0. All processes must ask.

  Raises:
    ValueError: on every process, if any differs; names the fields.
  """
  if jax.process_count() == 1:
    return
  mine = json.dumps(settings, sort_keys=True)
  first = json.loads(_broadcast(mine))
  mine_fields, first_fields = dict(_fields(settings)), dict(_fields(first))
  differ = [
    f'{name}: {mine_fields.get(name)!r} here, {first_fields.get(name)!r} there'
    for name in sorted(mine_fields | first_fields)
    if mine_fields.get(name) != first_fields.get(name)
  ]
  wrong = np.asarray([bool(differ)])
  others = multihost_utils.process_allgather(wrong).reshape(-1)
  if differ:
    raise ValueError(
      f'process {jax.process_index()} has other settings than process 0: '
      + '; '.join(differ)
    )
  if others.any():
    listed = ', '.join(str(i) for i in np.flatnonzero(others))
    raise ValueError(
      f'process {listed} has other settings than process 0: its own message '
      'names them'
    )


def _broadcast(text: str) -> str:
  """Returns the text of process 0."""
  raw = np.frombuffer(text.encode(), np.uint8)
  size = int(multihost_utils.broadcast_one_to_all(np.int32(len(raw))))
  padded = np.zeros(size, np.uint8)
  padded[: min(size, len(raw))] = raw[:size]
  return bytes(multihost_utils.broadcast_one_to_all(padded)).decode()


def _fields(value: Any, name: str = '') -> Iterator[tuple[str, Any]]:
  """Yields ('network.channels', 64) and so on for every leaf."""
  if isinstance(value, Mapping) and value:
    for key, below in value.items():
      yield from _fields(below, f'{name}.{key}' if name else str(key))
  else:
    yield name, list(value) if isinstance(value, tuple) else value
