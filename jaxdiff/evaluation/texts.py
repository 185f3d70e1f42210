"""What can be said of generated texts without another model."""

from collections import Counter
from collections.abc import Callable, Collection, Sequence

from jaxdiff.data.sets.sums import is_sum


def fraction(texts: Sequence[str], holds: Callable[[str], bool]) -> float:
  """The fraction of texts of which something holds.

  Raises:
    ValueError: There is no text.
  """
  if not texts:
    raise ValueError('there must be at least one text')
  return sum(map(holds, texts)) / len(texts)


def correct_sums(texts: Sequence[str]) -> float:
  """The fraction that are right sums, 'aaa+bbb=ccc'; see `data.sums`."""
  return fraction(texts, is_sum)


def unique(texts: Sequence[str]) -> float:
  """The number of different texts over that of all.

  Raises:
    ValueError: There is no text.
  """
  if not texts:
    raise ValueError('there must be at least one text')
  return len(set(texts)) / len(texts)


def novel(texts: Sequence[str], train: Collection[str]) -> float:
  """The fraction that the training set has not; a `set` is fastest."""
  return fraction(texts, lambda text: text not in train)


def standard_error(fraction: float, num: int) -> float:
  """Computes the standard error of a fraction of `num` independent trials."""
  return (fraction * (1 - fraction) / num) ** 0.5


def unique_error(texts: Sequence[str]) -> float:
  """Computes the standard error of `unique` by the jackknife.

  Texts are not independent trials of uniqueness: leaving out one of m equal
  texts changes the number of different ones only if m is 1.
  """
  num, counts = len(texts), Counter(texts)
  if num < 2:
    return float('nan')
  different = len(counts)
  left = [
    (different - (count == 1)) / (num - 1)
    for count in counts.values()
    for _ in range(count)
  ]
  mean = sum(left) / num
  return ((num - 1) / num * sum((x - mean) ** 2 for x in left)) ** 0.5


def summary(
  texts: Sequence[str],
  train: Collection[str] | None = None,
  sums: bool = False,
) -> dict[str, float]:
  """Computes the fractions that are unique, novel and correct, in [0, 1].

  Args:
    texts: Generated.
    train: The training set's, for 'novel'; None leaves that out.
    sums: Whether they should be sums, for 'correct'.

  Returns:
    {'unique': .., 'novel': .., 'correct': ..}, those that apply, each with its
    standard error as 'unique_error', ...

  Raises:
    ValueError: There is no text.
  """
  num = len(texts)
  found = {'unique': unique(texts), 'unique_error': unique_error(texts)}
  if train is not None:
    found['novel'] = novel(texts, train)
    found['novel_error'] = standard_error(found['novel'], num)
  if sums:
    found['correct'] = correct_sums(texts)
    found['correct_error'] = standard_error(found['correct'], num)
  return found
