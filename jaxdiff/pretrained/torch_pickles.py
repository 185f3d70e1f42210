"""Pickles of torch.save, interpreted without running anything they name.

A pickle is a program for a stack machine, and may call any function. This
interpreter knows the instructions that a dict of tensors takes and three
functions, all its own. A tensor of torch becomes a `Tensor`:

  _rebuild_tensor_v2(storage, offset, size, stride, ...)

The number of instructions is bounded, and each takes a bounded time and makes
at most one object. Objects are not hashed, compared or printed before their
type is known: for tuples within tuples that can take forever.

Source: the documentation of instructions in Python's `pickletools`.
"""

import io
import pickletools
from collections.abc import Callable
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

MAX_INSTRUCTIONS = 1 << 20  # a tensor takes about 40
MAX_STRING = 1 << 12
MAX_DIMS = 32
MAX_ARGUMENTS = 8
MAX_NUMBER = 1 << 60

_STORAGES = {
  'DoubleStorage': np.float64,
  'FloatStorage': np.float32,
  'HalfStorage': np.float16,
  'BFloat16Storage': ml_dtypes.bfloat16,
  'LongStorage': np.int64,
  'IntStorage': np.int32,
  'ShortStorage': np.int16,
  'CharStorage': np.int8,
  'ByteStorage': np.uint8,
  'BoolStorage': np.bool_,
}


class Storage(NamedTuple):
  """A flat array, kept beside the pickle."""

  key: str
  dtype: np.dtype
  size: int


class Tensor(NamedTuple):
  """A view of the elements of a storage from `start` to `start + size`.

  These are all of the storage, but in old files. `offset` counts from `start`;
  it and `strides` are in elements.
  """

  storage: Storage
  start: int
  size: int
  offset: int
  shape: tuple[int, ...]
  strides: tuple[int, ...]


class _Part(NamedTuple):
  storage: Storage
  start: int
  size: int


class _Function(NamedTuple):
  run: Callable[..., object]


def load(stream: io.BytesIO) -> tuple[object, dict[str, Storage]]:
  """Interprets the pickle that the stream is at.

  Returns:
    Its value, and the storages that it names by their key.

  Raises:
    ValueError: It is damaged, too long, or names or does anything that a dict
      of tensors does not need.
  """
  machine = _Machine()
  for number, (code, value, _) in enumerate(pickletools.genops(stream)):
    if number == MAX_INSTRUCTIONS:
      raise ValueError(f'a pickle has more than {number} instructions')
    machine.run(code.name, value)
  return machine.pop(), machine.storages


class _Machine:
  """The stack machine."""

  def __init__(self):
    self.stack: list[object] = []
    self.outer: list[list[object]] = []  # stacks below the marks
    self.memo: dict[int, object] = {}
    self.storages: dict[str, Storage] = {}

  def run(self, code: str, value: Any) -> None:
    """Runs an instruction; `value` is what follows it in the pickle."""
    push, pop, top = self.push, self.pop, self.top
    match code:
      case 'PROTO' | 'STOP':
        pass
      case 'MARK':
        self.outer.append(self.stack)
        self.stack = []
      case 'BINPUT' | 'LONG_BINPUT':
        self.memo[value] = top(object)
      case 'BINGET' | 'LONG_BINGET':
        if value not in self.memo:
          raise ValueError('a pickle recalls what it has not kept')
        push(self.memo[value])
      case 'NONE' | 'BININT' | 'BININT1' | 'BININT2' | 'LONG1' | 'BINFLOAT':
        push(value)
      case 'NEWTRUE' | 'NEWFALSE':
        push(code == 'NEWTRUE')
      case 'BINUNICODE' | 'BINSTRING' | 'SHORT_BINSTRING':
        if len(value) > MAX_STRING:
          raise ValueError(f'a string has {len(value)} characters')
        push(value)
      case 'EMPTY_TUPLE':
        push(())
      case 'TUPLE1' | 'TUPLE2' | 'TUPLE3':
        push(tuple(reversed([pop() for _ in range(int(code[-1]))])))
      case 'TUPLE':
        items = self.marked()
        push(tuple(items))
      case 'EMPTY_LIST':
        push([])
      case 'APPEND':
        item = pop()
        top(list).append(item)
      case 'APPENDS':
        items = self.marked()
        top(list).extend(items)
      case 'EMPTY_DICT':
        push({})
      case 'SETITEM':
        item, key = pop(), pop()
        _set_item(top(dict), key, item)
      case 'SETITEMS':
        items = self.marked()
        for key, item in zip(items[::2], items[1::2], strict=True):
          _set_item(top(dict), key, item)
      case 'BUILD':  # the `_metadata` of a state dict
        pop()
        top(dict)
      case 'GLOBAL':
        push(_global(*value.split(' ', 1)))
      case 'REDUCE':
        arguments, function = pop(), pop()
        _check(function, _Function)
        _check(arguments, tuple)
        if len(arguments) > MAX_ARGUMENTS:
          raise ValueError(f'a function takes {len(arguments)} arguments')
        push(function.run(*arguments))
      case 'BINPERSID':
        part = _part(pop())
        key = part.storage.key
        if self.storages.setdefault(key, part.storage) != part.storage:
          raise ValueError(f'storage {key[:100]!r} is of two types or sizes')
        push(part)
      case _:
        raise ValueError(f'a dict of tensors does not need {code}')

  def push(self, value: object) -> None:
    self.stack.append(value)

  def top(self, kind: type) -> Any:
    """Returns the top of the stack, checked to be of a type."""
    if not self.stack:
      raise ValueError('a pickle takes more from the stack than is there')
    _check(self.stack[-1], kind)
    return self.stack[-1]

  def pop(self) -> object:
    self.top(object)
    return self.stack.pop()

  def marked(self) -> list[object]:
    """Takes everything above the last mark off the stack."""
    if not self.outer:
      raise ValueError('a pickle has no mark where it needs one')
    items, self.stack = self.stack, self.outer.pop()
    return items


def _check(value: object, kind: type) -> None:
  if not isinstance(value, kind):
    raise ValueError(
      f'a pickle takes a {type(value).__name__} for a '
      f'{kind.__name__.strip("_").lower()}'
    )


def _set_item(table: dict[str, object], key: object, value: object) -> None:
  if not isinstance(key, str):
    raise ValueError(f'a key must be a string, got {type(key).__name__}')
  table[key] = value


def _global(module: str, name: str) -> _Function | np.dtype | str:
  found = _FUNCTIONS.get((module, name))
  if found:
    return found
  if module == 'torch' and name in _STORAGES:
    return np.dtype(_STORAGES[name])
  if (module, name) == _INERT:
    return name
  raise ValueError(
    f'it names {f"{module}.{name}"[:100]!r}, which a dict of tensors does not '
    'need, and which is not run here; save the state dict alone'
  )


def _part(saved: object) -> _Part:
  """Parses a persistent id: a storage, or in old files a part of one."""
  match saved:
    case ('storage', np.dtype() as dtype, str(key), _, int(size), *view):
      part = _Part(Storage(key, dtype, size), 0, size)
    case _:
      raise ValueError('a pickle names a storage that is none')
  match view:
    case [] | [None]:
      pass
    case [(_, int(start), int(length))]:
      part = part._replace(start=start, size=length)
    case _:
      raise ValueError('a pickle names a part that is none of a storage')
  if not 0 <= part.start <= part.start + part.size <= size < MAX_NUMBER:
    raise ValueError(f'storage {key[:100]!r} has a size or a part that is none')
  return part


def _rebuild_tensor(
  part: object, offset: object, shape: object, strides: object, *rest: object
) -> Tensor:
  _check(part, _Part)
  _check(shape, tuple)
  _check(strides, tuple)
  if len(shape) != len(strides) or len(shape) > MAX_DIMS:
    raise ValueError(
      f'a tensor has {len(shape)} dimensions and {len(strides)} strides'
    )
  numbers = (offset, *shape, *strides)
  if not all(type(n) is int and 0 <= n < MAX_NUMBER for n in numbers):
    raise ValueError('a tensor has a size, stride or offset that is none')
  return Tensor(*part, offset, shape, strides)


def _ordered_dict(*items: object) -> dict[str, object]:
  """Builds a dict. Python 2 gives pairs in a list; Python 3 adds them later."""
  table = {}
  for pairs in items:
    _check(pairs, list)
    for pair in pairs:
      _check(pair, list)
      key, value = pair
      _set_item(table, key, value)
    # Or a pickle could make many dicts out of one long list.
    pairs.clear()
  return table


# Kept by a run of PyTorch Lightning beside its tensors; nothing of it is run.
_INERT = ('pytorch_lightning.callbacks.model_checkpoint', 'ModelCheckpoint')
_FUNCTIONS = {
  ('collections', 'OrderedDict'): _Function(_ordered_dict),
  ('torch._utils', '_rebuild_tensor_v2'): _Function(_rebuild_tensor),
  ('torch._utils', '_rebuild_parameter'): _Function(
    lambda tensor, *rest: tensor
  ),
}
