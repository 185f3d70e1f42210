"""Config files beside published weights: JSON, its fields checked when read."""

import json
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

Config = Mapping[str, Any]
T = TypeVar('T')

MAX_BYTES = 1 << 20
MAX_LENGTH = 64  # of a list


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


def flag(config: Config, name: str, default: bool = True) -> bool:
  """Returns a field that is true or false."""
  value = config.get(name, default)
  if not isinstance(value, bool):
    raise ValueError(f'{name} must be true or false, got {_described(value)}')
  return value


def one_of(config: Config, name: str, allowed: Sequence[T]) -> T:
  """Returns a field that is one of a few values; the first is the default."""
  value = config.get(name, allowed[0])
  for known in allowed:
    if type(value) is type(known) and value == known:
      return known
  raise ValueError(
    f'{name} must be one of {list(allowed)}, got {_described(value)}'
  )


def sizes(
  config: Config, name: str, default: int | Sequence[int], num: int = 0
) -> tuple[int, ...]:
  """Returns a field that is a list of sizes; with `num`, one or so many."""
  value = config.get(name)
  found = default if value is None else value
  if num and type(found) is int:
    found = [found] * num
  if (
    not isinstance(found, list | tuple)
    or not all(type(n) is int and 0 < n <= 1 << 20 for n in found)
    or not 0 < len(found) <= MAX_LENGTH
    or (num and len(found) != num)
  ):
    wanted = f'a size, or {num} of them' if num else 'a list of sizes'
    raise ValueError(f'{name} must be {wanted}, got {_described(value)}')
  return tuple(found)


def check_fields(
  config: Config, fixed: Mapping[str, object], read: Collection[str]
) -> None:
  """Raises ValueError for a field that is unknown or has an unknown value.

  Args:
    config: From a file.
    fixed: The fields that have one value, and that value. `null` and false are
      the same.
    read: The other fields. Those that begin with _ may be any.
  """
  for name, value in config.items():
    if name in fixed:
      known = fixed[name]
      if value != known and not (not known and value in (None, False)):
        raise ValueError(f'{name} must be {known!r}, got {_described(value)}')
    elif name not in read and not name.startswith('_'):
      raise ValueError(f'{name[:100]!r} is no known field')


def _described(value: object) -> str:
  simple = isinstance(value, str | int | float)
  return repr(value)[:100] if simple else type(value).__name__
