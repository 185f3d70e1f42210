"""Metrics of generated texts: unique, novel, and correct sums, with errors."""

from collections import Counter
from collections.abc import Callable, Collection, Sequence

from jaxdiff.data.sets.sums import is_sum


def fraction(texts: Sequence[str], holds: Callable[[str], bool]) -> float:
  """Computes the fraction of texts for which `holds` is true."""
  if not texts:
    raise ValueError('there must be at least one text')
  return sum(map(holds, texts)) / len(texts)


def unique(texts: Sequence[str]) -> float:
  """Computes the number of different texts over that of all."""
  if not texts:
    raise ValueError('there must be at least one text')
  return len(set(texts)) / len(texts)


def unique_error(texts: Sequence[str]) -> float:
  """Computes the standard deviation of `unique` over sets of N texts.

  Texts are not unique independently of one another, so it is not binomial. The
  variance of the number D of different texts is

    D (1 - D / S) - F1^2 / N,   S = D + (N - 1) / N F1^2 / (2 F2),

  with F1 and F2 the numbers of texts that occur once and twice, and S an
  estimate of the number of texts that the model can write.

  Source: S, Chao 1984; the first term, Colwell et al. 2012 eq. 5 at full size;
  the second, the fixed N of a multinomial instead of a Poisson sample.
  """
  num, counts = len(texts), Counter(Counter(texts).values())
  different, once, twice = sum(counts.values()), counts[1], counts[2]
  pairs = once**2 / (2 * twice) if twice else once * (once - 1) / 2
  total = different + (num - 1) / num * pairs
  variance = different * (1 - different / total) - once**2 / num
  return max(variance, 0.0) ** 0.5 / num


def standard_error(fraction: float, num: int) -> float:
  """Computes that of a fraction of `num` independent trials."""
  return (fraction * (1 - fraction) / num) ** 0.5


def summary(
  texts: Sequence[str],
  train: Collection[str] | None = None,
  sums: bool = False,
) -> dict[str, float]:
  """Computes 'unique', 'novel', 'correct', and errors as 'unique_error', ...

  Args:
    texts: Generated.
    train: The training set, for 'novel'; None leaves that out.
    sums: Whether the texts are meant to be sums, for 'correct'.
  """
  found = {'unique': unique(texts), 'unique_error': unique_error(texts)}
  independent = {}
  if train is not None:
    independent['novel'] = fraction(texts, lambda text: text not in train)
  if sums:
    independent['correct'] = fraction(texts, is_sum)
  for name, value in independent.items():
    found |= {name: value, f'{name}_error': standard_error(value, len(texts))}
  return found
