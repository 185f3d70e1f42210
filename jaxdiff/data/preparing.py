"""Preparing a set on disk, once, whoever asks first.

TFDS writes to a scratch directory and renames it, so a set is either absent
or whole, even after SIGKILL. A lock on a file beside it (released by the
kernel when its holder dies) makes everyone else wait instead of doing the
same work: processes of one machine, and hosts that share a disk. Hosts with
a disk each prepare each their own; so no barrier, which would leave all but
one of those without data.
"""

import contextlib
import fcntl
import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path

from jaxdiff.data.records import find_prepared


def resolve_data_dir(data_dir: str | os.PathLike | None = None) -> Path:
  """`data_dir`, else $TFDS_DATA_DIR, else ~/.cache/jaxdiff/data."""
  default = os.environ.get('TFDS_DATA_DIR') or '~/.cache/jaxdiff/data'
  data_dir = os.fspath(data_dir or default)
  if '://' in data_dir:
    raise ValueError(
      f'data_dir must be a local or mounted directory, got {data_dir!r}'
    )
  return Path(data_dir).expanduser().absolute()


def prepare_digits(data_dir: Path) -> Path:
  """The folder of the built-in set 'digits', prepared if it is not yet."""
  return _prepare_built_in('digits', data_dir)


def prepare_captioned_shapes(data_dir: Path, image_size: int | None) -> Path:
  """The folder of the built-in set 'captioned_shapes', prepared if need be.

  Args:
    data_dir: The directory of all sets.
    image_size: 16 or 32; None is 32.

  Raises:
    ValueError: If there are no scenes of that size.
  """
  image_size = image_size or 32
  if image_size not in (16, 32):
    raise ValueError(
      f'captioned_shapes has images of size 16 and 32, got {image_size}'
    )
  config = f'{image_size}x{image_size}'
  return _prepare_built_in(f'captioned_shapes/{config}', data_dir)


def _prepare_built_in(name: str, data_dir: Path) -> Path:
  """Prepares 'set' or 'set/config', one of those written here."""
  if folder := find_prepared(data_dir, name):
    return folder
  with _locked(data_dir / f'{name.replace("/", "_")}.lock'):
    # Another process may have finished while this one waited.
    if folder := find_prepared(data_dir, name):
      return folder
    import tensorflow_datasets as tfds

    from jaxdiff.data.captioned_shapes import CaptionedShapes
    from jaxdiff.data.digits import Digits

    tfds.disable_progress_bar()  # It takes a second.
    stem, _, config = name.partition('/')
    builder_class = {'digits': Digits, 'captioned_shapes': CaptionedShapes}
    builder = builder_class[stem](
      data_dir=os.fspath(data_dir), config=config or None
    )
    builder.download_and_prepare(file_format='array_record')
    return Path(builder.data_path)


def prepare_tfds(
  name: str, data_dir: Path, manual_dir: Path | None = None
) -> Path:
  """Downloads and prepares an official TFDS set as array_record.

  Args:
    name: 'set', 'set/config' or 'set:version' as TFDS names it.
    data_dir: The directory of all sets.
    manual_dir: Where files downloaded by hand are; no network is needed when
      all are there.

  Raises:
    ModuleNotFoundError: If TensorFlow, which TFDS encodes with, is absent.
  """
  if folder := find_prepared(data_dir, name):
    return folder
  if importlib.util.find_spec('tensorflow') is None:
    raise ModuleNotFoundError(
      f'preparing tfds:{name} needs TensorFlow (reading it afterwards does '
      "not): pip install 'jaxdiff[tf]'"
    )
  lock = data_dir / f'{name.replace("/", "_").partition(":")[0]}.lock'
  with _locked(lock):
    if folder := find_prepared(data_dir, name):
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


@contextlib.contextmanager
def _locked(file: Path) -> Iterator[None]:
  file.parent.mkdir(parents=True, exist_ok=True)
  # The file stays: removing it would let two holders lock two files.
  with open(file, 'w') as handle:
    fcntl.flock(handle, fcntl.LOCK_EX)
    yield
