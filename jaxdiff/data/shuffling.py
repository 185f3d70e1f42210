"""Permutations of a set, one for every (seed, epoch).

Of a small set the whole permutation is made, by sorting, and kept. That of a
large one (the 90 million windows of text8 would take gigabytes) is a cipher: a
Feistel network of keyed rounds permutes the numbers of 2h bits, and what falls
outside the set is enciphered again until it falls inside. Any place costs the
same, and nothing is kept.

Source: Black and Rogaway 2002, "Ciphers with arbitrary finite domains",
section 3 (cycle walking).
"""

import functools

import numpy as np

LARGE = 1 << 24
_ROUNDS = 6
_STREAM = 0  # of random numbers


def shuffled(
  seed: int, epoch: int, size: int, places: np.ndarray
) -> np.ndarray:
  """What stands at `places` [b] of the permutation of 0 .. size - 1, int64.

  Args:
    seed: not negative.
    epoch: each has its own permutation.
    size: of the set.
    places: in 0 .. size - 1.
  """
  if size > LARGE:
    return enciphered(seed, epoch, size, places)
  return _sorted(seed, epoch, size)[places]


def enciphered(
  seed: int, epoch: int, size: int, places: np.ndarray
) -> np.ndarray:
  """`shuffled` for a set of any size, by the cipher."""
  half = np.uint64(max(1, (int(size - 1).bit_length() + 1) // 2))
  low = (np.uint64(1) << half) - np.uint64(1)
  keys = random_raw(seed, (_STREAM, epoch), _ROUNDS)

  def cipher(x: np.ndarray) -> np.ndarray:
    left, right = x >> half, x & low
    for key in keys:
      left, right = right, left ^ (_mixed(right + key) & low)
    return (left << half) | right

  x = cipher(np.asarray(places, np.uint64))
  while len(outside := np.flatnonzero(x >= size)):
    x[outside] = cipher(x[outside])
  return x.astype(np.int64)


# A batch touches two epochs, or each of many once.
@functools.lru_cache(2)
def _sorted(seed: int, epoch: int, size: int) -> np.ndarray:
  return np.argsort(random_raw(seed, (_STREAM, epoch), size), kind='stable')


def _mixed(x: np.ndarray) -> np.ndarray:
  """Every bit of the result depends on every bit of x (MurmurHash3's end)."""
  x = (x ^ (x >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
  x = (x ^ (x >> np.uint64(33))) * np.uint64(0xC4CEB9FE1A85EC53)
  return x ^ (x >> np.uint64(33))


def random_raw(seed: int, stream: tuple[int, ...], size: int) -> np.ndarray:
  """Random uint64 [size], a function of (seed, stream) alone.

  Raw output, since NumPy promises that it never changes; the methods of its
  generators may change with the release, and a resumed run's data with them.
  """
  sequence = np.random.SeedSequence(seed, spawn_key=stream)
  return np.random.PCG64(sequence).random_raw(size)
