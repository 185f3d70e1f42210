"""Tensors in safetensors files.

A file is the length of a header, the header, and the tensors' bytes one after
another without a gap. The header is JSON,

  {name: {'dtype': 'F32', 'shape': [2, 3], 'data_offsets': [0, 24]}, ..}.

Files may come from strangers, so the header is checked before a tensor is read;
`safe_open` of the library safetensors takes minutes for some headers, and has
no numpy type for some tensors.

Source: https://github.com/huggingface/safetensors, section "Format".
"""

import json
import math
import os
from typing import BinaryIO, NamedTuple

import ml_dtypes
import numpy as np

MAX_HEADER = 1 << 22  # bytes, some 40,000 tensors
MAX_DIMS = 32

_DTYPES = {
  'F64': np.float64,
  'F32': np.float32,
  'F16': np.float16,
  'BF16': ml_dtypes.bfloat16,
  'F8_E4M3': ml_dtypes.float8_e4m3fn,
  'F8_E5M2': ml_dtypes.float8_e5m2,
  'F8_E8M0': ml_dtypes.float8_e8m0fnu,
  'I64': np.int64,
  'I32': np.int32,
  'I16': np.int16,
  'I8': np.int8,
  'U64': np.uint64,
  'U32': np.uint32,
  'U16': np.uint16,
  'U8': np.uint8,
  'BOOL': np.bool_,
  'C64': np.complex64,
}


class _Entry(NamedTuple):
  start: int
  end: int
  dtype: np.dtype
  shape: tuple[int, ...]


def read_safetensors(
  path: str | os.PathLike, prefix: str = ''
) -> dict[str, np.ndarray]:
  """Reads the tensors of a file.

  Args:
    path: The file.
    prefix: Of the names of those that are read.

  Returns:
    Name to array, of the stored type (bfloat16 and 8-bit floats are
    ml_dtypes'). Arrays are read-only.

  Raises:
    OSError: The file cannot be opened or read.
    ValueError: It is no such file, truncated or damaged, or has a tensor of a
      type that numpy has not.
  """
  with open(path, 'rb') as file:
    try:
      return _read(file, prefix)
    except (ValueError, RecursionError) as error:
      raise ValueError(
        f'{os.fspath(path)} cannot be read as safetensors: {error}'
      ) from error


def read_metadata(path: str | os.PathLike) -> dict[str, object]:
  """Reads what a file says of itself, {} if it is damaged or says nothing."""
  with open(path, 'rb') as file:
    try:
      found = _header(file)[1].get('__metadata__')
    except (ValueError, RecursionError):
      found = None
  return found if isinstance(found, dict) else {}


def _header(file: BinaryIO) -> tuple[int, dict[str, object]]:
  """Reads the length of the header, and the header."""
  size = os.fstat(file.fileno()).st_size
  length = int.from_bytes(file.read(8), 'little')
  if length > min(size - 8, MAX_HEADER):
    raise ValueError(
      f'the header has {length} bytes, in a file of {size}; at most '
      f'{MAX_HEADER} are read'
    )
  header = json.loads(file.read(length).decode(), object_pairs_hook=_unique)
  if not isinstance(header, dict):
    raise ValueError('the header is not an object')
  return length, header


def _read(file: BinaryIO, prefix: str) -> dict[str, np.ndarray]:
  length, header = _header(file)
  header.pop('__metadata__', None)
  entries = {name: _entry(name, about) for name, about in header.items()}
  at = 0
  for name, entry in sorted(entries.items(), key=lambda item: item[1][:2]):
    if entry.start != at:
      raise ValueError(
        f'{name[:100]!r} starts at byte {entry.start}, the tensor before it '
        f'ends at {at}'
      )
    at = entry.end
  room = os.fstat(file.fileno()).st_size - 8 - length
  if at != room:
    raise ValueError(f'tensors have {at} bytes, the file has room for {room}')
  arrays = {}
  for name, (start, end, dtype, shape) in entries.items():
    if not name.startswith(prefix):
      continue
    file.seek(8 + length + start)
    array = np.frombuffer(file.read(end - start), dtype)
    arrays[name] = array.reshape(shape)
  return arrays


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
  """Builds a dict of pairs in which no key is twice."""
  found = dict(pairs)
  if len(found) != len(pairs):
    raise ValueError('the header has a name twice')
  return found


def _entry(name: str, about: object) -> _Entry:
  """Checks what the header says of a tensor."""
  match about:
    case {'dtype': str(kind), 'shape': list(shape), 'data_offsets': [a, b]}:
      numbers = (a, b, *shape)
    case _:
      raise ValueError(f'{name[:100]!r} is not described as a tensor')
  if kind not in _DTYPES:
    raise ValueError(
      f'{name[:100]!r} is of type {kind[:20]!r}, not one of {list(_DTYPES)}'
    )
  if len(shape) > MAX_DIMS or not all(
    type(n) is int and 0 <= n < 2**60 for n in numbers
  ):
    raise ValueError(f'{name[:100]!r} has a shape or offsets that are none')
  dtype = np.dtype(_DTYPES[kind])
  if b - a != math.prod(shape) * dtype.itemsize:
    raise ValueError(
      f'{name[:100]!r} of shape {shape} and type {kind} has {b - a} bytes'
    )
  return _Entry(a, b, dtype, tuple(shape))
