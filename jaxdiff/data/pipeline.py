"""Batches as a pure function of (seed, step), and one pass in order.

Row r of batch k is place k B + r of the endless sequence of permutations, so it
costs the same at any step, and host p of P computes its rows [p B/P, (p + 1)
B/P) without the others'. A whole batch of indices is gathered at once, an order
of magnitude faster than item by item. Grain prefetches the batches.
"""

import sys

import grain
import numpy as np

from jaxdiff.data.dataset import Arrays, Dataset
from jaxdiff.data.shuffling import random_raw, shuffled

Batch = dict[str, np.ndarray | Arrays]

_FLIPS = 1  # a stream of random numbers; `shuffling` has stream 0


def batches(
  dataset: Dataset,
  batch_size: int,
  *,
  seed: int,
  start_step: int = 0,
  flip: bool = False,
  part: tuple[int, int] = (0, 1),
  prefetch: int = 2,
  at_once: int = 1,
) -> grain.DatasetIterator[Batch]:
  """Makes endless shuffled batches; batch k depends on (seed, k) alone.

  Each epoch is a new permutation. A batch may end one and begin the next.

  Args:
    dataset: What `load` returns.
    batch_size: Rows of the global batch; may exceed `len(dataset)`.
    seed: Not negative.
    start_step: Step of the first batch.
    flip: Mirror each image left to right with probability 1/2.
    part: Index of this host and number of hosts, (p, P).
    prefetch: Number of batches that a background thread keeps ready. `close()`
      of the iterator ends the thread; `next` raises what fails in it.
    at_once: n; from 2 on n batches come as one, with [n] before each shape.

  Returns:
    An iterator of rows [p B/P, (p + 1) B/P) of each batch, b = B/P, on the
    host: {'x0': [b, ...], 'cond': {'label': int32 [b], 'tokens': int32 [b,
    L]}}. Pixels become float32 in [-1, 1]; other x0, and 'mask' where examples
    differ in size, are as `gather` gives them. 'cond' has what the set has, and
    never captions that are not `encoded`.

  Raises:
    ValueError: The set is empty, the batch does not divide among the hosts, a
      number is out of range, or `flip` is given without images.
  """
  _check_sizes(dataset, batch_size, prefetch)
  host, num_hosts = part
  if num_hosts < 1 or batch_size % num_hosts:
    raise ValueError(
      'batch_size must be a multiple of the number of hosts, got '
      f'{batch_size} and {num_hosts}'
    )
  if not 0 <= host < num_hosts:
    raise ValueError(f'host must be in [0, {num_hosts}), got {host}')
  if flip and dataset.modality != 'image':
    raise ValueError(f'flip is for images, and {dataset.name} has none')
  if seed < 0 or start_step < 0:
    raise ValueError(
      f'seed and start_step must not be negative, got {seed} and {start_step}'
    )
  rows = batch_size // num_hosts
  first = host * rows

  def batch(step: int) -> Batch:
    places = step * batch_size + first + np.arange(rows)
    epochs, places = np.divmod(places, len(dataset))
    indices = np.empty(rows, np.int64)
    for e in np.unique(epochs):
      here = epochs == e
      indices[here] = shuffled(seed, int(e), len(dataset), places[here])
    arrays = dataset.gather(indices)
    if flip:
      # For the global batch: rows must not depend on the number of hosts.
      coins = random_raw(seed, (_FLIPS, step), batch_size) >> np.uint64(63)
      mirrored = coins[first : first + rows] == 1
      arrays['x0'][mirrored] = arrays['x0'][mirrored, :, ::-1]
    return _to_batch(arrays)

  steps = grain.MapDataset.range(start_step, sys.maxsize)
  made = steps.map(batch)
  return _prefetched(made.batch(at_once) if at_once > 1 else made, prefetch)


def epoch(
  dataset: Dataset, batch_size: int, *, prefetch: int = 2
) -> grain.DatasetIterator[Batch]:
  """Makes one pass over a set in order; the last batch may be smaller.

  Arguments, batches and errors are those of `batches`.
  """
  _check_sizes(dataset, batch_size, prefetch)
  indices = grain.MapDataset.range(len(dataset))
  blocks = indices.batch(batch_size, batch_fn=np.asarray)
  return _prefetched(
    blocks.map(lambda block: _to_batch(dataset.gather(block))), prefetch
  )


def _to_batch(arrays: Arrays) -> Batch:
  """Converts pixels to floats in [-1, 1], and labels to the condition."""
  # No device holds strings: captions are a condition once they are tokens.
  apart = ('x0', 'mask', 'caption')
  cond = {k: v for k, v in arrays.items() if k not in apart}
  x0 = arrays['x0']
  if isinstance(x0, np.ndarray) and x0.dtype == np.uint8:
    x0 = x0.astype(np.float32)
    x0 /= 127.5  # In place: memory traffic is most of the cost.
    x0 -= 1
  mask = {'mask': arrays['mask']} if 'mask' in arrays else {}
  return {'x0': x0, **mask, 'cond': cond}


def _prefetched(
  blocks: grain.MapDataset, prefetch: int
) -> grain.DatasetIterator[Batch]:
  # One thread: batches are made in order, and the cores stay with the step.
  options = grain.ReadOptions(num_threads=1, prefetch_buffer_size=prefetch)
  return iter(blocks.to_iter_dataset(options))


def _check_sizes(dataset: Dataset, batch_size: int, prefetch: int) -> None:
  if not len(dataset):
    raise ValueError(f'{dataset.name} {dataset.split} has no examples')
  if batch_size < 1 or prefetch < 1:
    raise ValueError(
      'batch_size and prefetch must be at least 1, got '
      f'{batch_size} and {prefetch}'
    )
