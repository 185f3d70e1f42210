"""Range checks for the arguments of factories, made when these are called."""

import jax
import numpy as np


def number(name: str, value: object, interval: str) -> None:
  """Raises ValueError unless a number lies in an interval.

  nan lies in none, and an infinity only where it is a closed end. Arrays of jax
  pass: they may be traced, and their values not known yet.

  Args:
    name: of the argument.
    value: a number, or a numpy array of numbers that all must lie inside.
    interval: in the usual notation, such as '[0, 1)' or '(0, inf)'.

  Example:
    >>> number('eta', 0.5, '[0, 1]')
    >>> number('eta', 5, '[0, 1]')
    Traceback (most recent call last):
    ValueError: eta must be in [0, 1], got 5
  """
  if isinstance(value, jax.Array):
    return
  low, high = (float(end) for end in interval[1:-1].split(','))
  x = np.asarray(value)
  inside = False
  if x.dtype.kind in 'iuf':
    above = x >= low if interval[0] == '[' else x > low
    below = x <= high if interval[-1] == ']' else x < high
    inside = (above & below).all()
  if not inside:
    raise ValueError(f'{name} must be {_words(interval)}, got {value!r}')


def whole(name: str, value: object, low: int, high: int | None = None) -> None:
  """Raises ValueError unless a value is a whole number in [low, high].

  Args:
    name: of the argument.
    value: a Python or numpy integer.
    low: the least allowed.
    high: the largest allowed; None is without limit.
  """
  is_whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
  if is_whole and value >= low and (high is None or value <= high):
    return
  wanted = f'at least {low}' if high is None else f'in [{low}, {high}]'
  wanted = wanted if is_whole else f'a whole number {wanted}'
  raise ValueError(f'{name} must be {wanted}, got {value!r}')


def _words(interval: str) -> str:
  low, high = (end.strip() for end in interval[1:-1].split(','))
  if interval == '(-inf, inf)':
    return 'a finite number'
  if high == 'inf':
    finite = '' if interval[-1] == ']' else ' and finite'
    return f'{"at least" if interval[0] == "[" else "above"} {low}{finite}'
  return f'in {interval}'
