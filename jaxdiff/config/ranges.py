"""Ranges of configuration values, written as annotations and checked once.

  learning_rate: Annotated[float, In('(0, 10]')] = 2e-4
  schedule: Annotated[str, Name(registry.SCHEDULES)] = 'cosine'

`Section` checks every field of a dataclass when it is built: its type, that a
number is finite, and what the annotation says. So a value that comes from a
file, from the command line or from JSON meets the same check.
"""

import inspect
import math
import types
import typing
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, fields
from functools import cache
from typing import Any, ClassVar

import tyro

from jaxdiff import names
from jaxdiff.checks import number
from jaxdiff.config.kinds import Kind


@dataclass(frozen=True)
class In:
  """An interval in the usual notation: '[0, 1)', '(0, 10]'."""

  text: str

  def check(self, value: Any, flag: str) -> None:
    """Raises ValueError for a number outside; None is not a number."""
    for x in value if isinstance(value, tuple) else (value,):
      if x is not None:
        number(flag, x, self.text)


@dataclass(frozen=True)
class Name:
  """A name of a table, with arguments if its factory takes any.

  `trial` gives the context with which the factory is called once to find out
  whether its arguments are right; None only looks the name up. A factory from
  outside is called too, and must build the `kind`. With `takes`, and no trial,
  it is not called: it is a function of some of these.
  """

  table: names.Table
  trial: Callable[[], dict[str, Any]] | None = None
  kind: Kind | None = None
  takes: tuple[str, ...] = ()

  def check(self, value: str | None, flag: str) -> None:
    """Raises ValueError for an unknown name and for wrong arguments."""
    if value is None:
      return
    call = names.parse(value, flag)
    outside = call.name not in self.table
    if outside:
      found = names.find(self.table, call.name, flag)
    if self.takes:
      if outside and not {*self.takes} & {*inspect.signature(found).parameters}:
        raise ValueError(
          f'{flag}={value} must be a function of some of '
          f'{", ".join(self.takes)}'
        )
      names.bind(self.table, value, flag, **dict.fromkeys(self.takes))
    elif self.trial is not None and (
      call.args or call.kwargs or (outside and self.kind)
    ):
      built = names.make(self.table, value, flag, **self.trial())
      if outside and self.kind:
        self.kind.check(built, f'{flag}={value}')

  def __hash__(self) -> int:
    return id(self)


# Numbers of things: none of them needs more, and 10^12 is a slip of the hand.
Count = typing.Annotated[int, In('[1, 2147483647]')]
Steps = typing.Annotated[int, In('[1, 1000000]')]  # of noise
Size = typing.Annotated[int, In('[1, 65536]')]
Seed = typing.Annotated[int, In('[0, 2147483647]')]
Fraction = typing.Annotated[float, In('[0, 1]')]
# Widths of averages of weights, see `averages`.
Std = typing.Annotated[float, In('(0, 0.288675]')]
# Nothing here is meant to be larger; a learning rate is below 10 by far.
Positive = typing.Annotated[float, In('(0, 1000000]')]
NotNegative = typing.Annotated[float, In('[0, 1000000]')]
Rate = typing.Annotated[float, In('(0, 10]')]
Temperature = typing.Annotated[float, In('[0.000001, 1000]')]


# Whether the checks wait until a command line is parsed.
_waiting: ContextVar[bool] = ContextVar('waiting', default=False)


@dataclass(frozen=True)
class Section:
  """A dataclass whose fields are checked when it is built."""

  prefix: ClassVar[str] = ''  # of its flags, such as 'training.'

  def __post_init__(self) -> None:
    if not _waiting.get():
      self.check()

  def check(self) -> None:
    """Raises ValueError for a field of the wrong type or out of range."""
    for field in fields(self):
      value, hint = getattr(self, field.name), _hints(type(self))[field.name]
      if isinstance(value, Section):
        value.check()
      flag = f'--{self.prefix}{field.name}'.replace('_', '-')
      check(value, hint, flag)


def flags_of(section: Section) -> list[str]:
  """Returns the flags of a section and of those in it."""
  names = [x.name for x in fields(section)]
  inner = [getattr(section, name) for name in names]
  found = [f'--{section.prefix}{x}'.replace('_', '-') for x in names]
  more = [flags_of(x) for x in inner if isinstance(x, Section)]
  return sum(more, found)


def parse_flags(
  kind: Any, argv: Sequence[str] | None = None, default: Any = None
) -> Any:
  """Parses a command line into a dataclass.

  Args:
    kind: a class of sections, or {command: class}.
    argv: the words; None are those of the process.
    default: the values from which the flags start.

  Raises:
    ValueError: one line that names the flag, what is allowed and what came.
  """
  token = _waiting.set(True)
  try:
    if isinstance(kind, dict):
      parsed = tyro.extras.subcommand_cli_from_dict(kind, args=argv)
    else:
      extra = {} if default is None else {'default': default}
      parsed = tyro.cli(
        kind, args=argv, config=(tyro.conf.AvoidSubcommands,), **extra
      )
  finally:
    _waiting.reset(token)
  parsed.check()
  return parsed


@cache
def _hints(kind: type) -> dict[str, Any]:
  return typing.get_type_hints(kind, include_extras=True)


def check(value: Any, hint: Any, flag: str) -> None:
  """Raises ValueError unless a value has the type and range of an annotation.

  Args:
    value: of the field.
    hint: its annotation: a type, a union, a Literal, a tuple, or Annotated.
    flag: what an error calls it.
  """
  notes = ()
  while typing.get_origin(hint) is typing.Annotated:
    hint, *more = typing.get_args(hint)
    notes = (*notes, *more)
  if not _matches(value, hint):
    raise ValueError(f'{flag} must be {_words(hint)}, got {value!r}')
  for x in value if isinstance(value, tuple) else (value,):
    if isinstance(x, int) and abs(x) >= 10**38:  # may be no float at all
      raise ValueError(f'{flag} must be below 1e38, got {x.bit_length()} bits')
    if isinstance(x, float) and not math.isfinite(x):
      raise ValueError(f'{flag} must be a finite number, got {x}')
    if isinstance(x, float) and x and not 1e-37 < abs(x) < 1e38:
      raise ValueError(f'{flag} must be a number of float32, got {x}')
    if x == '':  # as of a variable of the shell that is not set
      raise ValueError(f'{flag} is empty: give a value, or leave it out')
  for part in _parts(hint):
    if typing.get_origin(part) is typing.Annotated:
      notes = (*notes, *typing.get_args(part)[1:])
  for note in notes:
    if hasattr(note, 'check'):
      note.check(value, flag)


def _parts(hint: Any) -> tuple[Any, ...]:
  """The members of a union or of a tuple, the hint itself otherwise."""
  origin = typing.get_origin(hint)
  if origin in (typing.Union, types.UnionType, tuple):
    return tuple(p for p in typing.get_args(hint) if p is not Ellipsis)
  return (hint,)


def _matches(value: Any, hint: Any) -> bool:
  origin, args = typing.get_origin(hint), typing.get_args(hint)
  if origin is typing.Annotated:
    return _matches(value, args[0])
  if origin in (typing.Union, types.UnionType):
    return any(_matches(value, arg) for arg in args)
  if origin is typing.Literal:
    return any(value == arg and type(value) is type(arg) for arg in args)
  if origin is tuple:
    if not isinstance(value, tuple):
      return False
    if args[-1] is Ellipsis:
      return all(_matches(x, args[0]) for x in value)
    return len(value) == len(args) and all(map(_matches, value, args))
  if origin is dict:
    return isinstance(value, dict) and all(
      _matches(x, args[1]) for x in value.values()
    )
  if hint is Any:
    return True
  if hint is type(None):
    return value is None
  if hint is float:
    return isinstance(value, int | float) and not isinstance(value, bool)
  if hint is int:
    return isinstance(value, int) and not isinstance(value, bool)
  return isinstance(value, hint)


def _words(hint: Any) -> str:
  """A type in words, for errors."""
  origin, args = typing.get_origin(hint), typing.get_args(hint)
  if origin is typing.Annotated:
    return _words(args[0])
  if origin in (typing.Union, types.UnionType):
    return ' or '.join(dict.fromkeys(map(_words, args)))
  if origin is typing.Literal:
    return f'one of {list(args)}'
  if origin is tuple:
    return f'a tuple of {_words(args[0])}'
  names_of = {
    int: 'a whole number',
    float: 'a number',
    str: 'a text',
    bool: 'true or false',
    type(None): 'None',
  }
  return names_of.get(hint, f'a {getattr(hint, "__name__", hint)}')
