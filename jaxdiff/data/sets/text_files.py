"""Texts in files: running text cut into windows, or a text on every line.

Both are UTF-8, by character: the vocabulary is the characters of the whole
file, sorted, so that the test has no other. A file is kept in memory as one
number a character, a byte where there are at most 256 characters, and examples
are cut out when asked for.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from jaxdiff.data.dataset import Arrays, Dataset, check_split
from jaxdiff.data.shuffling import permutation
from jaxdiff.data.vocabulary import CODE_POINTS, code_points, lookup

_CHUNK = 1 << 20  # characters read at once
TEXT8 = 100_000_000


def load_text(path: str, split: str, length: int) -> Dataset:
  """Running text, in windows of `length` characters.

  The last tenth of the file is the split 'test', what is before it 'train'. A
  file of exactly 100,000,000 characters is taken to be text8, whose published
  splits are 'train' (90 M), 'valid' (5 M) and 'test' (the last 5 M).

  Args:
    path: The file.
    split: As above.
    length: Characters of a window; see `windows`.

  Raises:
    FileNotFoundError: There is no such file.
    ValueError: It is not text, or too short; the split does not exist.
  """
  path = Path(path).expanduser()
  ids, symbols = _read(path)
  ends = {'train': len(ids) - len(ids) // 10, 'test': len(ids)}
  if len(ids) == TEXT8:
    percent = TEXT8 // 100
    ends = {'train': 90 * percent, 'valid': 95 * percent, 'test': TEXT8}
  check_split(split, ends)
  starts = dict(zip(ends, (0, *ends.values()), strict=False))
  part = ids[starts[split] : ends[split]]
  name = f'text:{path}'
  return windows(name, split, part, symbols, length, overlap=split == 'train')


def load_lines(path: str, split: str, length: int | None = None) -> Dataset:
  """A text on every line that is not empty, padded to `length`.

  A tenth of the lines, by a fixed permutation, is the split 'test', the others
  'train'; lines of the test that train has too are left out.

  Args:
    path: The file.
    split: 'train' or 'test'.
    length: Characters of an example; None is the longest line's.

  Raises:
    FileNotFoundError: There is no such file.
    ValueError: It is not text; a line is longer than `length` (it is named);
      the split does not exist, or has nothing left.
  """
  path = Path(path).expanduser()
  check_split(split, ('train', 'test'))
  text = ''.join(_chunks(path)).replace('\r\n', '\n')
  # Not `splitlines`, which takes rarer characters for ends of lines too.
  lines = [(i, line) for i, line in enumerate(text.split('\n'), 1) if line]
  if len(lines) < 2:
    raise ValueError(f'{path} must have at least 2 lines that are not empty')
  number, longest = max(lines, key=lambda line: len(line[1]))
  length = len(longest) if length is None else length
  if len(longest) > length:
    raise ValueError(
      f'line {number} of {path} has {len(longest)} characters, more than the '
      f'length {length}: {longest[:40]!r}; raise the length or cut the line'
    )
  order = permutation(len(lines), seed=0)
  num_test = max(1, len(lines) // 10)
  train = [lines[i][1] for i in np.sort(order[:-num_test])]
  known = set(train)
  test = [lines[i][1] for i in np.sort(order[-num_test:])]
  test = [line for line in test if line not in known]
  if split == 'test' and not test:
    raise ValueError(f'every line of the test split of {path} is in train too')
  symbols = tuple(sorted({c for _, line in lines for c in line}))
  chosen = train if split == 'train' else test
  ids = lookup(symbols)[code_points(''.join(chosen))]
  ends = np.cumsum([len(line) for line in chosen])
  return padded(f'lines:{path}', split, ids, ends, symbols, length)


def windows(
  name: str,
  split: str,
  ids: np.ndarray,
  symbols: Sequence[str],
  length: int,
  overlap: bool,
) -> Dataset:
  """Running text as a set of its windows.

  Args:
    name: What the set was asked for as.
    split: The split.
    ids: Categories [n] of the whole split.
    symbols: The vocabulary.
    length: Of a window.
    overlap: A window begins at every element but the last length - 1, as is
      best in training. Otherwise they lie side by side, so that a likelihood
      counts everything once, and what is left at the end is left out.

  Raises:
    ValueError: The text is shorter than a window, or `length` below 1.
  """
  if length < 1:
    raise ValueError(f'length must be at least 1, got {length}')
  if len(ids) < length:
    raise ValueError(
      f'the split {split!r} of {name} has {len(ids)} elements, too few for a '
      f'window of {length}'
    )
  stride = 1 if overlap else length
  offsets = np.arange(length)

  def gather(indices: np.ndarray) -> Arrays:
    places = np.asarray(indices)[:, None] * stride + offsets
    return {'x0': ids[places].astype(np.int32)}

  return Dataset(
    name=name,
    split=split,
    modality='text',
    size=(len(ids) - length) // stride + 1,
    shape=(length,),
    num_classes=None,
    gather=gather,
    categories=len(symbols),
    symbols=tuple(symbols),
  )


def padded(
  name: str,
  split: str,
  ids: np.ndarray,
  ends: np.ndarray,
  symbols: Sequence[str],
  length: int,
) -> Dataset:
  """Texts of different lengths as a set, each followed by padding.

  Args:
    name: What the set was asked for as.
    split: The split.
    ids: Categories [n] of all texts, one after the other.
    ends: [N] where each ends in `ids`.
    symbols: The vocabulary.
    length: L of every example; none is longer.
  """
  starts = np.concatenate([[0], ends[:-1]])
  offsets = np.arange(length)

  def gather(indices: np.ndarray) -> Arrays:
    places = starts[indices][:, None] + offsets
    mask = places < ends[indices][:, None]
    x0 = np.where(mask, ids[np.minimum(places, len(ids) - 1)], 0)
    return {'x0': x0.astype(np.int32), 'mask': mask}

  return Dataset(
    name=name,
    split=split,
    modality='text',
    size=len(ends),
    shape=(length,),
    num_classes=None,
    gather=gather,
    categories=len(symbols),
    symbols=tuple(symbols),
  )


def _read(path: Path) -> tuple[np.ndarray, tuple[str, ...]]:
  """Categories and vocabulary of a file, in two passes to save memory."""
  seen, size = np.zeros(CODE_POINTS, bool), 0
  for chunk in _chunks(path):
    seen[code_points(chunk)] = True
    size += len(chunk)
  symbols = tuple(chr(code) for code in np.flatnonzero(seen))
  table = lookup(symbols)
  ids, place = np.empty(size, table.dtype), 0
  for chunk in _chunks(path):
    ids[place : place + len(chunk)] = table[code_points(chunk)]
    place += len(chunk)
  return ids, symbols


def _chunks(path: Path) -> Iterator[str]:
  """The characters of a file, without a byte order mark."""
  try:
    # As they are: a line's end is part of the text.
    with open(path, encoding='utf-8-sig', newline='') as file:
      while chunk := file.read(_CHUNK):
        if '\0' in chunk:
          raise ValueError(f'{path} has NUL characters: it is not text')
        yield chunk
  except FileNotFoundError as error:
    raise FileNotFoundError(f'no such file of text: {path}') from error
  except UnicodeDecodeError as error:
    raise ValueError(f'{path} is not UTF-8 text: {error.reason}') from error
