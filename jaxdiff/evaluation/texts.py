"""What can be said of generated texts without another model."""

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


def summary(
  texts: Sequence[str],
  train: Collection[str] | None = None,
  sums: bool = False,
) -> dict[str, float]:
  """All of it, each a fraction in [0, 1].

  Args:
    texts: Generated.
    train: The training set's, for 'novel'; None leaves that out.
    sums: Whether they should be sums, for 'correct'.

  Returns:
    {'unique': .., 'novel': .., 'correct': ..}, what was asked for.

  Raises:
    ValueError: There is no text.
  """
  found = {'unique': unique(texts)}
  if train is not None:
    found['novel'] = novel(texts, train)
  if sums:
    found['correct'] = correct_sums(texts)
  return found
