"""Data sets of images to measure, by name.

digits[:SPLIT]  tfds:NAME[:SPLIT]    a name of `data.load`; without SPLIT the
folder:PATH[:SPLIT]  npz:FILE        split 'train'
DIR  FILE.npz                        all images there
"""

import hashlib
import re
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from jaxdiff import data, files
from jaxdiff.data import Dataset
from jaxdiff.data.sets import FILES, SETS


class Source(NamedTuple):
  """The arguments of `data.load`."""

  name: str
  split: str
  image_size: int | None = None
  data_dir: str | None = None
  downsampling: str = 'bicubic'

  def __str__(self) -> str:
    if self.split == 'all':
      return self.name.partition(':')[2] or self.name
    return f'{self.name} {self.split}'

  def file_name(self) -> str:
    """Returns a name for files: the path of a folder or a file, or the set's.

    Parts of images in one place are told apart by their split.
    """
    kind, _, rest = self.name.partition(':')
    name = rest if kind in ('folder', 'npz') else self.name.replace(':', '_')
    return name if self.split == 'all' else f'{name}.{self.split}'

  def load(self) -> Dataset:
    """Loads the images."""
    *positional, downsampling = self
    return data.load(*positional, downsampling=downsampling)


def parse(text: str) -> Source:
  """Parses the name of a data set, or a path.

  Raises:
    FileNotFoundError: Neither of them.
    ValueError: A file of text.
  """
  kind, colon, rest = text.partition(':')
  if text and files.as_path(text).is_dir():
    return Source(f'folder:{text}', 'all')
  if text.endswith('.npz') and kind not in SETS:
    return Source(f'npz:{text}', 'all')
  if kind not in SETS and (not colon or rest.startswith('//')):
    raise FileNotFoundError(
      f'images must be a folder, an .npz file or one of {sorted(SETS)}, got '
      f'{text}'
    )
  if kind in FILES and kind not in ('folder', 'npz'):
    raise ValueError(f'{text} has no images')
  if kind in SETS and kind not in ('tfds', 'folder', 'npz'):
    return Source(kind, rest or 'train')
  # tfds:mnist:3.0.1 ends in a version, folder:a:b may be a path.
  split = 'train|val|test|all' if kind == 'folder' else r'[A-Za-z_]\w*'
  found = re.fullmatch(f'(.+):({split})', rest)
  name, split = found.groups() if found else (rest, 'train')
  return Source(f'{kind}:{name}', split)


def title(dataset: Dataset) -> str:
  """Returns the name of a data set with its split."""
  return str(Source(dataset.name, dataset.split))


def batches(
  dataset: Dataset, batch_size: int, start: int, stop: int
) -> Iterator[np.ndarray]:
  """Yields images start .. stop - 1, uint8 [b, H, W, C]."""
  for first in range(start, stop, batch_size):
    yield dataset.gather(np.arange(first, min(first + batch_size, stop)))['x0']


def digest(dataset: Dataset, batch_size: int = 256) -> str:
  """Computes the SHA-256 of the pixels in order, wherever they are kept."""
  sha256 = hashlib.sha256(repr((len(dataset), *dataset.shape)).encode())
  for x in batches(dataset, batch_size, 0, len(dataset)):
    sha256.update(np.ascontiguousarray(x))
  return sha256.hexdigest()
