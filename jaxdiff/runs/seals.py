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
from typing import Any

_NAME = 'seal.json'


def seal(
  directory: Path, note: Mapping[str, Any], skip: Collection[str] = ()
) -> None:
  """Synchronises the files below `directory` to the disk, and seals them.

  Args:
    directory: nothing may write to it any more, except to the files in `skip`.
    note: anything JSON can hold, to be read back by `read_note`.
    skip: names of files that are left out.
  """
  files = {}
  for path in sorted(directory.rglob('*')):
    if path.is_file() and path.name not in skip:
      with open(path, 'rb') as file:
        os.fsync(file.fileno())
        files[str(path.relative_to(directory))] = [
          os.fstat(file.fileno()).st_size,
          hashlib.file_digest(file, 'sha256').hexdigest(),
        ]
  contents = {'note': note, 'files': files}
  with open(directory / _NAME, 'w') as file:
    json.dump({'sha256': _digest(contents), **contents}, file, indent=1)
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
    files = _read(directory)['files']
  except FileNotFoundError:
    yield f'{_NAME} is missing'
    return
  except PermissionError:
    raise
  except (OSError, ValueError) as error:
    yield f'{_NAME} cannot be read: {error}'
    return
  for name, (size, digest) in files.items():
    try:
      with open(directory / name, 'rb') as file:
        found = os.fstat(file.fileno()).st_size
        if found != size:
          yield f'{name} has {found} bytes instead of {size}'
        elif hashlib.file_digest(file, 'sha256').hexdigest() != digest:
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
  contents = json.loads((directory / _NAME).read_text())
  if not isinstance(contents, dict):
    raise ValueError(f'expected an object, got {contents!r}')
  digest = contents.pop('sha256', None)
  if digest != _digest(contents):
    raise ValueError(f'its own SHA-256 differs from {digest}')
  return contents


def _digest(contents: Mapping[str, Any]) -> str:
  text = json.dumps(contents, sort_keys=True)
  return hashlib.sha256(text.encode()).hexdigest()
