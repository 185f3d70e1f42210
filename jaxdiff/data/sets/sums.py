"""Sums: '037+481=518', all sums of two three-digit numbers that fit three.

Every string has 11 characters out of 12, and can be checked by itself. Of the
500,500 pairs with a + b <= 999, in both orders, 2,000 are kept for the test, so
a model must find the rule.
"""

import re

import numpy as np

from jaxdiff.data.dataset import Dataset, check_split, in_memory
from jaxdiff.data.shuffling import permutation
from jaxdiff.data.vocabulary import encode

SYMBOLS = tuple('0123456789+=')
LENGTH = 11
NUM_TEST = 2_000
_SUM = re.compile('([0-9]{3})[+]([0-9]{3})=([0-9]{3})')


def is_sum(text: str) -> bool:
  """Tells whether a text is 'aaa+bbb=ccc' with a + b = c, three digits each."""
  found = _SUM.fullmatch(text)
  if not found:
    return False
  a, b, c = (int(digits) for digits in found.groups())
  return a + b == c


def load(split: str) -> Dataset:
  """Loads 'train' (498,500 sums) or 'test' (2,000 others).

  No sum of test is in train, though the one of the same numbers in the other
  order may be.
  """
  check_split(split, ('train', 'test'))
  a, b = np.indices((1000, 1000), np.int32)
  kept = a + b < 1000
  a, b = a[kept], b[kept]
  order = permutation(len(a), seed=0)
  order = order[:-NUM_TEST] if split == 'train' else order[-NUM_TEST:]
  a, b = a[order], b[order]
  x0 = np.empty((len(order), LENGTH), np.int32)
  for place, numbers in ((0, a), (4, b), (8, a + b)):
    for i, power in enumerate((100, 10, 1)):
      # Digit d is category d.
      x0[:, place + i] = numbers // power % 10
  x0[:, 3], x0[:, 7] = encode('+=', SYMBOLS)
  return in_memory(
    'sums',
    split,
    'text',
    {'x0': x0},
    categories=len(SYMBOLS),
    symbols=SYMBOLS,
    splits=('train', 'test'),
  )
