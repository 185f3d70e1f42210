"""Text files: running text cut into windows, or a text on every line.

Both are UTF-8, by character. The vocabulary is the characters of the whole
file, sorted, so that the test split has no others. A file is kept in memory as
one number a character, and examples are cut out when they are gathered.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from jaxdiff import files
from jaxdiff.data.dataset import Arrays, Dataset, check_split
from jaxdiff.data.shuffling import permutation
from jaxdiff.data.vocabulary import CODE_POINTS, code_points, lookup

TEXT8 = 100_000_000


def load_text(path: str, split: str, length: int) -> Dataset:
  """Loads running text, in windows of `length` characters; see `windows`.

  The last tenth of the file is the split 'test', the rest 'train'. A file of
  exactly 100,000,000 characters is taken to be text8, whose published splits
  are 'train' (90 M), 'valid' (5 M) and 'test' (the last 5 M).

  Raises:
    FileNotFoundError: There is no such file.
    ValueError: It is not text, or too short; the split does not exist.
  """
  ids, symbols = _read(path)
  ends = {'train': len(ids) - len(ids) // 10, 'test': len(ids)}
  if len(ids) == TEXT8:
    percent = TEXT8 // 100
    ends = {'train': 90 * percent, 'valid': 95 * percent, 'test': TEXT8}
  check_split(split, ends)
  starts = dict(zip(ends, (0, *ends.values()), strict=False))
  part = ids[starts[split] : ends[split]]
  dataset = windows(
    f'text:{path}', split, part, symbols, length, overlap=split == 'train'
  )
  return dataclasses.replace(
    dataset, splits=tuple(ends), content=lambda: [('text', ids.data)]
  )


def load_lines(path: str, split: str, length: int | None = None) -> Dataset:
  """Loads a text on every line that is not empty, padded to `length`.

  A tenth of the lines, by a fixed permutation, is the split 'test', the others
  'train'. Lines of test that are in train too are left out. Without a length it
  is the longest line's.

  Raises:
    FileNotFoundError: There is no such file.
    ValueError: It is not text; a line is longer than `length`; the split does
      not exist, or nothing is left in it.
  """
  check_split(split, ('train', 'test'))
  lines = [
    (i, line) for i, line in enumerate(files.read_lines(path), 1) if line
  ]
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
  starts = np.concatenate([[0], ends[:-1]])
  offsets = np.arange(length)

  def gather(indices: np.ndarray) -> Arrays:
    places = starts[indices][:, None] + offsets
    mask = places < ends[indices][:, None]
    x0 = np.where(mask, ids[np.minimum(places, len(ids) - 1)], 0)
    return {'x0': x0.astype(np.int32), 'mask': mask}

  return Dataset(
    name=f'lines:{path}',
    split=split,
    modality='text',
    size=len(ends),
    shape=(length,),
    num_classes=None,
    gather=gather,
    categories=len(symbols),
    symbols=symbols,
    splits=('train', 'test'),
    content=lambda: [('text', '\n'.join(x for _, x in lines).encode())],
  )


def windows(
  name: str,
  split: str,
  ids: np.ndarray,
  symbols: Sequence[str],
  length: int,
  overlap: bool,
) -> Dataset:
  """Makes a Dataset of the windows of running text.

  Args:
    name: Name of the set.
    split: Name of the split.
    ids: Categories [n] of the whole split.
    symbols: The vocabulary.
    length: Number of elements of a window.
    overlap: A window begins at every element but the last length - 1, as is
      best in training. Otherwise they lie side by side, so that a likelihood
      counts every element once; the rest at the end is left out.
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


def _read(path: str) -> tuple[np.ndarray, tuple[str, ...]]:
  """Reads the categories and the vocabulary of a file."""
  seen, pieces = np.zeros(CODE_POINTS, bool), []
  for piece in files.read_pieces(path):
    codes = code_points(piece)
    seen[codes] = True
    # In few bytes, since the vocabulary is known only at the end.
    pieces.append(codes.astype(np.min_scalar_type(codes.max())))
  symbols = tuple(chr(code) for code in np.flatnonzero(seen))
  table = lookup(symbols)
  return np.concatenate([table[:0], *(table[p] for p in pieces)]), symbols
