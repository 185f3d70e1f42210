"""Dataset: a split of a data set, as a function from indices to arrays."""

import concurrent.futures
import dataclasses
import functools
import hashlib
import math
import os
from collections.abc import (
  Callable,
  Collection,
  Iterable,
  Iterator,
  Sequence,
)
from typing import Any, Literal, NamedTuple

import jax
import numpy as np

from jaxdiff.data.shuffling import Uniforms

Arrays = dict[str, Any]  # arrays, or dicts of them
Gather = Callable[[np.ndarray], Arrays]

CACHE_BYTES = 4 << 30
_NAMED = 12  # classes that a summary names


class Cut(NamedTuple):
  """Number of texts that lose their end, of how many, at what length."""

  num: int
  of: int
  length: int


@dataclasses.dataclass(frozen=True)
class Dataset:
  """A split of a data set.

  Attributes:
    name: The name that `load` was called with.
    split: Name of the split, such as 'train'.
    modality: What an example is.
    size: Number of examples, also `len(dataset)`.
    shape: (H, W, C) of an image, (L,) of a text, {'nodes': (N,), 'edges': (N,
      N)} of a graph, any shape of points.
    num_classes: Number of labels, or None for a set without labels.
    gather: Indices [b] to new arrays at every call, safe from several threads:
      'x0'       float32 [b, ...]; or images as uint8 [b, H, W, C]; or
                 categories as int32 [b, ...] or a dict of them
      'mask'     bool, a tree like x0: true where an element exists; elsewhere
                 x0 is 0. Only in sets whose examples differ in size.
      'label'    int32 [b], where the set has labels
      'caption'  str [b], of dtype object, where the set has captions
    has_captions: Whether `gather` returns captions; see `encoded`.
    categories: None for numbers. Otherwise x0 is in 0 .. categories - 1; a dict
      where x0 is one. Edges are symmetric, and 0 is no edge.
    symbols: How category k is written: characters of a text, atoms of a
      molecule. None where they have no names.
    class_names: Name of each label; () where they have none.
    splits: Names of all splits of the set, where it says them.
    content: Yields (part, bytes): what identifies the data of all splits,
      without their path. Of large data these are the names, the sizes and a
      sample. A set that is made by code needs none.
    cut: The texts or captions that are too long.
  """

  name: str
  split: str
  modality: Literal['points', 'image', 'text', 'graph']
  size: int
  shape: tuple[int, ...] | dict[str, tuple[int, ...]]
  num_classes: int | None
  gather: Gather
  has_captions: bool = False
  categories: int | dict[str, int] | None = None
  symbols: tuple[str, ...] | None = None
  class_names: tuple[str, ...] = ()
  splits: tuple[str, ...] = ()
  content: Callable[[], Iterable[tuple[str, bytes]]] = tuple
  cut: Cut | None = None

  def __len__(self) -> int:
    return self.size

  @functools.cached_property
  def identity(self) -> dict[str, Any]:
    """Identity of the data, the same under every path.

    {'kind': 'folder', 'classes': [...]} and a SHA-256 of each part of
    `content`, such as 'images'; the same for all splits.
    """
    hashes: dict[str, Any] = {}
    for part, content in self.content():
      digest = hashes.setdefault(part, hashlib.sha256())
      digest.update(b'%d:' % len(content))
      digest.update(content)
    return {
      'kind': self.name.partition(':')[0],
      'classes': self.class_names,
      **{part: digest.hexdigest() for part, digest in hashes.items()},
    }

  def digest(self) -> str:
    """Computes one SHA-256 of the identity and the vocabulary."""
    text = repr((self.modality, self.symbols, self.identity))
    return hashlib.sha256(text.encode()).hexdigest()

  def summary(self) -> str:
    """Describes the set in one line: size, shape, classes and splits.

    Example:
      'digits train: 1,497 images of 8x8x1, 10 classes; splits: train, test'
    """
    units = {'image': 'images', 'text': 'texts', 'graph': 'graphs'}
    shapes = self.shape if isinstance(self.shape, dict) else {'': self.shape}
    shape = max(shapes.values(), key=len)
    parts = [
      f'{self.name} {self.split}: {self.size:,} '
      f'{units.get(self.modality, "points")} of {"x".join(map(str, shape))}'
    ]
    if self.num_classes:
      names = ', '.join(self.class_names[:_NAMED])
      more = ', ...' if len(self.class_names) > _NAMED else ''
      parts.append(
        f'{self.num_classes} classes' + (f' ({names}{more})' if names else '')
      )
    if self.has_captions:
      parts.append('captions')
    line = ', '.join(parts)
    if self.splits:
      line += f'; splits: {", ".join(self.splits)}'
    if self.cut and self.cut.num:
      line += '; {:,} of {:,} texts are cut to {} tokens'.format(*self.cut)
    return line


def check_split(split: str, splits: Collection[str], name: str = '') -> None:
  """Raises ValueError unless `split` is one of `splits`."""
  if split not in splits:
    of = f' of {name!r}' if name else ''
    raise ValueError(f'split{of} must be one of {list(splits)}, got {split!r}')


def in_memory(
  name: str,
  split: str,
  modality: str,
  arrays: Arrays,
  num_classes: int | None = None,
  **more: Any,
) -> Dataset:
  """Makes a data set of the arrays of all examples, as `gather` returns them.

  `more` are further attributes of it.
  """
  x0 = arrays['x0']
  return Dataset(
    name=name,
    split=split,
    modality=modality,
    size=len(jax.tree.leaves(x0)[0]),
    shape=jax.tree.map(lambda x: x.shape[1:], x0),
    num_classes=num_classes,
    gather=_rows(arrays),
    has_captions='caption' in arrays,
    **more,
  )


def _rows(arrays: Arrays) -> Gather:
  return lambda indices: jax.tree.map(lambda x: x[indices], arrays)


def spread(size: int, num: int) -> np.ndarray:
  """Draws one index from each of `num` equal stretches of 0 .. size - 1."""
  ends = np.arange(1, num + 1) * size // num
  starts = np.concatenate([[0], ends[:-1]])
  return starts + (Uniforms(0).draw(num) * (ends - starts)).astype(np.int64)


def subset(dataset: Dataset, num: int) -> Dataset:
  """Takes a fixed random subset, in the order of the set.

  It is evenly spread: one random example of each of `num` equal stretches.

  Raises:
    ValueError: `num` is not in 1 .. len(dataset).
  """
  size = len(dataset)
  if not 1 <= num <= size:
    raise ValueError(
      f'num must be in 1 .. {size}, the examples of {dataset.name} '
      f'{dataset.split}, got {num}'
    )
  chosen = spread(size, num)
  return dataclasses.replace(
    dataset, size=num, gather=lambda indices: dataset.gather(chosen[indices])
  )


def encoded(
  dataset: Dataset, encode: Callable[[Sequence[str]], Arrays]
) -> Dataset:
  """Replaces captions [b] by conditions, such as {'tokens': int32 [b, L]}.

  Raises:
    ValueError: The set has no captions.
  """
  if not dataset.has_captions:
    raise ValueError(
      f'only captions can be encoded, and {dataset.name} {dataset.split} has '
      'none'
    )

  def gather(indices: np.ndarray) -> Arrays:
    arrays = dict(dataset.gather(indices))
    return arrays | encode(list(arrays.pop('caption')))

  return dataclasses.replace(dataset, gather=gather, has_captions=False)


def count_cut(
  dataset: Dataset,
  count: Callable[[str], int],
  length: int,
  limit: int = 20_000,
) -> Cut:
  """Counts captions of more than `length` tokens, among `limit` or all."""
  part = subset(dataset, min(limit, len(dataset)))
  num = 0
  for start in range(0, len(part), 1024):
    indices = np.arange(start, min(start + 1024, len(part)))
    captions = part.gather(indices)['caption']
    num += sum(count(caption) > length for caption in captions)
  return Cut(num, len(part), length)


def pixels(dataset: Dataset) -> Dataset:
  """Makes the pixel values of images 256 categories, int32.

  Raises:
    ValueError: The set has neither images nor categories.
  """
  if dataset.categories is not None:
    return dataset
  if dataset.modality != 'image':
    raise ValueError(f'{dataset.name} has no categories: its x0 are numbers')

  def gather(indices: np.ndarray) -> Arrays:
    arrays = dict(dataset.gather(indices))
    return arrays | {'x0': arrays['x0'].astype(np.int32)}

  return dataclasses.replace(dataset, gather=gather, categories=256)


def from_files(dataset: Dataset, cache_bytes: int = CACHE_BYTES) -> Dataset:
  """Reads images by several threads, or into memory up to `cache_bytes`.

  Decoding an image releases the interpreter lock, so threads are enough.
  """
  num_threads = min(16, os.cpu_count() or 1)
  pool = concurrent.futures.ThreadPoolExecutor(num_threads, 'jaxdiff-read')

  def gather(indices: np.ndarray) -> Arrays:
    # One piece a thread: a future per image would cost as much as the image.
    pieces = np.array_split(indices, max(1, min(num_threads, len(indices))))
    parts = list(pool.map(dataset.gather, pieces))
    return {k: np.concatenate([part[k] for part in parts]) for k in parts[0]}

  if dataset.size * math.prod(dataset.shape) <= cache_bytes:
    gather = _rows(_everything(gather, len(dataset)))
    pool.shutdown()
  return dataclasses.replace(dataset, gather=gather)


def _everything(gather: Gather, size: int, chunk: int = 4096) -> Arrays:
  """Gathers all examples."""
  arrays: Arrays = {}
  for start in range(0, size, chunk):
    part = gather(np.arange(start, min(start + chunk, size)))
    for key, value in part.items():
      # Filled piece by piece: joining at the end would need twice the memory.
      if key not in arrays:
        arrays[key] = np.empty((size, *value.shape[1:]), value.dtype)
      arrays[key][start : start + len(value)] = value
  return arrays


def sample(dataset: Dataset) -> Iterator[tuple[str, bytes]]:
  """Yields 1,000 examples of a split, as the content of a set without one."""
  size = len(dataset)
  arrays = dataset.gather(spread(size, min(size, 1000)))
  for x in jax.tree.leaves(arrays):
    raw = repr(list(x)).encode() if x.dtype == object else x.tobytes()
    yield f'{dataset.split} split', raw
