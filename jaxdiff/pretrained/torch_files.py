"""Tensors out of the files of `torch.save`, without torch.

A file is a pickle in which every tensor is a call,

  _rebuild_tensor_v2(storage, offset, size, stride, ...),

and a storage is a flat array kept beside the pickle: in a zip archive as
`data/KEY`, or, before torch 1.6, one after another behind the pickle. A pickle
may call anything; this reader lets it name what a state dict needs and nothing
else, so that a file from a stranger can be opened.
"""

import io
import math
import os
import pickle
import zipfile
from collections import OrderedDict
from typing import BinaryIO, NamedTuple

import ml_dtypes
import numpy as np

_DTYPES = {
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
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C


class _Storage(NamedTuple):
  key: str
  dtype: np.dtype
  start: int  # of a view into another storage, which old files have
  size: int


class _Tensor(NamedTuple):
  storage: _Storage
  offset: int
  shape: tuple[int, ...]
  strides: tuple[int, ...]  # in elements


def read_torch(path: str | os.PathLike) -> dict[str, np.ndarray]:
  """Reads a state dict from a file that `torch.save` wrote.

  Args:
    path: of a `.pth`, `.pt`, `.bin` or `.ckpt` file, either format.

  Returns:
    Name to array, of the stored type (bfloat16 is ml_dtypes'). Arrays are
    read-only, and those that share memory in torch share it here.

  Raises:
    ValueError: not such a file, truncated or damaged; a pickle that names
      anything but tensors; content other than a flat dict of tensors; a
      tensor outside its storage.
  """
  with open(path, 'rb') as file:
    try:
      content, data = _unpickle(file)
      _check_flat(content)
      return {name: _view(t, data) for name, t in content.items()}
    # Whatever a broken file can make a parser raise, the file is to blame.
    except Exception as error:
      raise ValueError(
        f'{os.fspath(path)} cannot be read as tensors of torch.save '
        f'({type(error).__name__}): {error}'
      ) from error


def _unpickle(file: BinaryIO) -> tuple[object, dict[str, bytes]]:
  """What the file holds, with the bytes of each storage."""
  zipped = file.read(4) == b'PK\x03\x04'
  file.seek(0)
  return _read_zip(file) if zipped else _read_legacy(file)


def _check_flat(content: object) -> None:
  if not isinstance(content, dict):
    raise ValueError(
      f'it must hold a dict of tensors, got {type(content).__name__}'
    )
  others = [
    f'{name!r} ({type(value).__name__})'
    for name, value in content.items()
    if not (isinstance(name, str) and isinstance(value, _Tensor))
  ]
  if others:
    raise ValueError(
      'it must hold a flat dict of tensors, but these entries are none: '
      f'{", ".join(others)}; save the state dict alone'
    )


class _Unpickler(pickle.Unpickler):
  """Makes `_Tensor`s; refuses every global a state dict has no need of."""

  def find_class(self, module: str, name: str):
    if (module, name) == ('collections', 'OrderedDict'):
      return OrderedDict
    if (module, name) == ('torch._utils', '_rebuild_tensor_v2'):
      return lambda storage, offset, size, stride, *rest: _Tensor(
        storage, offset, size, stride
      )
    if (module, name) == ('torch._utils', '_rebuild_parameter'):
      return lambda tensor, *rest: tensor
    if module == 'torch' and name in _DTYPES:
      return name  # a string: nothing can be called or changed through it
    raise pickle.UnpicklingError(
      f'it names {module}.{name}, which a dict of tensors does not need, and '
      'which is not run here; save the state dict alone'
    )

  def persistent_load(self, saved: tuple) -> _Storage:
    kind, name, key, _, size, *view = saved
    if kind != 'storage' or name not in _DTYPES:
      raise pickle.UnpicklingError(f'not a storage: {saved}')
    dtype = np.dtype(_DTYPES[name])
    if view and view[0] is not None:
      _, start, length = view[0]
      return _Storage(key, dtype, start, length)
    return _Storage(key, dtype, 0, size)


def _read_zip(file: BinaryIO) -> tuple[object, dict[str, bytes]]:
  with zipfile.ZipFile(file) as archive:
    # The name of the folder inside is free; the file in it is not.
    pickles = [n for n in archive.namelist() if n.endswith('/data.pkl')]
    if len(pickles) != 1:
      raise ValueError(f'the archive must have one data.pkl, got {pickles}')
    folder = pickles[0].removesuffix('data.pkl')
    if f'{folder}byteorder' in archive.namelist():
      _little_endian(archive.read(f'{folder}byteorder') == b'little')
    content = _Unpickler(io.BytesIO(archive.read(pickles[0]))).load()
    data = {
      name.removeprefix(f'{folder}data/'): archive.read(name)
      for name in archive.namelist()
      if name.startswith(f'{folder}data/')
    }
  return content, data


def _read_legacy(file: BinaryIO) -> tuple[object, dict[str, bytes]]:
  load = lambda: _Unpickler(file, encoding='utf-8').load()
  if load() != _LEGACY_MAGIC:
    raise ValueError('it starts with neither of the two formats')
  version, system = load(), load()
  if version != 1001:
    raise ValueError(f'protocol version must be 1001, got {version}')
  _little_endian(system['little_endian'])
  storages = {}

  class Unpickler(_Unpickler):
    def persistent_load(self, saved):
      storage = super().persistent_load(saved)
      storages[storage.key] = storage.dtype.itemsize
      return storage

  content = Unpickler(file, encoding='utf-8').load()
  data = {}
  for key in load():
    count = int.from_bytes(file.read(8), 'little', signed=True)
    data[key] = file.read(max(count, 0) * storages[key])
    if len(data[key]) != count * storages[key]:
      raise EOFError(f'storage {key} ends early')
  return content, data


def _little_endian(little: bool) -> None:
  if not little:
    raise ValueError('it was written on a big-endian machine')


def _view(tensor: _Tensor, data: dict[str, bytes]) -> np.ndarray:
  """The tensor's elements where they lie in its storage; read-only."""
  (key, dtype, start, size), offset, shape, strides = tensor
  if key not in data:
    raise ValueError(f'a tensor lies in storage {key}, which the file lacks')
  flat = np.frombuffer(data[key], dtype)[start : start + size]
  if math.prod(shape) == 0:
    return np.zeros(shape, dtype)
  # as_strided believes what it is told, and beyond the end is other memory.
  reach = [(n - 1) * step for n, step in zip(shape, strides, strict=True)]
  if min(offset, *shape, *strides, 0) < 0 or offset + sum(reach) >= len(flat):
    raise ValueError(
      f'a tensor of shape {shape} and strides {strides} from element {offset} '
      f'is not inside its storage of {len(flat)}'
    )
  steps = [dtype.itemsize * step for step in strides]
  # Read-only, as the bytes under it are.
  return np.lib.stride_tricks.as_strided(flat[offset:], shape, steps)
