"""A configuration from a file, the command line, or JSON, and back."""

import argparse
import dataclasses
import json
import runpy
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax

from jaxdiff import files
from jaxdiff.config import migration
from jaxdiff.config.config import Config
from jaxdiff.config.diffusion import Categorical
from jaxdiff.config.ranges import Count, check, parse_flags


class Spec(NamedTuple):
  """The properties of a data set on which a model depends.

  For graphs, which are dicts of nodes and edges, shape, categories and
  marginals are dicts too.
  """

  modality: Literal['points', 'image', 'text', 'graph']
  shape: tuple[int, ...] | dict[str, tuple[int, ...]]  # of one example
  num_classes: Count | None = None
  text_dims: tuple[int, int] | None = None  # text sequence and text vector
  # The number of categories; None: real numbers.
  categories: int | dict[str, int] | None = None
  symbols: tuple[str, ...] | None = None  # how a category is written
  # The frequency of each category.
  marginals: tuple[float, ...] | dict[str, tuple[float, ...]] | None = None
  sizes: tuple[float, ...] | None = None  # distribution of sizes; None: fixed
  # `models.latent.measure`: shape, shift and scale of latents, and a hash.
  latents: dict[str, Any] | None = None
  # `Dataset.identity`, cut texts; None in older runs.
  data: dict[str, Any] | None = None
  init: str | None = None  # the hash of the weights that the run began with


def load_file(path: str) -> Config:
  """Runs a file of configs/ and returns its `config`.

  A `configs/NAME.py` that is not here is the one that ships with the package.

  Raises:
    ValueError: no such file, or it does not define a Config.
  """
  from jaxdiff import recipes

  file = files.local(path)
  if file.parts[:1] == ('configs',) and not file.parent.exists():
    file = recipes.shipped(path)
  if not file.is_file():
    near = (file, file.parent, Path('configs'), recipes.shipped('configs'))
    beside = next(folder for folder in near if folder.is_dir())
    known = sorted(str(p) for p in beside.glob('*.py'))
    what = 'is no regular file' if file.exists() else 'does not exist'
    what = 'is a folder' if file.is_dir() else what
    raise ValueError(f'--config {path} {what}; there are {known}')
  try:
    config = runpy.run_path(str(file)).get('config')
  except ValueError as error:
    raise ValueError(f'{path}: {error}') from error
  except Exception as error:
    raise ValueError(
      f'{path} cannot be run: {type(error).__name__}: {error}'
    ) from error
  if not isinstance(config, Config):
    raise ValueError(f'{path} must define `config`, a jaxdiff.config.Config')
  return dataclasses.replace(config, config=path)


def parse(
  argv: Sequence[str] | None = None,
  published: Callable[[Config, str | None], Config] = lambda config, _: config,
) -> Config:
  """Reads the command line: the file of --config, then every flag over it.

  Args:
    argv: the words; None for those of the command.
    published: (the file's configuration with --init and --data.image-size,
      --diffusion.prediction) -> that on which flags act.

  Raises:
    ValueError: a value out of range; the message names the flag.
  """
  first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
  first.add_argument('--config', default=Config.config)
  first.add_argument('--init')
  first.add_argument('--data.image-size', '--data.image_size', dest='size')
  first.add_argument('--diffusion.prediction', dest='prediction')
  known, _ = first.parse_known_args(argv)
  default = load_file(known.config)
  if known.init is not None:
    default = dataclasses.replace(default, init=known.init)
  if str(known.size).isdecimal() and int(known.size):
    data = dataclasses.replace(default.data, image_size=int(known.size))
    default = dataclasses.replace(default, data=data)
  default = published(default, known.prediction)
  argv, default = migration.renamed_flags(argv, default)
  config = parse_flags(Config, argv, default)
  from jaxdiff.config.effects import check_effect  # of command lines alone

  check_effect(config, default)
  return config


_LATENTS: dict[str, Any] = dict.fromkeys(('shift', 'scale'), tuple[float, ...])
_LATENTS |= {'shape': tuple[int, int, int], 'sha256': str | None}


def from_dict(
  values: Mapping[str, Any], kind: Any = Config, at: str = ''
) -> Any:
  """Builds a dataclass from nested mappings, as JSON holds them.

  A section that may be of several classes has its name under 'kind'.

  Raises:
    ValueError: unknown fields, each with the nearest known one; values of
      another type or out of range.
  """
  if not isinstance(values, Mapping):
    raise ValueError(f'{at.rstrip(".") or "config"} must be an object')
  kinds = typing.get_args(kind) if _is_union(kind) else (kind,)
  if len(kinds) > 1:
    by_name = {k.__name__: k for k in kinds}
    name = values.get('kind')
    if name not in by_name:
      raise ValueError(f'{at}kind must be one of {list(by_name)}, got {name!r}')
    kind = by_name[name]
    values = {k: v for k, v in values.items() if k != 'kind'}
  hints = typing.get_type_hints(kind)
  hints.pop('prefix', None)
  for name in values:
    if name not in hints:
      near = get_close_matches(name, hints, 1)
      hint = f', did you mean {at}{near[0]}?' if near else ''
      raise ValueError(f'unknown field {at}{name}{hint}')

  def value(name: str, x: Any) -> Any:
    hint = hints[name]
    parts = typing.get_args(hint) if _is_union(hint) else (hint,)
    if all(dataclasses.is_dataclass(part) for part in parts):
      return from_dict(x, hint, f'{at}{name}.')
    return tuple(x) if isinstance(x, list) else x

  return kind(**{name: value(name, x) for name, x in values.items()})


def to_dict(config: Any) -> dict[str, Any]:
  """Returns nested mappings as JSON holds them: tuples become lists."""
  values = json.loads(json.dumps(dataclasses.asdict(config)))
  for name, hint in typing.get_type_hints(type(config)).items():
    if _is_union(hint) and dataclasses.is_dataclass(getattr(config, name)):
      values[name] = {'kind': type(getattr(config, name)).__name__} | values[
        name
      ]
  return values


def _is_union(hint: Any) -> bool:
  return typing.get_origin(hint) in (typing.Union, types.UnionType)


def describe(config: Config, spec: Spec) -> dict[str, Any]:
  """Returns the content of `workdir/config.json`, all that sampling needs."""
  return {**to_dict(config), 'spec': json.loads(json.dumps(spec._asdict()))}


def undescribe(saved: Mapping[str, Any]) -> tuple[Config, Spec]:
  """Reads what `describe` returned, from this version or an older one.

  Raises:
    ValueError: a field is missing, unknown, or has the wrong type.
  """
  try:
    return _undescribe(saved)
  except (TypeError, KeyError, AttributeError, OverflowError) as error:
    raise ValueError(f'a field is of the wrong type: {error}') from error


def _undescribe(saved: Mapping[str, Any]) -> tuple[Config, Spec]:
  saved = migration.migrated(saved)
  beside = ('spec', 'history', 'started')
  values = {k: v for k, v in saved.items() if k not in beside}

  def tuples(x: Any) -> Any:
    if isinstance(x, dict):
      return {name: tuples(value) for name, value in x.items()}
    return tuple(map(tuples, x)) if isinstance(x, list) else x

  if not isinstance(saved.get('spec'), dict):
    raise ValueError('spec, the properties of its data set, is missing')
  if not isinstance(saved.get('history', []), list):
    raise ValueError('history must be a list')
  config, spec = from_dict(values), Spec(**tuples(saved['spec']))
  _check_spec(spec, isinstance(config.diffusion, Categorical))
  return config, spec


def _check_spec(spec: Spec, categorical: bool) -> None:
  """Raises ValueError for fields of the wrong type, or that do not fit."""
  hints = typing.get_type_hints(Spec, include_extras=True)
  for name, value in spec._asdict().items():
    check(value, hints[name], f'spec.{name}')
  rank = {'points': 1, 'image': 3, 'text': 1}.get(spec.modality)
  parts = spec.shape if isinstance(spec.shape, dict) else ()
  if len(spec.shape) != rank if rank else 'edges' not in parts:
    raise ValueError(f'spec.shape is not that of {spec.modality}: {spec.shape}')
  # Leaves of tuples and dicts alike.
  if any(n < 1 for n in jax.tree.leaves((spec.shape, spec.categories))):
    raise ValueError('spec.shape and spec.categories must be positive')
  for name in ('categories', 'marginals'):
    value = getattr(spec, name)
    if value is None and categorical:
      raise ValueError(f'spec.{name} is missing')
    keys = set(value) if isinstance(value, dict) else None
    if value is not None and keys != (set(parts) if parts else None):
      raise ValueError(f'spec.{name} is not that of {spec.modality}: {value}')
  if spec.latents is not None:
    if set(spec.latents) != set(_LATENTS):
      raise ValueError(f'spec.latents must have the fields {sorted(_LATENTS)}')
    for name, value in spec.latents.items():
      check(value, _LATENTS[name], f'spec.latents.{name}')
    shape, shift, scale = (spec.latents[x] for x in ('shape', 'shift', 'scale'))
    if min(shape) < 1 or not len(shift) == len(scale) == shape[-1]:
      raise ValueError('spec.latents does not fit together')
  if not isinstance((spec.data or {}).get('classes', ()), tuple):
    raise ValueError('spec.data.classes must be a list')
