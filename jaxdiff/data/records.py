"""Records of sets prepared by TFDS, by index; a damaged file is named."""

import bisect
import contextlib
import itertools
import os
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from jaxdiff.data.dataset import check_split

if TYPE_CHECKING:
  import tensorflow_datasets as tfds


class Records(NamedTuple):
  """The examples of a split: `read` gives those of indices [b]."""

  size: int
  read: Callable[[Iterable[int]], list[dict[str, Any]]]
  file: Callable[[int], Path]  # of an index


def open_split(
  builder: 'tfds.core.DatasetBuilder',
  split: str,
  keys: Collection[str],
  texts: Collection[str] = (),
) -> Records:
  """Opens a split or a slice such as 'train[:90%]'; only `keys` are decoded.

  Those of `texts` must be UTF-8.

  Raises:
    ValueError: The split does not exist, or the set is damaged.
  """
  import tensorflow_datasets as tfds

  name, splits = f'tfds:{builder.info.full_name}', builder.info.splits
  folder = Path(builder.data_path)
  for part in split.split('+'):
    part = part.partition('[')[0].strip()
    check_split(part, list(splits), name)
    with damage(folder / 'dataset_info.json'):
      info = splits[part]
      shards = [*zip(info.filepaths, info.shard_lengths, strict=True)]
    for path, written in shards:
      with damage(Path(path), 'or dataset_info.json'):
        _check_shard(path, written)
  try:
    size = splits[split].num_examples
    parts = splits[split].file_instructions
  except Exception as error:
    raise ValueError(f'{name} has no split {split!r}: {error}') from error
  ends = [*itertools.accumulate(part.take for part in parts)]

  def file(index: int) -> Path:
    return Path(parts[bisect.bisect(ends, index)].filename)

  skip = tfds.decode.SkipDecoding()
  skipped = {key: skip for key in builder.info.features if key not in keys}
  with damage(Path(shards[0][0])):
    source = builder.as_data_source(split, decoders=skipped)

  def read(indices: Iterable[int]) -> list[dict[str, Any]]:
    indices = [int(index) for index in indices]
    try:
      found = source.__getitems__(indices)
    except Exception:  # array_record and TFDS raise what they like
      for index in indices:
        with damage(file(index), f'record {index} of {split}'):
          source[index]
      raise
    # A feature under another name than that of the records.
    lost = {key for record in found for key, x in record.items() if x is None}
    with damage(folder / 'features.json'):
      if lost:
        raise ValueError(f'the records have no {", ".join(sorted(lost))}')
    for index, record in zip(indices, found, strict=True):
      for key in texts:
        with damage(file(index), f'{key} of record {index} of {split}'):
          record[key].decode()
    return found

  return Records(size, read, file)


def content(
  builder: 'tfds.core.DatasetBuilder', keys: Collection[str]
) -> Iterator[tuple[str, bytes]]:
  """Yields the features `keys` of about 1,000 examples of every split."""
  for split in sorted(builder.info.splits):
    source, part = open_split(builder, split, ()), f'{split} split'
    yield part, str(source.size).encode()
    for record in source.read(range(0, source.size, 1 + source.size // 1000)):
      for value in (record[key] for key in keys):
        raw = value if isinstance(value, bytes) else str(value).encode()
        yield part, raw


@contextlib.contextmanager
def damage(file: Path, where: str = '') -> Iterator[None]:
  """Names a file of a prepared set, and the cure, in any error."""
  try:
    yield
  except Exception as error:
    # TFDS, protobuf and array_record raise what they like.
    reason = f'{type(error).__name__}: {error}'.partition('\n')[0]
    raise ValueError(
      f'the prepared set {file.parent} is damaged: {file.name}'
      f'{where and ", " + where} ({reason}); delete the folder and prepare it '
      'again'
    ) from error


def _check_shard(file: Path, size: int) -> None:
  """Raises ValueError unless a file has as many records as TFDS wrote."""
  from array_record.python import array_record_module

  reader = array_record_module.ArrayRecordReader(os.fspath(file))
  found = reader.num_records()
  reader.close()
  if found != size:
    raise ValueError(f'it has {found} of {size} records')
