"""TFDS sets of text, prepared on disk and read by index.

A split of at most 100 records (a book, a few articles) is running text, cut
into windows; otherwise each record is an example, cut or padded to `length`.
The elements are

  with a tokenizer     tokens, as LM1B's are BERT's word pieces
  running text         characters, the vocabulary being those of all splits
  records              bytes of UTF-8, which need no pass over the data
"""

import dataclasses
import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from jaxdiff import hub
from jaxdiff.data import prepared, records
from jaxdiff.data.dataset import Arrays, Cut, Dataset, spread
from jaxdiff.data.sets.text_files import windows
from jaxdiff.data.vocabulary import code_points, lookup
from jaxdiff.tokenizer_files import read_library

if TYPE_CHECKING:
  import tensorflow_datasets as tfds
  import tokenizers

MOST_RUNNING = 100  # records of a split that is running text
# A byte that is no character alone becomes Unicode's replacement character.
BYTES = tuple(
  chr(byte) if 32 <= byte < 127 or byte in b'\n\t' else '\ufffd'
  for byte in range(256)
)


def load(
  builder: 'tfds.core.DatasetBuilder',
  split: str,
  length: int,
  tokenizer: str | os.PathLike | None = None,
) -> Dataset:
  """Loads a split in examples of `length` elements.

  Windows of running text overlap in train alone.

  Args:
    builder: Of the prepared set.
    split: A split of the set; TFDS's slices such as 'train[:90%]' work.
    length: Number of elements of an example.
    tokenizer: A `tokenizer.json`. Special tokens are added to records as it
      says, and not to running text. With absorbing noise MASK is a category of
      its own, whether or not the file has one.

  Raises:
    FileNotFoundError: There is no such tokenizer.
    ValueError: The split does not exist, the set has not one text, `length` is
      below 1, or the tokenizer is broken.
  """
  import tensorflow_datasets as tfds

  if length < 1:
    raise ValueError(f'length must be at least 1, got {length}')
  name, infos = f'tfds:{builder.info.full_name}', builder.info.splits
  key = prepared.feature(
    builder, 'text', lambda f: isinstance(f, tfds.features.Text)
  )
  model = None if tokenizer is None else read_library(tokenizer)
  texts = () if model is None else (key,)
  source = records.open_split(builder, split, (key,), texts)

  def content() -> Iterator[tuple[str, bytes]]:
    yield from records.content(builder, (key,))
    if tokenizer is not None:
      yield 'tokenizer', hub.local_path(tokenizer).read_bytes()

  def running(split: str) -> str:
    source = records.open_split(builder, split, (key,), (key,))
    return '\n'.join(r[key].decode() for r in source.read(range(source.size)))

  # By the largest split: a slice of a set of examples is none of running text.
  if max(info.num_examples for info in infos.values()) <= MOST_RUNNING:
    if model is None:
      symbols = tuple(sorted({c for other in infos for c in running(other)}))
      ids = lookup(symbols)[code_points(running(split))]
    else:
      symbols = _written(model)
      ids = np.array(model.encode(running(split), add_special_tokens=False).ids)
    overlap = split.partition('[')[0] == 'train' and '+' not in split
    dataset = windows(name, split, ids, symbols, length, overlap)
    return dataclasses.replace(dataset, splits=tuple(infos), content=content)

  if model is None:
    symbols = BYTES
    encode = lambda texts: [np.frombuffer(text, np.uint8) for text in texts]
  else:
    symbols = _written(model)
    encode = lambda texts: [
      encoding.ids
      for encoding in model.encode_batch([text.decode() for text in texts])
    ]

  def read(indices: np.ndarray) -> list[Sequence[int]]:
    return encode([record[key] for record in source.read(indices)])

  def gather(indices: np.ndarray) -> Arrays:
    x0 = np.zeros((len(indices), length), np.int32)
    mask = np.zeros((len(indices), length), bool)
    for row, ids in enumerate(read(indices)):
      x0[row, : len(ids)] = ids[:length]
      mask[row, : len(ids)] = True
    return {'x0': x0, 'mask': mask}

  some = spread(source.size, min(source.size, 1000))
  num_cut = sum(len(ids) > length for ids in read(some))
  if model is not None:
    model.enable_truncation(length)  # keeps a special token at the end

  return Dataset(
    name=name,
    split=split,
    modality='text',
    size=source.size,
    shape=(length,),
    num_classes=None,
    gather=gather,
    categories=len(symbols),
    symbols=symbols,
    splits=tuple(infos),
    content=content,
    cut=Cut(num_cut, len(some), length),
  )


def _written(model: 'tokenizers.Tokenizer') -> tuple[str, ...]:
  """The text of each token, by the three usual ways to mark a space.

  Word pieces have '##' where none is before; byte pairs begin with 'Ġ' where
  one is, and sentence pieces with '▁'. Byte pairs that are not ASCII stay in
  the library's letters.
  """
  ids = model.get_vocab()
  tokens = [''] * (max(ids.values()) + 1)
  for token, k in ids.items():
    tokens[k] = token
  if any(token.startswith('##') for token in tokens):
    written = lambda t: t[2:] if t.startswith('##') else ' ' + t
  else:
    written = lambda t: t.replace('Ġ', ' ').replace('Ċ', '\n').replace('▁', ' ')
  return tuple(written(token) for token in tokens)
