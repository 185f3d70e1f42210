"""A set of examples read by index: from its files, or from memory."""

import concurrent.futures
import dataclasses
import math
import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

Arrays = dict[str, Any]  # arrays, or dicts of them


@dataclasses.dataclass(frozen=True)
class Dataset:
  """A split of a set of images, texts or graphs.

  Attributes:
    name: What `load` was asked for.
    split: The split, such as 'train'.
    size: Number of examples, also `len(dataset)`.
    shape: Of one example: (H, W, C) of an image, (L,) of a text, {'nodes':
      (N,), 'edges': (N, N)} of a graph.
    num_classes: Number of labels, or None for a set without labels.
    gather: Indices [b] to new arrays at every call, safe from several threads:
      'x0'       images as uint8 [b, H, W, C] in [0, 255]; categories as int32
                 [b, ...] or a dict of them
      'mask'     bool, a tree like x0: true where an element exists; where it
                 does not x0 is 0. Only of sets whose examples differ in size.
      'label'    int32 [b], where the set has labels
      'caption'  str [b] (of dtype object, since they differ in length), where
                 the set has captions
    has_captions: Whether `gather` returns captions; `encoded` makes
      conditions of them.
    categories: None for images. Otherwise x0 is in 0 .. categories - 1; a dict
      where x0 is one. Edges are symmetric, 0 is no edge.
    symbols: What category k is written as: characters of a text, atoms of a
      molecule. None where they have no names.
  """

  name: str
  split: str
  size: int
  shape: tuple[int, ...] | dict[str, tuple[int, ...]]
  num_classes: int | None
  gather: Callable[[np.ndarray], Arrays]
  has_captions: bool = False
  categories: int | dict[str, int] | None = None
  symbols: tuple[str, ...] | None = None

  def __len__(self) -> int:
    return self.size

  @property
  def num_bytes(self) -> int:
    """Memory the images take as uint8 arrays."""
    return self.size * math.prod(self.shape)


def encoded(
  dataset: Dataset, encode: Callable[[Sequence[str]], Arrays]
) -> Dataset:
  """The same set with what `encode` makes of its captions in their place.

  Args:
    dataset: A set with captions.
    encode: Captions [b] to {name: [b, ...]}, such as {'tokens': int32 [b, L]}.

  Raises:
    ValueError: If the set has no captions.
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


def pixels(dataset: Dataset) -> Dataset:
  """A set of images whose values are 256 categories, int32, not numbers."""
  if dataset.categories is not None:
    return dataset

  def gather(indices: np.ndarray) -> Arrays:
    arrays = dict(dataset.gather(indices))
    return arrays | {'x0': arrays['x0'].astype(np.int32)}

  return dataclasses.replace(dataset, gather=gather, categories=256)


class Frequencies(NamedTuple):
  """How often, of a set of categories."""

  marginals: Any  # [K] of each category, a dict of them where x0 is one
  sizes: np.ndarray | None  # [N + 1] of 0 .. N elements; None: always all


def frequencies(
  dataset: Dataset, limit: int = 20_000, chunk: int = 256
) -> Frequencies:
  """Counts the categories, and the sizes, of a set.

  Args:
    dataset: Of categories.
    limit: Examples that are counted, evenly spread over a larger set; fewer of
      large images. Edges are counted above the diagonal.
    chunk: Examples at a time.

  Raises:
    ValueError: If there is nothing to count.
  """
  graph = isinstance(dataset.shape, dict)
  shapes = dataset.shape if graph else {'': dataset.shape}
  kinds = dataset.categories if graph else {'': dataset.categories}
  counts = {name: np.zeros(k, np.int64) for name, k in kinds.items()}
  most = shapes['edges' if graph else ''][0]
  sizes, sized = np.zeros(most + 1, np.int64), False
  largest = max(math.prod(shape) for shape in shapes.values())
  num = min(len(dataset), limit, max(chunk, 20_000_000 // largest))
  for start in range(0, num, chunk):
    index = np.arange(start, min(start + chunk, num)) * len(dataset) // num
    arrays = dataset.gather(index)
    tree = lambda x: x if graph else {'': x}
    x0, mask = tree(arrays['x0']), tree(arrays.get('mask'))
    sized = 'mask' in arrays
    for name, x in x0.items():
      on = mask[name] if sized else np.ones(x.shape, bool)
      on = np.triu(on, 1) if name == 'edges' else on
      counts[name] += np.bincount(x[on], minlength=len(counts[name]))
    if sized:
      # Without kinds of nodes, those exist that could have an edge.
      nodes = 'nodes' if 'nodes' in mask else 'edges' if graph else ''
      exist = mask[nodes].any(-1) if nodes == 'edges' else mask[nodes]
      sizes += np.bincount(exist.sum(-1), minlength=most + 1)
  empty = [name for name, count in counts.items() if not count.sum()]
  if empty:
    raise ValueError(f'{dataset.name} {dataset.split} has no {empty[0]} at all')
  laws = {name: count / count.sum() for name, count in counts.items()}
  return Frequencies(
    laws if graph else laws[''], sizes / sizes.sum() if sized else None
  )


def threaded(dataset: Dataset, num_threads: int | None = None) -> Dataset:
  """The same set, each gather shared among threads.

  Decoding an image releases the interpreter lock, so threads are enough.

  Args:
    dataset: A set that reads files.
    num_threads: Defaults to the number of cores, at most 16.
  """
  num_threads = num_threads or min(16, os.cpu_count() or 1)
  pool = concurrent.futures.ThreadPoolExecutor(num_threads, 'jaxdiff-read')

  def gather(indices: np.ndarray) -> Arrays:
    # One piece a thread: a future per image would cost as much as the image.
    pieces = np.array_split(indices, max(1, min(num_threads, len(indices))))
    parts = list(pool.map(dataset.gather, pieces))
    return {k: np.concatenate([part[k] for part in parts]) for k in parts[0]}

  return dataclasses.replace(dataset, gather=gather)


def cached(dataset: Dataset, chunk: int = 4096) -> Dataset:
  """The same set with every example read now and kept in memory."""
  arrays: Arrays = {}
  for start in range(0, len(dataset), chunk):
    part = dataset.gather(np.arange(start, min(start + chunk, len(dataset))))
    for key, value in part.items():
      # Filled piece by piece: joining at the end would need twice the memory.
      if key not in arrays:
        arrays[key] = np.empty((len(dataset), *value.shape[1:]), value.dtype)
      arrays[key][start : start + len(value)] = value

  def gather(indices: np.ndarray) -> Arrays:
    return {key: value[indices] for key, value in arrays.items()}

  return dataclasses.replace(dataset, gather=gather)
