"""Config files beside published weights: JSON, its fields checked when read."""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

Config = Mapping[str, Any]
T = TypeVar('T')

MAX_BYTES = 1 << 20


def read(
  path: str | os.PathLike, make: Callable[[Config], T], kind: str = 'CLIP'
) -> T:
  """Makes a network of the config in a file.

  Args:
    path: The file.
    make: A config to what is made of it.
    kind: Of network, for messages.

  Raises:
    FileNotFoundError: There is no such file.
    ValueError: It is no JSON object, or makes no network; the message names it.
  """
  path = Path(path)
  if not path.is_file():
    raise FileNotFoundError(
      f'no file at {path}: fetch the {path.name} of these weights, or give '
      'the network they are of'
    )
  try:
    if path.stat().st_size > MAX_BYTES:
      raise ValueError(f'it has more than {MAX_BYTES} bytes')
    config = json.loads(path.read_bytes().decode())
    return make(section({'config': config}, 'config'))
  except (ValueError, RecursionError) as error:
    raise ValueError(f'{path} describes no {kind}: {error}') from error


def section(config: Config, name: str) -> Config:
  """Returns a part of a config that is itself an object."""
  part = config.get(name)
  if not isinstance(part, dict):
    raise ValueError(f'{name} must be an object, got {_described(part)}')
  return part


def field(config: Config, name: str, default: T, most: float = 1 << 20) -> T:
  """Returns a field of the type of its default; a number is in (0, most]."""
  value = config.get(name)
  if value is None:
    return default
  if isinstance(default, float) and type(value) is int:
    value = float(value)
  number = isinstance(default, int | float)
  if type(value) is not type(default) or (number and not 0 < value <= most):
    limits = f' in (0, {most}]' if number else ''
    raise ValueError(
      f'{name} must be {type(default).__name__}{limits}, got '
      f'{_described(value)}'
    )
  return value


def _described(value: object) -> str:
  simple = isinstance(value, str | int | float)
  return repr(value)[:100] if simple else type(value).__name__
