"""Files, local or in a bucket, that are there whole or not at all."""

import contextlib
import errno
import fcntl
import hashlib
import io
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from jaxdiff import buckets


def as_path(name: str | os.PathLike[str]) -> Path:
  """Returns a path: pathlib's, or epath's of gs://BUCKET/..., used alike.

  Raises:
    ValueError: no name, a bucket of another kind, or gcsfs is not installed.
    OSError: the bucket cannot be reached.
  """
  text = os.fspath(name)
  if not text.strip():
    raise ValueError(f'a path must have a name, got {text!r}')
  scheme, found, _ = text.partition('://')
  if not found or not scheme.isalnum():
    return Path(name)
  if scheme != 'gs':
    raise ValueError(f'{text}: buckets are named gs://..., {scheme}:// is none')
  return buckets.as_path(text)


def absolute(name: str | os.PathLike[str]) -> Path:
  """Returns an absolute path; see `as_path`."""
  path = as_path(name)
  return path.absolute() if is_local(path) else path


def is_local(path: Path) -> bool:
  """Tells whether a path of `as_path` is not in a bucket."""
  return isinstance(path, Path)


def local(name: str | os.PathLike[str]) -> Path:
  """Returns a local path to read from: of what is in a bucket, that of a copy.

  The copy, of an object or of a folder, is kept in ~/.cache/jaxdiff/buckets.
  Objects that have changed are copied again.

  Raises:
    FileNotFoundError: nothing is there in the bucket.
  """
  path = as_path(name)
  if is_local(path):
    return path
  if not path.exists():
    raise FileNotFoundError(f'there is no {path}')
  kept = Path.home() / '.cache' / 'jaxdiff' / 'buckets'
  copy = lambda file: kept / os.fspath(file).removeprefix('gs://')
  found = {copy(x): x for x in (below(path) if path.is_dir() else [path])}
  for file, source in found.items():
    stat, here = source.stat(), file.stat() if file.exists() else None
    if not here or (here.st_size, here.st_mtime) != (stat.length, stat.mtime):
      save(file, lambda part, source=source: _copy(source, part))
      os.utime(file, (stat.mtime, stat.mtime))
  for file in set(below(copy(path))) - found.keys():
    if file.name[0] != '.':  # or another process is just writing it
      file.unlink(missing_ok=True)
  return copy(path)


def regular(name: str | os.PathLike[str], what: str = 'file') -> Path:
  """Returns a local path to read from, of a file that can be read again.

  Raises:
    FileNotFoundError: there is none; it is called `what`.
    ValueError: a folder, a pipe or a device.
  """
  path = local(name).expanduser()
  if not path.exists():
    raise FileNotFoundError(f'no such {what}: {path}')
  if not path.is_file():
    raise ValueError(f'{path} is not a regular file: write its content to one')
  return path


def below(folder: Path) -> list[Path]:
  """Lists the files of a folder and of those below it, sorted."""
  if is_local(folder):
    return sorted(path for path in folder.rglob('*') if path.is_file())
  return buckets.below(folder)


def remove(folder: Path) -> None:
  """Removes a folder and what is in it."""
  shutil.rmtree(folder) if is_local(folder) else folder.rmtree()


def remove_empty(folder: Path) -> None:
  """Removes a folder, unless there is something in it."""
  if is_local(folder):  # in a bucket there are no empty ones
    with contextlib.suppress(OSError):
      folder.rmdir()


def append(path: Path, text: str) -> None:
  """Appends to a file of text; an object of a bucket is written anew."""
  if is_local(path):
    with path.open('a') as file:
      file.write(text)
  else:
    path.write_bytes(path.read_bytes() + text.encode())


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
  """Holds a lock, or in a bucket a lease; a killed process lets it go.

  Raises:
    BlockingIOError: another process holds it.
  """
  if not is_local(path):
    with buckets.held(path):
      yield
    return
  path.parent.mkdir(parents=True, exist_ok=True)
  with path.open('w') as file:
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    yield


def _copy(source: Path, target: Path) -> None:
  with source.open('rb') as file, target.open('wb') as copy:
    shutil.copyfileobj(file, copy, 1 << 24)


def write_text(text: str, path: Path) -> None:
  """Writes a file of text, its ends of line as they are."""
  save(path, lambda file: file.write_text(text, encoding='utf-8', newline=''))


def read_text(path: Path) -> str:
  """Reads a file of text, its ends of line as they are."""
  return path.read_bytes().decode()


def write_npz(path: Path, **arrays: np.ndarray) -> None:
  """Writes an NPZ file of arrays."""
  save(path, lambda file: np.savez(file, **arrays))


def read_npz(path: Path) -> dict[str, np.ndarray]:
  """Reads the arrays of an NPZ file."""
  with path.open('rb') as file, np.load(file) as arrays:
    return dict(arrays)


def save(path: str | os.PathLike[str], write: Callable[[Path], None]) -> None:
  """Writes a file whole or not at all.

  A link is followed, and a file that is replaced passes on its mode. An object
  of a bucket replaces the one before it at the end of its upload.

  Args:
    path: of the file.
    write: writes a temporary file beside it, of the same ending.

  Raises:
    OSError: it cannot be written; see `check_target`.
  """
  check_target(path)
  path = as_path(path)
  if not is_local(path):
    with tempfile.TemporaryDirectory() as folder:
      temporary = Path(folder) / path.name
      write(temporary)
      _copy(temporary, path)
    return
  path = path.resolve()
  path.parent.mkdir(parents=True, exist_ok=True)
  temporary = path.with_name(f'.{os.getpid()}.{path.name}')
  try:
    if path.exists():
      temporary.touch(path.stat().st_mode & 0o777)
      temporary.chmod(path.stat().st_mode & 0o777)
    write(temporary)
    temporary.replace(path)
  except BaseException:
    with contextlib.suppress(OSError):
      temporary.unlink()
    raise


def check_target(path: str | os.PathLike[str], folder: bool = False) -> None:
  """Checks that a file can be written, or a folder with files in it.

  Raises:
    OSError: something else stands there, or the folder is not writable.
  """
  path = as_path(path)
  if path.exists() and not (path.is_dir() if folder else path.is_file()):
    found = 'a folder' if path.is_dir() else 'no regular file'
    found = 'a file' if path.is_file() else found
    wanted = 'a folder' if folder else 'a file'
    raise FileExistsError(f'{path} is {found}, and {wanted} was to be written')
  if not is_local(path):
    return
  with contextlib.suppress(FileNotFoundError, NotADirectoryError):
    path.stat()  # a link that leads to itself has no end
  parent = path.resolve() if folder else path.resolve().parent
  while not parent.exists():
    parent = parent.parent
  if not parent.is_dir():
    raise NotADirectoryError(f'{parent} is no folder: {path} cannot be written')
  if not os.access(parent, os.W_OK | os.X_OK):
    raise PermissionError(errno.EACCES, 'cannot be written to', str(parent))


def write_json(path: Path, value: Any) -> None:
  """Writes a JSON file."""
  write_text(json.dumps(value, indent=2) + '\n', path)


def json_hash(value: Any) -> str:
  """Computes a short hash of anything that JSON can hold."""
  text = json.dumps(value, sort_keys=True)
  return hashlib.sha256(text.encode()).hexdigest()[:16]


def read_json(path: Path, what: str) -> Any:
  """Reads a JSON file.

  Raises:
    ValueError: it is damaged, or no file; the message names it.
  """
  if path.exists() and not path.is_file():
    raise ValueError(f'{what} {path} is no regular file')
  try:
    return json.loads(read_text(path))
  except (ValueError, RecursionError) as error:
    message = f'{what} {path} is damaged, bring it back from a copy: {error}'
    raise ValueError(message) from error


def read_pieces(
  path: str | os.PathLike[str], size: int = 1 << 20
) -> Iterator[str]:
  """Yields the characters of a text file that a person wrote, in pieces.

  The file is UTF-8. A byte order mark is left out, line ends stay as they are.

  Args:
    path: The file.
    size: Number of characters of a piece.

  Raises:
    FileNotFoundError: There is no such file.
    ValueError: It is not a regular file, changes while it is read, or is not
      text; the message names the line.
  """
  path = regular(path, 'file of text')
  line = 1
  with (
    path.open('rb') as file,
    io.TextIOWrapper(file, 'utf-8-sig', newline='\n') as text,
  ):
    before = os.fstat(file.fileno())
    try:
      while piece := text.read(size):
        if '\0' in piece:
          line += piece.count('\n', 0, piece.index('\0'))
          raise ValueError(f'{path} line {line} has a NUL: it is not text')
        line += piece.count('\n')
        yield piece
    except UnicodeDecodeError as error:
      # The whole first part that is text, and no character that is cut.
      found = path.read_bytes().decode(errors='surrogateescape')
      line = 1 + re.split('[\ud800-\udfff]', found)[0].count('\n')
      reason = f'is not UTF-8 text: {error.reason}'
      raise ValueError(f'{path} line {line} {reason}') from None
    after = os.fstat(file.fileno())
    if file.tell() != before.st_size or after.st_mtime_ns != before.st_mtime_ns:
      raise ValueError(f'{path} changed while it was read')


def read_lines(path: str | os.PathLike[str]) -> list[str]:
  """Reads the lines of a text file that a person wrote.

  Only \\n and \\r\\n end a line. Raises what `read_pieces` raises.
  """
  text = ''.join(read_pieces(path)).replace('\r\n', '\n')
  # Not `splitlines`, which takes rarer characters for ends of lines too.
  return text.removesuffix('\n').split('\n') if text else []
