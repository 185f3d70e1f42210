"""Data sets prepared on disk by TFDS: found, opened, and prepared once.

TFDS writes to a scratch directory and renames it, so a set is either absent or
whole. TensorFlow is imported only to prepare a set, never to read one.
"""

import contextlib
import fcntl
import importlib.util
import json
import os
import re
import shlex
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from jaxdiff import files
from jaxdiff.data.dataset import check_split

if TYPE_CHECKING:
  import tensorflow_datasets as tfds

# The keys of features.json under which TFDS looks for a class to import.
_CLASS_KEYS = (
  'pythonClassName',
  'python_class_name',
  'type',
  'protoCls',
  'proto_cls',
)


def resolve_data_dir(data_dir: str | os.PathLike | None = None) -> Path:
  """Returns `data_dir`, else $TFDS_DATA_DIR, else ~/.cache/jaxdiff/data."""
  if data_dir == '':  # as of a variable of the shell that is not set
    raise ValueError('--data-dir is empty: give a value, or leave it out')
  default = os.environ.get('TFDS_DATA_DIR') or '~/.cache/jaxdiff/data'
  return files.absolute(files.as_path(data_dir or default).expanduser())


def find(data_dir: Path, name: str) -> Path | None:
  """Finds the folder of a prepared set, or None.

  Args:
    data_dir: The directory of all sets.
    name: 'set' or 'set/config', each optionally with ':version'. Without a
      version the newest; without a config the only one.

  Raises:
    ValueError: Several configs are prepared and none is named.
  """
  stem, _, version = name.partition(':')
  # The dots tell a finished version from TFDS's 'incomplete...' directories.
  folders = [
    file.parent
    for pattern in ('*', '*/*')
    for file in (data_dir / stem).glob(f'{pattern}/dataset_info.json')
    if re.fullmatch(r'\d+\.\d+\.\d+', file.parent.name)
    and version in ('', file.parent.name)
  ]
  configs = sorted({str(f.parent.relative_to(data_dir)) for f in folders})
  if len(configs) > 1:
    raise ValueError(
      f'several configs of {name!r} are prepared in {data_dir}; name one of '
      f'{["tfds:" + config for config in configs]}'
    )
  key = lambda folder: [int(part) for part in folder.name.split('.')]
  return max(folders, key=key, default=None)


def open_builder(
  name: str, data_dir: str | os.PathLike | None
) -> 'tfds.core.DatasetBuilder':
  """Opens a prepared set.

  Raises:
    FileNotFoundError: The set is not prepared; the message has the command.
    ValueError: The set is damaged, is not stored as array_record, or would run
      code from elsewhere.
  """
  root = resolve_data_dir(data_dir)
  folder = find(root, name)
  if folder is None:
    command = f'python -m jaxdiff.data prepare {shlex.quote("tfds:" + name)}'
    if not files.is_local(root):
      command += f', and copy that to {root}'
    elif data_dir is not None:
      command += f' --data-dir {shlex.quote(os.fspath(data_dir))}'
    raise FileNotFoundError(
      f"'tfds:{name}' is not prepared in {root}; prepare it once with: "
      f'{command}'
    )
  folder = files.local(folder)
  with _damage(folder):
    features = json.loads((folder / 'features.json').read_text('utf-8'))
  if foreign := sorted(set(_foreign_classes(features))):
    raise ValueError(
      f'{folder / "features.json"} names code outside tensorflow_datasets, '
      'which is not run (if it is damaged, delete the folder and prepare it '
      f'again): {", ".join(foreign)}'
    )
  import tensorflow_datasets as tfds  # Half a second: only when needed.

  with _damage(folder):
    builder = tfds.builder_from_directory(folder)
    file_format = builder.info.file_format.value
    if not builder.info.splits:
      raise ValueError('it has no splits')
  if file_format != 'array_record':
    raise ValueError(
      f"'tfds:{name}' in {folder} is stored as {file_format}, which cannot be "
      'read by index; prepare it as array_record in another --data-dir'
    )
  return builder


def feature(
  builder: 'tfds.core.DatasetBuilder',
  preferred: str,
  fits: Callable[['tfds.features.FeatureConnector'], bool],
) -> str:
  """Returns the feature called `preferred`, else the only one that fits.

  Raises:
    ValueError: None fits, or several under other names.
  """
  features = builder.info.features
  keys = sorted(key for key, value in features.items() if fits(value))
  if preferred not in keys and len(keys) != 1:
    raise ValueError(
      f"'tfds:{builder.info.full_name}' must have one feature that is "
      f'{preferred}, got {keys} among {sorted(features)}'
    )
  return preferred if preferred in keys else keys[0]


class Records(NamedTuple):
  """The examples of a split: `read` gives those of indices [b]."""

  size: int
  read: Callable[[Iterable[int]], list[dict[str, Any]]]


def records(
  builder: 'tfds.core.DatasetBuilder', split: str, keys: Collection[str]
) -> Records:
  """Opens a split or a slice such as 'train[:90%]'; only `keys` are decoded.

  Raises:
    ValueError: The split does not exist, or the set is damaged.
  """
  import tensorflow_datasets as tfds

  name, splits = f'tfds:{builder.info.full_name}', builder.info.splits
  folder = Path(builder.data_path)
  for part in split.split('+'):
    part = part.partition('[')[0].strip()
    check_split(part, list(splits), name)
    with _damage(folder):
      _check_shards(splits[part])
  try:
    size = splits[split].num_examples
  except Exception as error:
    raise ValueError(f'{name} has no split {split!r}: {error}') from error
  skip = tfds.decode.SkipDecoding()
  skipped = {key: skip for key in builder.info.features if key not in keys}
  with _damage(folder):
    source = builder.as_data_source(split, decoders=skipped)

  def read(indices: Iterable[int]) -> list[dict[str, Any]]:
    with _damage(folder):
      found = source.__getitems__([int(index) for index in indices])
      # A feature under another name than that of the records.
      lost = {key for record in found for key, x in record.items() if x is None}
      if lost:
        raise ValueError(f'the records have no {", ".join(sorted(lost))}')
      return found

  return Records(size, read)


def content(
  builder: 'tfds.core.DatasetBuilder', keys: Collection[str]
) -> Iterator[tuple[str, bytes]]:
  """Yields the features `keys` of about 1,000 examples of every split."""
  for split in sorted(builder.info.splits):
    source, part = records(builder, split, ()), f'{split} split'
    yield part, str(source.size).encode()
    for record in source.read(range(0, source.size, 1 + source.size // 1000)):
      for value in (record[key] for key in keys):
        raw = value if isinstance(value, bytes) else str(value).encode()
        yield part, raw


@contextlib.contextmanager
def _damage(folder: Path) -> Iterator[None]:
  """Names the folder of a prepared set, and the cure, in any error."""
  try:
    yield
  except Exception as error:
    # TFDS, protobuf and array_record raise what they like.
    reason = f'{type(error).__name__}: {error}'.partition('\n')[0]
    raise ValueError(
      f'the prepared set {folder} is damaged ({reason}); delete the folder and '
      'prepare it again'
    ) from error


def _check_shards(split: 'tfds.core.SplitInfo') -> None:
  """Raises ValueError unless the files have as many records as TFDS wrote."""
  from array_record.python import array_record_module

  for file, size in zip(split.filepaths, split.shard_lengths, strict=True):
    reader = array_record_module.ArrayRecordReader(os.fspath(file))
    found = reader.num_records()
    reader.close()
    if found != size:
      raise ValueError(f'{file.name} has {found} of {size} records')


def _foreign_classes(features: Any) -> Iterator[str]:
  """Yields the classes outside TFDS that a features.json would import."""
  if isinstance(features, list):
    for value in features:
      yield from _foreign_classes(value)
  elif isinstance(features, dict):
    for key, value in features.items():
      if isinstance(value, str) and key in _CLASS_KEYS and '.' in value:
        if not value.startswith('tensorflow_datasets.'):
          yield value
      yield from _foreign_classes(value)


def prepare(name: str, data_dir: Path, manual_dir: Path | None = None) -> Path:
  """Downloads and prepares an official TFDS set as array_record.

  Args:
    name: 'set', 'set/config' or 'set:version' as TFDS names it.
    data_dir: The directory of all sets.
    manual_dir: Folder of files downloaded by hand.

  Returns:
    The folder of the set.

  Raises:
    ValueError: The directory is in a bucket.
    ModuleNotFoundError: TensorFlow, which TFDS encodes with, is absent.
  """
  if not files.is_local(data_dir):
    raise ValueError(
      f'prepare {name} in a local --data-dir, and copy that to {data_dir}'
    )
  if folder := find(data_dir, name):
    return folder
  if importlib.util.find_spec('tensorflow') is None:
    raise ModuleNotFoundError(
      f'preparing tfds:{name} needs TensorFlow (reading it afterwards does '
      "not): pip install 'jaxdiff[tf]'"
    )
  data_dir.mkdir(parents=True, exist_ok=True)
  lock = data_dir / f'{name.replace("/", "_").partition(":")[0]}.lock'
  # The file stays: removing it would let two processes lock two files. The
  # kernel releases the lock of a process that dies.
  with open(lock, 'w') as file:
    fcntl.flock(file, fcntl.LOCK_EX)
    # Another process may have finished while this one waited.
    if folder := find(data_dir, name):
      return folder
    import tensorflow_datasets as tfds

    builder = tfds.builder(name, data_dir=os.fspath(data_dir))
    builder.download_and_prepare(
      file_format='array_record',
      download_config=tfds.download.DownloadConfig(
        manual_dir=manual_dir and os.fspath(manual_dir.expanduser().absolute())
      ),
    )
    return Path(builder.data_path)
