"""Text sets prepared by TFDS, read by index.

Where a split has at most 100 records (a book, a few articles) they are running
text, cut into windows; otherwise each record is an example, cut or padded to
`length`. What an element is:

  with a tokenizer     its tokens, as LM1B is of BERT's word pieces
  running text         characters, the vocabulary being those of all splits
  records              bytes of UTF-8, for which nothing must be read before
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from jaxdiff.data.dataset import Arrays, Dataset
from jaxdiff.data.text_files import windows
from jaxdiff.data.vocabulary import code_points, lookup

MOST_RUNNING = 100  # records of a split that is running text
# What no single byte writes is shown as Unicode's replacement character.
BYTES = tuple(
  chr(byte) if 32 <= byte < 127 or byte in b'\n\t' else '\ufffd'
  for byte in range(256)
)


def has_text(folder: Path) -> bool:
  """Whether a prepared set has a text and no image.

  Args:
    folder: '.../set/version' as `find_prepared` gives it.
  """
  import tensorflow_datasets as tfds  # Half a second: only when needed.

  features = tfds.builder_from_directory(folder).info.features
  kinds = [type(feature) for feature in features.values()]
  return tfds.features.Text in kinds and tfds.features.Image not in kinds


def read_text_records(
  folder: Path,
  name: str,
  split: str,
  length: int,
  tokenizer: str | Path | None = None,
) -> Dataset:
  """Reads a prepared text set.

  Args:
    folder: '.../set/version' as `find_prepared` gives it.
    name: What the set was asked for as.
    split: A split of the set; TFDS's slices such as 'train[:90%]' work. Windows
      of running text overlap in train alone.
    length: L of an example.
    tokenizer: A file of the library tokenizers, `tokenizer.json`. Special
      tokens are added to records as it says, and not to running text. With
      absorbing noise MASK is a category of its own, whether or not the file
      has one.

  Raises:
    FileNotFoundError: There is no such tokenizer.
    ValueError: The split does not exist, the files are not array_record, the
      set has not one text, `length` is below 1, or the tokenizer is broken.
  """
  import tensorflow_datasets as tfds

  if length < 1:
    raise ValueError(f'length must be at least 1, got {length}')
  builder = tfds.builder_from_directory(folder)
  splits = list(builder.info.splits)
  parts = {part.partition('[')[0].strip() for part in split.split('+')}
  if not parts <= set(splits):
    raise ValueError(
      f'split of {name!r} must be one of {splits}, got {split!r}'
    )
  file_format = builder.info.file_format.value
  if file_format != 'array_record':
    raise ValueError(
      f'{name!r} in {folder} is stored as {file_format}, which cannot be read '
      f'by index; prepare it as array_record in another --data-dir'
    )
  key = _text_key(builder.info.features, name)
  # What is not used is not decoded.
  skip = {
    other: tfds.decode.SkipDecoding()
    for other in builder.info.features
    if other != key
  }

  def source(split: str) -> Sequence[dict]:
    return builder.as_data_source(split, decoders=skip)

  def running(split: str) -> str:
    return '\n'.join(record[key].decode() for record in source(split))

  records = source(split)
  model = None if tokenizer is None else _tokenizer(tokenizer)
  # By the largest split: a slice of a set of examples is none of running text.
  infos = builder.info.splits
  if max(infos[s].num_examples for s in splits) <= MOST_RUNNING:
    if model is None:
      symbols = tuple(sorted({c for other in splits for c in running(other)}))
      ids = lookup(symbols)[code_points(running(split))]
    else:
      symbols = _written(model)
      ids = np.array(model.encode(running(split), add_special_tokens=False).ids)
    return windows(name, split, ids, symbols, length, parts == {'train'})

  if model is None:
    symbols = BYTES
    encode = lambda texts: [np.frombuffer(text, np.uint8) for text in texts]
  else:
    symbols = _written(model)
    model.enable_truncation(length)
    encode = lambda texts: [
      encoding.ids
      for encoding in model.encode_batch([text.decode() for text in texts])
    ]
  read = lambda indices: [
    record[key] for record in records.__getitems__([int(i) for i in indices])
  ]
  return Dataset(
    name=name,
    split=split,
    size=len(records),
    shape=(length,),
    num_classes=None,
    gather=_padded(lambda indices: encode(read(indices)), length),
    categories=len(symbols),
    symbols=symbols,
  )


def _padded(
  read: Callable[[np.ndarray], list[Sequence[int]]], length: int
) -> Callable[[np.ndarray], Arrays]:
  def gather(indices: np.ndarray) -> Arrays:
    x0 = np.zeros((len(indices), length), np.int32)
    mask = np.zeros((len(indices), length), bool)
    for row, ids in enumerate(read(indices)):
      ids = ids[:length]
      x0[row, : len(ids)] = ids
      mask[row, : len(ids)] = True
    return {'x0': x0, 'mask': mask}

  return gather


def _text_key(features, name: str) -> str:
  """The feature 'text', or the only one that is a text."""
  import tensorflow_datasets as tfds

  # Sorted, for TFDS keeps no order.
  keys = sorted(
    key
    for key, feature in features.items()
    if isinstance(feature, tfds.features.Text)
  )
  if 'text' in keys:
    return 'text'
  if len(keys) != 1:
    raise ValueError(
      f'{name!r} must have one feature that is a text, got {keys} among '
      f'{sorted(features)}'
    )
  return keys[0]


def _tokenizer(path: str | Path):
  """The tokenizer of a file, without the padding that the file may ask for."""
  import tokenizers  # Only where needed.

  path = Path(path).expanduser()
  if not path.is_file():
    raise FileNotFoundError(f'no such tokenizer: {path}')
  try:
    model = tokenizers.Tokenizer.from_file(str(path))
  # The library raises Exception itself.
  except Exception as error:
    raise ValueError(f'cannot read the tokenizer {path}: {error}') from error
  model.no_padding()
  model.no_truncation()
  return model


def _written(model) -> tuple[str, ...]:
  """What each token adds to a text, by the three usual ways to mark a space.

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
