"""Tensors in the files of `torch.save`, read without torch.

A file is a pickle of tensors and the storages they are views of, flat arrays:
in a zip archive as `data/KEY`, or, before torch 1.6, one after another behind
the pickle. Files may come from strangers: nothing in one is run, and nothing
is believed about sizes before it is compared with the file's.
"""

import io
import math
import os
import pickle
from typing import BinaryIO

import numpy as np

from jaxdiff.pretrained import torch_pickles, zip_files
from jaxdiff.pretrained.torch_pickles import Storage, Tensor

MAX_PICKLE = 1 << 26  # bytes

# Old files begin with a magic number and a version, each a pickle.
_LEGACY = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2)


def read_torch(
  path: str | os.PathLike, prefix: str = ''
) -> dict[str, np.ndarray]:
  """Reads a state dict from a file that `torch.save` wrote.

  Args:
    path: A `.pth`, `.pt`, `.bin` or `.ckpt` file, of either format.
    prefix: Of the names of the tensors that are read. They may then also be in
      the `state_dict` of a run of PyTorch Lightning, whose rest is not read.

  Returns:
    Name to array, of the stored type (bfloat16 is ml_dtypes'). Arrays are
    read-only, and those that share memory in torch share it here.

  Raises:
    OSError: The file cannot be opened.
    ValueError: It is no such file, truncated or damaged; its pickle names
      anything but tensors; it holds anything but a flat dict of tensors; a
      tensor is outside its storage, or larger than the file.
  """
  with open(path, 'rb') as file:
    size = os.fstat(file.fileno()).st_size
    try:
      zipped = file.read(4) == zip_files.SIGNATURE
      read = _read_zip if zipped else _read_legacy
      tensors, data = read(file, size, prefix)
      return {name: _view(t, data, size) for name, t in tensors.items()}
    # Whatever a broken file can make a parser raise, the file is to blame.
    except Exception as error:
      raise ValueError(
        f'{os.fspath(path)} cannot be read as tensors of torch.save: {error}'
      ) from error


def _read_zip(
  file: BinaryIO, size: int, prefix: str
) -> tuple[dict[str, Tensor], dict[str, bytes]]:
  """Reads the tensors of a prefix and the bytes of their storages."""
  del size
  archive = zip_files.open_archive(file)
  sizes = {member.filename: member.file_size for member in archive.infolist()}
  # The name of the folder inside is free; the file in it is not.
  pickles = [name for name in sizes if name.endswith('/data.pkl')]
  if len(pickles) != 1:
    raise ValueError(f'the archive must have one data.pkl, got {len(pickles)}')
  folder = pickles[0].removesuffix('data.pkl')
  if f'{folder}byteorder' in sizes:
    _check_order(archive.read(f'{folder}byteorder'))
  if sizes[pickles[0]] > MAX_PICKLE:
    raise ValueError(f'its pickle has {sizes[pickles[0]]} bytes')
  content, storages = torch_pickles.load(io.BytesIO(archive.read(pickles[0])))
  tensors, data = _tensors(content, prefix), {}
  used = {tensor.storage.key for tensor in tensors.values()}
  for storage in storages.values():
    name = f'{folder}data/{storage.key}'
    _check_storage(storage, sizes.get(name, 0))
    if storage.key in used:
      data[storage.key] = archive.read(name) if name in sizes else b''
  return tensors, data


def _read_legacy(
  file: BinaryIO, size: int, prefix: str
) -> tuple[dict[str, Tensor], dict[str, bytes]]:
  """Reads the tensors of a prefix and the bytes of all storages."""
  file.seek(0)
  head = file.read(min(size, MAX_PICKLE))
  if not head.startswith(_LEGACY):
    raise ValueError('it starts with neither of the two formats')
  stream = io.BytesIO(head)
  stream.seek(len(_LEGACY))
  system, _ = torch_pickles.load(stream)
  match system:
    case {'little_endian': bool(little)}:
      _check_order(b'little' if little else b'big')
    case _:
      raise ValueError('it does not say the order of its bytes')
  content, storages = torch_pickles.load(stream)
  keys, _ = torch_pickles.load(stream)
  if not isinstance(keys, list):
    raise ValueError('it does not say which storages it has')
  file.seek(stream.tell())
  data = {}
  for key in keys:
    # The type first: an object of any other may take forever to hash.
    if not isinstance(key, str) or key not in storages:
      raise ValueError('it has a storage that no tensor is in')
    storage = storages[key]
    count = int.from_bytes(file.read(8), 'little', signed=True)
    length = count * storage.dtype.itemsize
    _check_storage(storage, length)
    if length > size - file.tell():  # before `read` reserves it
      raise ValueError(f'storage {key[:100]!r} ends early')
    data[key] = file.read(length)
  if storages.keys() - data.keys():
    raise ValueError('it lacks a storage that a tensor is in')
  return _tensors(content, prefix), data


def _check_order(order: bytes) -> None:
  if order != b'little':
    raise ValueError('it was written on a big-endian machine')


def _check_storage(storage: Storage, length: int) -> None:
  if length != storage.size * storage.dtype.itemsize:
    raise ValueError(
      f'storage {storage.key[:100]!r} should have {storage.size} elements of '
      f'{storage.dtype}, and has {length} bytes'
    )


def _tensors(content: object, prefix: str) -> dict[str, Tensor]:
  """Returns the tensors of a prefix in a flat dict, or in its state_dict."""
  if prefix and isinstance(content, dict):
    content = content.get('state_dict', content)
  if not isinstance(content, dict):
    raise ValueError(
      f'it must hold a dict of tensors, got {type(content).__name__}'
    )
  others = [
    f'{name[:100]!r} ({type(value).__name__})'
    for name, value in content.items()
    if not isinstance(value, Tensor)
  ]
  if others:
    raise ValueError(
      'it must hold a flat dict of tensors, but these entries are none: '
      f'{", ".join(others[:20])}; save the state dict alone'
    )
  return {name: x for name, x in content.items() if name.startswith(prefix)}


def _view(tensor: Tensor, data: dict[str, bytes], most: int) -> np.ndarray:
  """Returns a tensor as a read-only view of its storage."""
  storage, start, size, offset, shape, strides = tensor
  flat = np.frombuffer(data[storage.key], storage.dtype)[start : start + size]
  number = math.prod(shape)
  if number == 0:
    return np.zeros(shape, storage.dtype)
  # as_strided checks nothing, and beyond the end is other memory.
  reach = sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
  if offset + reach >= len(flat):
    raise ValueError(
      f'a tensor of shape {shape} and strides {strides} from element {offset} '
      f'is not inside its storage of {len(flat)}'
    )
  # An expanded tensor is small here, and of any size once it is copied.
  if number * storage.dtype.itemsize > most:
    raise ValueError(f'a tensor of shape {shape} is larger than the file')
  steps = [storage.dtype.itemsize * step for step in strides]
  return np.lib.stride_tricks.as_strided(flat[offset:], shape, steps)
