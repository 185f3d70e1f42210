"""The configuration a run was made with: `workdir/config.json`.

Knows nothing of what a configuration holds: nested mappings of what JSON can.
"""

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any


def save_config(
  workdir: str | os.PathLike[str], config: Mapping[str, Any]
) -> None:
  """Writes `workdir/config.json`, whole or not at all.

  Args:
    workdir: made if it does not exist.
    config: nested mappings of what JSON can hold; tuples become lists.
  """
  path = Path(workdir) / 'config.json'
  path.parent.mkdir(parents=True, exist_ok=True)
  temporary = path.with_name(f'config.json.{os.getpid()}')
  with open(temporary, 'w') as file:
    file.write(json.dumps(config, indent=2) + '\n')
    file.flush()
    os.fsync(file.fileno())
  temporary.replace(path)


def load_config(workdir: str | os.PathLike[str]) -> dict[str, Any]:
  """Reads what `save_config` wrote.

  Raises:
    FileNotFoundError: if there is none, so `workdir` is not that of a run.
    ValueError: if it is damaged.
  """
  path = Path(workdir) / 'config.json'
  if not path.exists():
    raise FileNotFoundError(f'{path} does not exist: {workdir} holds no run')
  try:
    config = json.loads(path.read_text())
  except ValueError as error:
    raise ValueError(f'{path} is damaged: {error}') from error
  if not isinstance(config, dict):
    raise ValueError(f'{path} is damaged: expected an object, got {config!r}')
  return config


def check_config(
  saved: Mapping[str, Any], new: Mapping[str, Any], sections: Sequence[str]
) -> None:
  """Refuses to go on from a checkpoint with a configuration it was not made of.

  Args:
    saved: the configuration beside the checkpoints.
    new: the one asked for now.
    sections: top-level fields in which the two must agree.

  Raises:
    ValueError: naming each differing field, or a section neither of them has.
  """
  # Through JSON, as `saved` went, so that a tuple equals its list.
  new = json.loads(json.dumps(new))
  differing = []
  for section in sections:
    if section not in saved and section not in new:
      raise ValueError(f'no section {section!r} among {sorted(new)}')
    old_fields, new_fields = (
      dict(_fields(section, config[section])) if section in config else {}
      for config in (saved, new)
    )
    for name in old_fields | new_fields:
      old_value, new_value = (
        repr(fields[name]) if name in fields else 'no such field'
        for fields in (old_fields, new_fields)
      )
      if old_value != new_value:
        differing.append(
          f'{name}: checkpoint has {old_value}, config has {new_value}'
        )
  if differing:
    raise ValueError(
      'the checkpoints were made with another configuration:\n  '
      + '\n  '.join(differing)
    )


def _fields(name: str, value: Any) -> Iterator[tuple[str, Any]]:
  """`network.channels`, 64 and so on for every leaf below `name`."""
  if isinstance(value, Mapping) and value:
    for key, below in value.items():
      yield from _fields(f'{name}.{key}', below)
  else:
    yield name, value


@contextlib.contextmanager
def only_writer(workdir: str | os.PathLike[str]) -> Iterator[None]:
  """Holds the workdir for this process; a killed one lets it go.

  Raises:
    BlockingIOError: another process holds it.
  """
  path = Path(workdir) / '.lock'
  path.parent.mkdir(parents=True, exist_ok=True)
  with open(path, 'w') as file:
    try:
      fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
      raise BlockingIOError(
        f'another run is writing to {workdir}: wait for it, or use another '
        'workdir'
      ) from None
    yield
