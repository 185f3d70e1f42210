"""Files of result cards: their fields, checks, metric and row of the table."""

import contextlib
import importlib
import importlib.util
import io
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from jaxdiff import files
from jaxdiff.config import parse, parse_flags
from jaxdiff.config.ranges import NotNegative, Seed, check

Card = dict[str, Any]
_Words = tuple[str, ...]
WRITTEN = {
  'title': str,
  'setup': tuple[_Words, ...],
  'train': _Words,
  'measure': _Words,
  'metric': str,
  'train_seeds': tuple[Seed, ...],
  'seeds': tuple[Seed, ...],
}
MADE = {
  'runs': tuple[dict[str, Any], ...],
  'mean': float,
  'std_samplings': NotNegative,
  'std_trainings': NotNegative | None,
  'tolerance': dict[str, float],
  'minutes': NotNegative,
  'hardware': str,
  'commit': str | None,
  'date': str,
}
TRAIN = 'train.py'  # may be run by a card's setup, as modules may
# The commands that end with the name of one result: those of the evaluation,
# and benchmarks that measure one run.
MEASURES = ('fid', 'clip-score', 'text', 'graphs', 'likelihood')
BENCHMARKS = ('benchmarks.alignment',)


def read(path: str | Path, made: bool = False) -> Card:
  """Reads a card.

  Args:
    path: The file.
    made: Whether it must have numbers.

  Raises:
    FileNotFoundError: there is no such file.
    ValueError: it lacks fields, or has unknown ones, or has them of another
      type, or its numbers do not fit together.
  """
  try:
    card = files.read_json(files.as_path(path), 'the card')
  except FileNotFoundError:
    raise FileNotFoundError(f'there is no card {path}') from None
  wanted = {**WRITTEN, **MADE} if made else WRITTEN
  missing = [n for n in wanted if not isinstance(card, dict) or n not in card]
  if missing:
    raise ValueError(f'{path} is no card, it lacks {missing}')
  prefix = f'{path} is no card:'
  if unknown := sorted({*card} - {*WRITTEN, *MADE}):
    raise ValueError(f'{prefix} this version does not know its {unknown}')
  for name, hint in wanted.items():
    _check(card[name], hint, f'{prefix} {name}')
    if card[name] == [] and name not in ('setup', 'train'):
      raise ValueError(f'{prefix} {name} is empty')
  for name in ('train_seeds', 'seeds'):
    if len({*card[name]}) < len(card[name]):
      raise ValueError(f'{prefix} {name} has one twice, {card[name]}')
  _check_words(card, prefix)
  if made:
    _check_numbers(card, prefix)
  return card


def _check(value: Any, hint: Any, name: str) -> None:
  """Raises ValueError in the words of JSON, which has lists and no tuples."""
  tuples = lambda x: tuple(map(tuples, x)) if isinstance(x, list) else x
  if value == '':
    raise ValueError(f'{name} is empty')
  try:
    check(tuples(value), hint, name)
  except ValueError as error:
    words = str(error).partition(', got ')[0].replace('a tuple of', 'a list of')
    raise ValueError(f'{words}, got {value!r:.80}') from None


def _check_words(card: Card, prefix: str) -> None:
  """Raises ValueError for commands that a card may not have."""
  for command in card['setup']:
    first = ''.join(command[:1])
    if first != TRAIN and not _is_module(first):
      raise ValueError(
        f'{prefix} setup is for modules of jaxdiff and train.py, got {command}'
      )
  known = (*MEASURES, *BENCHMARKS)
  if card['measure'][0] not in known or '{run}' not in card['measure']:
    raise ValueError(
      f'{prefix} measure must be one of {", ".join(known)} with {{run}} for '
      f'the workdir, got {card["measure"]}'
    )
  of_runs = {'train': ('--workdir', '--seed'), 'measure': ('--seed', '--out')}
  for name, flags in of_runs.items():
    words = [word.partition('=')[0] for word in card[name]]
    if found := [flag for flag in flags if flag in words]:
      raise ValueError(
        f'{prefix} {name} has {found[0]}, which is set for each run'
      )


def _is_module(name: str) -> bool:
  """Tells whether a card may run a module before its training."""
  if not re.fullmatch(r'(jaxdiff|benchmarks)(\.\w+)+', name):
    return False
  try:
    found = importlib.util.find_spec(name)
  except ImportError:
    found = None
  # A card may be read without benchmarks/.
  known = found is not None or name.startswith('benchmarks.')
  return known and name != 'jaxdiff.results'


def _check_numbers(card: Card, prefix: str) -> None:
  """Raises ValueError for numbers that are none, or are not of one card."""
  for kind in ('run', 'training'):
    name = f'{prefix} tolerance.{kind}'
    _check(card['tolerance'].get(kind), NotNegative, name)
  for i, run in enumerate(card['runs']):
    _check(run.get('seed'), Seed, f'{prefix} runs.{i}.seed')
    name = f'{prefix} runs.{i}.values'
    _check(run.get('values'), tuple[float, ...], name)
    if len(run['values']) != len(card['seeds']):
      raise ValueError(
        f'{name} must be {len(card["seeds"])} numbers, one for each of seeds, '
        f'got {len(run["values"])}'
      )
  seeds = [run['seed'] for run in card['runs']]
  if seeds != card['train_seeds']:
    raise ValueError(
      f'{prefix} the seeds of runs must be {card["train_seeds"]} as '
      f'train_seeds, got {seeds}'
    )
  values = [x for run in card['runs'] for x in run['values']]
  mean = math.fsum(values) / len(values)
  if not math.isclose(mean, card['mean'], rel_tol=1e-6, abs_tol=1e-12):
    raise ValueError(
      f'{prefix} mean must be {mean:g}, that of the values, got '
      f'{card["mean"]:g}'
    )


def check_commands(card: Card) -> None:
  """Parses the commands of a card.

  Raises:
    ValueError: a flag is unknown or out of range, or a module is not there.
  """
  from jaxdiff.evaluation.__main__ import COMMANDS

  for name, *flags in card['setup']:
    if name == TRAIN:
      _parsed('setup', parse, flags)
    else:
      module = _module(name)
      kind = getattr(module, 'COMMANDS', getattr(module, 'Options', None))
      if kind is not None:
        _parsed('setup', parse_flags, kind, flags)
  _parsed('train', parse, card['train'])
  name, *flags = [*card['measure'], '--seed', '0']
  if name in BENCHMARKS:
    _parsed('measure', parse_flags, _module(name).Options, flags)
  else:
    _parsed('measure', parse_flags, COMMANDS, [name, *flags])


def _module(name: str) -> Any:
  """Imports the module that `python -m NAME` runs."""
  try:
    module = importlib.import_module(name)
    if hasattr(module, '__path__'):
      module = importlib.import_module(f'{name}.__main__')
  except ModuleNotFoundError as error:
    where = ' runs where benchmarks/ is' if name in BENCHMARKS else ''
    raise ValueError(f'{name}{where}: {error}') from None
  return module


def _parsed(field: str, parser: Callable[..., Any], *args: Any) -> None:
  """Parses flags of a card; what the parser would print is an error."""
  said = io.StringIO()
  try:
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
      parser(*args)
  except SystemExit:
    words = re.sub(r'[^\x20-\x7e]+', ' ', said.getvalue()).split()
    raise ValueError(
      f'{field} of the card cannot be parsed: {" ".join(words):.200}'
    ) from None
  except ValueError as error:
    raise ValueError(f'{field} of the card: {error}') from error


def table(cards: Sequence[Card]) -> str:
  """Returns cards as a table in Markdown."""
  head = '| | value | over samplings | over trainings | minutes | measured |'
  return '\n'.join([head, '|---|---|---|---|---|---|', *map(row, cards)])


def row(card: Card) -> str:
  """Returns a card as a row of the table."""
  spread = lambda x: '' if x is None else f'{x:.2g}'
  return (
    f'| {card["title"]} | {card["mean"]:.4g} | {spread(card["std_samplings"])} '
    f'| {spread(card["std_trainings"])} | {card["minutes"]:.0f} '
    f'| {card["hardware"]}, {card["date"]} |'
  )


def number(result: Any, place: str) -> float:
  """Returns the number at a place such as 'bound.0' of a result.

  Raises:
    ValueError: there is none.
  """
  found, rest = result, place
  while rest:
    if isinstance(found, dict) and rest in found:  # a name with dots in it
      part, rest = rest, ''
    else:
      part, _, rest = rest.partition('.')
    try:
      found = found[int(part) if isinstance(found, list) else part]
    except (KeyError, IndexError, ValueError, TypeError):
      raise ValueError(
        f'the result has no {place}: {part!r} is absent'
      ) from None
  if isinstance(found, bool) or not isinstance(found, int | float):
    raise ValueError(f'{place} of the result is no number, but {found!r}')
  return float(found)
