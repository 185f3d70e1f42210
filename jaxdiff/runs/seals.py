"""Seals: is this directory still what was written?

`seal.json` holds the size and the SHA-256 of every file beside and below it,
and a SHA-256 of itself. That finds a file that was deleted, cut short or
changed in a single bit, whatever its format and whoever wrote it.
"""

import hashlib
import json
import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from jaxdiff import files

_NAME = 'seal.json'


def seal(
  directory: Path, note: Mapping[str, Any], skip: Collection[str] = ()
) -> None:
  """Synchronises the files below `directory` to the disk, and seals them.

  From a bucket they are read back, which shows that they are there.

  Args:
    directory: nothing may write to it any more, except to the files in `skip`.
    note: anything JSON can hold, to be read back by `read_note`.
    skip: names of files that are left out.
  """
  local, sealed = files.is_local(directory), {}
  for path in files.below(directory):
    if path.name not in skip:
      with path.open('rb') as file:
        if local:
          os.fsync(file.fileno())
        name = path.relative_to(directory).as_posix()
        sealed[name] = [_size(file), _sha256(file)]
  contents = {'note': note, 'files': sealed}
  with (directory / _NAME).open('w') as file:
    json.dump({'sha256': _digest(contents), **contents}, file, indent=1)
    if local:
      file.flush()
      os.fsync(file.fileno())


def damages(directory: Path) -> Iterator[str]:
  """Yields what differs from the seal, one sentence a file; reads them all.

  Raises:
    PermissionError: a file may not be read, so nobody can tell.
  """
  try:
    if not any(directory.iterdir()):
      yield 'the directory is empty'
      return
    sealed = _read(directory)['files']
  except FileNotFoundError:
    yield f'{_NAME} is missing'
    return
  except PermissionError:
    raise
  except (OSError, ValueError) as error:
    yield f'{_NAME} cannot be read: {error}'
    return
  for name, (size, digest) in sealed.items():
    try:
      with (directory / name).open('rb') as file:
        found = _size(file)
        if found != size:
          yield f'{name} has {found} bytes instead of {size}'
        elif _sha256(file) != digest:
          yield f'{name} is not what was written: its SHA-256 differs'
    except FileNotFoundError:
      yield f'{name} is missing'
    except PermissionError:
      raise
    except OSError as error:
      yield f'{name} cannot be read: {error}'


def read_note(directory: Path) -> dict[str, Any]:
  """The `note` that was given to `seal`.

  Raises:
    FileNotFoundError: if there is no seal.
    ValueError: if the seal itself is damaged.
  """
  return _read(directory)['note']


def _read(directory: Path) -> dict[str, Any]:
  contents = files.read_json(directory / _NAME, 'the seal')
  if not isinstance(contents, dict):
    raise ValueError(f'expected an object, got {contents!r}')
  digest = contents.pop('sha256', None)
  if digest != _digest(contents):
    raise ValueError(f'its own SHA-256 differs from {digest}')
  return contents


def _size(file: BinaryIO) -> int:
  size = file.seek(0, os.SEEK_END)
  file.seek(0)
  return size


def _sha256(file: BinaryIO) -> str:
  return hashlib.file_digest(file, 'sha256').hexdigest()


def _digest(contents: Mapping[str, Any]) -> str:
  text = json.dumps(contents, sort_keys=True)
  return hashlib.sha256(text.encode()).hexdigest()
