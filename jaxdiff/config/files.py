"""A configuration from a file, the command line, or JSON, and back."""

import argparse
import dataclasses
import json
import runpy
import typing
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import tyro

from jaxdiff.config.fields import Config


def load_file(path: str) -> Config:
  """The `config` that a file of configs/ defines."""
  file = Path(path)
  if not file.exists():
    beside = file.parent if file.parent.is_dir() else Path('configs')
    known = sorted(str(p) for p in beside.glob('*.py'))
    raise ValueError(f'--config {path} does not exist; there are {known}')
  config = runpy.run_path(str(file)).get('config')
  if not isinstance(config, Config):
    raise ValueError(f'{path} must define `config`, a jaxdiff.config.Config')
  return dataclasses.replace(config, config=path)


def parse(argv: Sequence[str] | None = None) -> Config:
  """The command line: the file of --config, with every flag given over it."""
  first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
  first.add_argument('--config', default=Config.config)
  default = load_file(first.parse_known_args(argv)[0].config)
  return tyro.cli(Config, default=default, args=argv)


def from_dict(
  values: Mapping[str, Any], kind: Any = Config, at: str = ''
) -> Any:
  """The inverse of `dataclasses.asdict`, for what JSON made of it.

  Raises:
    ValueError: unknown fields, each with the nearest known one.
  """
  types = typing.get_type_hints(kind)
  for name in values:
    if name not in types:
      near = get_close_matches(name, types, 1)
      hint = f', did you mean {at}{near[0]}?' if near else ''
      raise ValueError(f'unknown field {at}{name}{hint}')

  def value(name: str, x: Any) -> Any:
    if dataclasses.is_dataclass(types[name]):
      return from_dict(x, types[name], f'{at}{name}.')
    return tuple(x) if isinstance(x, list) else x

  return kind(**{name: value(name, x) for name, x in values.items()})


def to_dict(config: Any) -> dict[str, Any]:
  """As JSON holds it: tuples are lists."""
  return json.loads(json.dumps(dataclasses.asdict(config)))
