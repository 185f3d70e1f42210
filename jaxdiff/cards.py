"""Files of result cards: their fields, checks, numbers and table."""

import importlib
from collections.abc import Sequence
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
  'date': str,
}
TRAIN = 'train.py'  # may be run by a card's setup, as modules may
# The commands that end with the name of one result: those of the evaluation,
# and benchmarks that measure one run.
MEASURES = ('fid', 'clip-score', 'text', 'graphs', 'likelihood')
BENCHMARKS = ('benchmarks.alignment',)


def read(path: str | Path, made: bool = False) -> Card:
  """Reads a card.

  Raises:
    ValueError: it lacks fields, or has them of another type.
  """
  card = files.read_json(files.as_path(path), 'the card')
  wanted = {**WRITTEN, **MADE} if made else WRITTEN
  missing = [n for n in wanted if not isinstance(card, dict) or n not in card]
  if missing:
    raise ValueError(f'{path} is no card, it lacks {missing}')
  tuples = lambda x: tuple(map(tuples, x)) if isinstance(x, list) else x
  prefix = f'{path} is no card:'
  for name, hint in wanted.items():
    check(tuples(card[name]), hint, f'{prefix} {name}')
    if not card[name] and name in ('measure', 'train_seeds', 'seeds', 'runs'):
      raise ValueError(f'{prefix} {name} is empty')
  for command in card['setup']:
    first = ''.join(command[:1])
    if first != TRAIN and not first.startswith(('jaxdiff.', 'benchmarks.')):
      raise ValueError(
        f'{prefix} setup is for modules of jaxdiff and train.py, got {command}'
      )
  known = (*MEASURES, *BENCHMARKS)
  if card['measure'][0] not in known or '{run}' not in card['measure']:
    raise ValueError(
      f'{prefix} measure must be one of {", ".join(known)} with {{run}} for '
      f'the workdir, got {card["measure"]}'
    )
  for flag in ('--workdir', '--seed'):
    if any(word.partition('=')[0] == flag for word in card['train']):
      raise ValueError(f'{prefix} train has {flag}, which is set for each run')
  if made:
    for kind in ('run', 'training'):
      check(card['tolerance'].get(kind), NotNegative, f'{prefix} tolerance')
    check(card['runs'][0].get('seed'), Seed, f'{prefix} seed of runs')
  return card


def check_commands(card: Card) -> None:
  """Parses the commands of a card.

  Raises:
    ValueError: a flag is out of range, or the benchmark is not there.
    SystemExit: there is no such flag; it is printed.
  """
  from jaxdiff.evaluation.__main__ import COMMANDS

  for flags in [c[1:] for c in card['setup'] if c[0] == TRAIN]:
    parse(flags)
  parse(card['train'])
  name, *flags = [*card['measure'], '--seed', '0']
  if name not in BENCHMARKS:
    parse_flags(COMMANDS, [name, *flags])
    return
  try:
    benchmark = importlib.import_module(name)
  except ModuleNotFoundError as e:
    raise ValueError(f'{name} runs where benchmarks/ is: {e}') from None
  parse_flags(benchmark.Options, flags)


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
