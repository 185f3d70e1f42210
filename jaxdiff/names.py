"""Names in a configuration: 'name', 'name(1, key=2)', 'package.module:name'.

A table of names maps each to a factory, or to the 'package.module:function'
where the factory is, which is imported when the name is used. A name with a
colon is looked up in its own package, so that code outside this library can
be named wherever a name is asked for:

  --diffusion.schedule cosine
  --sampling.sampler 'unipc(order=3)'
  --diffusion.schedule 'mylab.schedules:slow(0.3)'
"""

import ast
import importlib
import inspect
import typing
from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any, NamedTuple

Factory = Callable[..., Any]


class Value(NamedTuple):
  """An entry of a table that is the object itself, and takes no arguments."""

  value: Any


Table = Mapping[str, Factory | Value | str]

# The largest argument that a name is ever given: 10^12 is a slip of the hand.
_MOST_FLOAT, _MOST = 1_000_000, 2**31 - 1


class Call(NamedTuple):
  """A parsed name and its arguments."""

  name: str
  args: tuple[Any, ...] = ()
  kwargs: Mapping[str, Any] = {}


@cache
def parse(text: str, flag: str) -> Call:
  """Parses 'name' or 'name(1, key=2)'; the arguments are Python literals.

  Args:
    text: the name.
    flag: what an error calls it, such as 'sampling.sampler'.

  Raises:
    ValueError: the text is neither.
  """
  if '(' not in text:
    return Call(text)
  name, _, rest = text.partition('(')
  try:
    node = ast.parse(f'f({rest}', mode='eval').body
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
      raise ValueError('not one call')
    args = tuple(ast.literal_eval(arg) for arg in node.args)
    if any(k.arg is None for k in node.keywords):
      raise ValueError('unpacks a dict')
    kwargs = {k.arg: ast.literal_eval(k.value) for k in node.keywords}
  except (SyntaxError, TypeError, ValueError, MemoryError) as error:
    raise ValueError(
      f"{flag} must be a name or a call such as 'name(1, key=2)', got {text!r}"
    ) from error
  if len(kwargs) < len(node.keywords):
    raise ValueError(f'{flag}={text} gives an argument twice')
  return Call(name.strip(), args, kwargs)


def name_of(text: str, flag: str) -> str:
  """The name in 'name' or 'name(1, key=2)'."""
  return parse(text, flag).name


def resolve(path: str, flag: str) -> Factory:
  """Imports the object that 'package.module:name' names.

  Raises:
    ValueError: the module cannot be imported, the name in it does not exist, or
      is no function of known parameters.
  """
  module, _, name = path.partition(':')
  try:
    found = getattr(importlib.import_module(module), name)
  except (ImportError, AttributeError, ValueError, TypeError) as error:
    raise ValueError(f'{flag}={path} cannot be imported: {error}') from error
  except Exception as error:  # of whatever the module does
    raise ValueError(f'{flag}={path} cannot be imported: {error!r}') from error
  try:
    inspect.signature(found)
  except (TypeError, ValueError) as error:
    raise ValueError(
      f'{flag}={path} is no function of known parameters'
    ) from error
  return found


def find(table: Table, name: str, flag: str) -> Factory | Value:
  """Finds the entry of a name.

  Args:
    table: the names that are known.
    name: one of them, or 'package.module:function'.
    flag: what an error calls it.

  Raises:
    ValueError: an unknown name; the message lists the known ones.
  """
  if name in table:
    entry = table[name]
    return resolve(entry, flag) if isinstance(entry, str) else entry
  if ':' in name:
    return resolve(name, flag)
  raise ValueError(f'{flag} must be one of {sorted(table)}, got {name!r}')


def make(table: Table, text: str, flag: str, /, **context: Any) -> Any:
  """Calls the factory that a name stands for; see `bind`.

  Raises:
    ValueError: as `bind`, or of the factory.
  """
  build = bind(table, text, flag, **context)
  try:
    return build()
  except (TypeError, ValueError, ArithmeticError) as error:
    raise ValueError(f'{flag}={text}: {error}') from error


def bind(
  table: Table, text: str, flag: str, /, **context: Any
) -> Callable[[], Any]:
  """Finds the factory that a name stands for, with its arguments.

  The factory receives those values of the context for which it has a
  parameter; the arguments of the text fill its other parameters.

  Args:
    table: name -> factory.
    text: the name, with arguments if it takes any.
    flag: what an error calls it.
    **context: what a factory may depend on, such as schedule=...

  Raises:
    ValueError: an unknown name, or arguments that the factory does not take.
  """
  call = parse(text, flag)
  factory = find(table, call.name, flag)
  if isinstance(factory, Value):
    if call.args or call.kwargs:
      raise ValueError(f'{flag}={text}: {call.name} takes no arguments')
    return lambda: factory.value
  signature = inspect.signature(factory)
  context = {k: x for k, x in context.items() if k in signature.parameters}
  # Written without a name, an argument is none of the context.
  free = [name for name in signature.parameters if name not in context]
  unnamed = dict(zip(free, call.args, strict=False))
  written = unnamed | dict(call.kwargs)
  try:
    if len(call.args) > len(free):
      raise TypeError(f'takes at most {len(free)} arguments')
    if twice := sorted(unnamed.keys() & call.kwargs):
      raise TypeError(f'gives {twice[0]} twice')
    bound = signature.bind(**(context | written))
  except TypeError as error:
    raise ValueError(f'{flag}={text}: {error}') from error
  _check_literals(factory, written, f'{flag}={text}')
  return partial(factory, *bound.args, **bound.kwargs)


def _check_literals(
  factory: Factory, written: Mapping[str, Any], text: str
) -> None:
  """Raises ValueError for literals of the wrong type, and for absurd ones."""
  if not written:
    return
  try:
    hints = typing.get_type_hints(factory)
  except (NameError, TypeError, AttributeError):
    hints = {}  # annotations that only a type checker understands
  parameters = inspect.signature(factory).parameters
  for name, value in written.items():
    default = parameters[name].default
    wanted = _scalar(hints.get(name)) or _scalar(type(default))
    if wanted and not _is(value, wanted):
      raise ValueError(
        f'{text}: {name} must be of type {wanted.__name__}, got {value!r}'
      )
    most = _MOST_FLOAT if wanted is float else _MOST
    for x in value if isinstance(value, list | tuple) else (value,):
      if isinstance(x, int | float) and not -most <= x <= most:
        raise ValueError(
          f'{text}: {name} must be in [-{most}, {most}], got {x}'
        )


def _scalar(hint: Any) -> type | None:
  """The one type of number or text that a hint asks for, if it is one."""
  if hint in (int, float, str, bool):
    return hint
  # ArrayLike stands for a number that may be traced.
  parts = set(typing.get_args(hint))
  return float if {int, float, complex} <= parts else None


def _is(value: Any, wanted: type) -> bool:
  if wanted is float:
    return isinstance(value, int | float) and not isinstance(value, bool)
  if wanted is int:
    return isinstance(value, int) and not isinstance(value, bool)
  return isinstance(value, wanted)
