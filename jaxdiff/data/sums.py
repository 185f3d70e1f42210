"""'037+481=518': all sums of two numbers of three digits that has three.

Every string has 11 characters of 12, and whether it is right can be read off
it. A model must find what it was never told: of the 500,500 pairs with a + b <=
999, in both orders, 2,000 are kept for the test. Made in memory in a moment.
"""

import re

import numpy as np

from jaxdiff.data.dataset import Arrays, Dataset
from jaxdiff.data.vocabulary import encode

SYMBOLS = tuple('0123456789+=')
LENGTH = 11
NUM_TEST = 2_000
_SUM = re.compile('([0-9]{3})[+]([0-9]{3})=([0-9]{3})')


def is_sum(text: str) -> bool:
  """Whether a text is 'aaa+bbb=ccc' with a + b = c, three digits each."""
  found = _SUM.fullmatch(text)
  if not found:
    return False
  a, b, c = (int(digits) for digits in found.groups())
  return a + b == c


def load_sums(split: str = 'train') -> Dataset:
  """The set 'sums'.

  Args:
    split: 'train' (498,500 sums) or 'test' (2,000 others, without a sum of
      train; that of the same numbers in the other order may be in train).

  Raises:
    ValueError: The split is neither.
  """
  if split not in ('train', 'test'):
    raise ValueError(f"split must be one of ['train', 'test'], got {split!r}")
  a, b = np.indices((1000, 1000), np.int32)
  kept = a + b < 1000
  a, b = a[kept], b[kept]
  # A permutation by sorting raw generator output: NumPy promises that stream
  # for ever, and `Generator.permutation` not.
  order = np.argsort(np.random.PCG64(0).random_raw(len(a)), kind='stable')
  order = order[:-NUM_TEST] if split == 'train' else order[-NUM_TEST:]
  a, b = a[order], b[order]
  plus, equals = encode('+=', SYMBOLS)
  x0 = np.empty((len(order), LENGTH), np.int32)
  for place, numbers in ((0, a), (4, b), (8, a + b)):
    for i, power in enumerate((100, 10, 1)):
      # Digit d is category d.
      x0[:, place + i] = numbers // power % 10
  x0[:, 3], x0[:, 7] = plus, equals

  def gather(indices: np.ndarray) -> Arrays:
    return {'x0': x0[indices]}

  return Dataset(
    name='sums',
    split=split,
    size=len(x0),
    shape=(LENGTH,),
    num_classes=None,
    gather=gather,
    categories=len(SYMBOLS),
    symbols=SYMBOLS,
  )
