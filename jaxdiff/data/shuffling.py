"""Permutations of a data set, one for every (seed, epoch).

The permutation of a small set is made by sorting, and kept for the epoch. A
large one (the 90 million windows of text8) is shuffled by Grain, which computes
any place of it alone.

Random numbers are PCG64's raw output. NumPy promises that this stream never
changes; the methods of its generators may, and a resumed run's data with them.
"""

import functools

import grain
import numpy as np

LARGE = 1 << 24
_STREAM = 0  # of random numbers


def permutation(
  n: int, seed: int | np.random.SeedSequence | np.random.PCG64
) -> np.ndarray:
  """A permutation of 0 .. n - 1, int64 [n]; a PCG64 is read on."""
  bits = seed if isinstance(seed, np.random.PCG64) else np.random.PCG64(seed)
  return np.argsort(bits.random_raw(n), kind='stable')


def shuffled(
  seed: int, epoch: int, size: int, places: np.ndarray
) -> np.ndarray:
  """Returns the elements at `places` [b] of the permutation of an epoch.

  The seed is not negative; the places are in 0 .. size - 1.
  """
  order = _order(seed, epoch, size)
  if size > LARGE:
    return np.array([order[int(place)] for place in places], np.int64)
  return order[places]


# A batch touches two epochs, or each of many once.
@functools.lru_cache(2)
def _order(seed: int, epoch: int, size: int) -> np.ndarray | grain.MapDataset:
  stream = np.random.SeedSequence(seed, spawn_key=(_STREAM, epoch))
  if size <= LARGE:
    return permutation(size, stream)
  word = int(np.random.PCG64(stream).random_raw())
  return grain.MapDataset.range(size).shuffle(seed=word >> 32)


def random_raw(seed: int, stream: tuple[int, ...], size: int) -> np.ndarray:
  """Random uint64 [size], a function of (seed, stream) alone."""
  sequence = np.random.SeedSequence(seed, spawn_key=stream)
  return np.random.PCG64(sequence).random_raw(size)


class Uniforms:
  """A stream of numbers in [0, 1) that no version of NumPy changes."""

  def __init__(self, seed: int):
    self.bits = np.random.PCG64(seed)

  def draw(self, *shape: int) -> np.ndarray:
    """Uniform over [0, 1), float64 of that shape."""
    raw = self.bits.random_raw(int(np.prod(shape, dtype=int)))
    return (np.atleast_1d(raw) >> np.uint64(11)).reshape(shape) * 2.0**-53

  def integer(self, low: int, high: int) -> int:
    """Uniform over low .. high, both included."""
    return low + int(self.draw() * (high - low + 1))
