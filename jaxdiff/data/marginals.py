"""Frequencies of the categories and of the sizes of a data set."""

import math
from typing import NamedTuple

import numpy as np

from jaxdiff.data.dataset import Dataset


class Frequencies(NamedTuple):
  """Fractions of the categories and of the sizes."""

  marginals: np.ndarray | dict[str, np.ndarray]  # [K], a dict where x0 is one
  sizes: np.ndarray | None  # [N + 1] of 0 .. N elements; None: always all


def frequencies(
  dataset: Dataset, limit: int = 20_000, chunk: int = 256
) -> Frequencies:
  """Counts the categories and the sizes of a set of categories.

  At most `limit` examples are counted, evenly spread over a larger set, fewer
  of large images, and `chunk` at a time. Edges are counted above the diagonal.

  Raises:
    ValueError: There is nothing to count.
  """
  graph = dataset.modality == 'graph'
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
  fractions = {name: count / count.sum() for name, count in counts.items()}
  return Frequencies(
    fractions if graph else fractions[''],
    sizes / sizes.sum() if sized else None,
  )
