"""Images to measure, wherever they are: a folder, an NPZ file, a data set.

Always uint8, always in the same order, a share of them at a time.
"""

import contextlib
import hashlib
import math
import os
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from jaxdiff import data
from jaxdiff.data import Dataset


class Images(NamedTuple):
  """`batches(batch_size, start, stop)` yields uint8 [b, H, W, C] of the images
  from start to stop, the last batch as small as it must be."""

  name: str
  num: int
  shape: tuple[int, int, int]
  batches: Callable[[int, int, int], Iterator[np.ndarray]]


def read(
  source: str | os.PathLike[str] | Dataset, num: int | None = None
) -> Images:
  """Reads the images of a source, or a fixed random subset of `num` of them.

  Args:
    source: a folder of PNG or JPEG files, in the order of their names (see
      `data.sets.folder`); an .npz with uint8 [N, H, W, C] under the name arr_0;
      or what `data.load` returns.
    num: all by default.

  Raises:
    FileNotFoundError: no such folder or file, or no image in it.
    ValueError: the images have several sizes, are not uint8, or are fewer
      than `num`.
  """
  if Path(str(source)).suffix == '.npz' and not isinstance(source, Dataset):
    images = of_npz(source)
    return images if num is None else subset(images, num)
  name = str(source)
  if isinstance(source, Dataset):
    dataset = source
    name = f'{dataset.name} {dataset.split}'
  elif Path(source).is_dir():
    dataset = data.load(f'folder:{source}', 'all', cache_bytes=0)
  else:
    raise FileNotFoundError(
      f'images must be a folder of image files or an .npz file, got {source}'
    )
  if num is not None:
    dataset = data.subset(dataset, num)
  return of_dataset(dataset)._replace(name=name)


def subset(images: Images, num: int) -> Images:
  """Takes a fixed random subset, evenly spread and in the order of the images.

  Raises:
    ValueError: there are not as many.
  """
  if not 1 <= num <= images.num:
    raise ValueError(
      f'{num} images are asked for, {images.name} has {images.num}'
    )
  if num == images.num:
    return images
  chosen = data.spread(images.num, num)

  def batches(batch_size: int, start: int, stop: int) -> Iterator[np.ndarray]:
    waiting: list[np.ndarray] = []
    first, wanted = int(chosen[start]), chosen[start:stop]
    for batch in images.batches(batch_size, first, int(wanted[-1]) + 1):
      here = wanted[(wanted >= first) & (wanted < first + len(batch))] - first
      waiting.extend(batch[here])
      first += len(batch)
      while len(waiting) >= batch_size:
        yield np.stack(waiting[:batch_size])
        waiting = waiting[batch_size:]
    if waiting:
      yield np.stack(waiting)

  return Images(images.name, num, images.shape, batches)


def of_dataset(dataset: Dataset) -> Images:
  """The images of a split, in its own order."""

  def batches(batch_size: int, start: int, stop: int) -> Iterator[np.ndarray]:
    for first in range(start, stop, batch_size):
      indices = np.arange(first, min(first + batch_size, stop))
      yield dataset.gather(indices)['x0']

  name = f'{dataset.name} {dataset.split}'
  return Images(name, len(dataset), dataset.shape, batches)


def of_npz(path: str | os.PathLike[str]) -> Images:
  """arr_0 of an .npz, read batch by batch: it may be larger than memory.

  Raises:
    FileNotFoundError: no such file.
    ValueError: it holds no arr_0, or one that is not uint8 [N, H, W, C].
  """

  def batches(batch_size: int, start: int, stop: int) -> Iterator[np.ndarray]:
    with _opened(path) as file:
      shape = _header(file, path)[1:]
      each = math.prod(shape)
      _read(file, start * each, path, keep=False)
      for first in range(start, stop, batch_size):
        num = min(batch_size, stop - first)
        raw = _read(file, num * each, path)
        yield np.frombuffer(raw, np.uint8).reshape(num, *shape)

  with _opened(path) as file:
    num, *shape = _header(file, path)
  return Images(str(path), num, tuple(shape), batches)


def digest(images: Images, batch_size: int = 256) -> str:
  """SHA-256 of the pixels, in order: the same wherever the images are kept."""
  sha256 = hashlib.sha256(repr((images.num, *images.shape)).encode())
  for batch in images.batches(batch_size, 0, images.num):
    sha256.update(np.ascontiguousarray(batch))
  return sha256.hexdigest()


@contextlib.contextmanager
def _opened(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
  """The file of arr_0 in an .npz; whatever is wrong with it, a ValueError."""
  try:
    with zipfile.ZipFile(path) as archive, archive.open('arr_0.npy') as file:
      yield file
  except (EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
    raise ValueError(
      f'{path} cannot be read as images under arr_0: {error}'
    ) from error


def _header(file: BinaryIO, path: str | os.PathLike[str]) -> tuple[int, ...]:
  """Reads the shape of an .npy file, and leaves it at the first pixel."""
  version = np.lib.format.read_magic(file)
  read = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
  }[version]
  shape, fortran, dtype = read(file)
  if dtype != np.uint8 or len(shape) != 4 or fortran or not shape[0]:
    raise ValueError(
      f'arr_0 must be uint8 [N, H, W, C], got {dtype} {list(shape)} in {path}'
    )
  return shape


def _read(
  file: BinaryIO, num: int, path: str | os.PathLike[str], keep: bool = True
) -> bytes:
  """`num` bytes in pieces, for one call may return fewer."""
  pieces = []
  while num:
    piece = file.read(min(num, 2**24))
    if not piece:
      raise ValueError(f'{path} is cut short')
    num -= len(piece)
    if keep:
      pieces.append(piece)
  return b''.join(pieces)
