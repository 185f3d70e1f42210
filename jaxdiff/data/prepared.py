"""Data sets prepared on disk by TFDS: found, opened, and prepared once.

TFDS writes to a scratch directory and renames it, so a set is either absent or
whole. TensorFlow is imported only to prepare a set, never to read one.
"""

import fcntl
import importlib.util
import json
import os
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxdiff import files
from jaxdiff.data.records import damage

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
  with damage(folder / 'features.json'):
    features = json.loads((folder / 'features.json').read_text('utf-8'))
  if foreign := sorted(set(_foreign_classes(features))):
    raise ValueError(
      f'{folder / "features.json"} names code outside tensorflow_datasets, '
      'which is not run (if it is damaged, delete the folder and prepare it '
      f'again): {", ".join(foreign)}'
    )
  import tensorflow_datasets as tfds  # Half a second: only when needed.

  with damage(folder / 'features.json', 'or a .labels.txt beside it'):
    tfds.features.FeaturesDict.from_config(os.fspath(folder))
  with damage(folder / 'dataset_info.json'):
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
