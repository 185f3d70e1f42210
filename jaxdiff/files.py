"""Files that are there whole or not at all."""

import contextlib
import errno
import hashlib
import io
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np


def write_text(text: str, path: Path) -> None:
  """Writes a file of text, its ends of line as they are."""
  save(path, lambda file: file.write_text(text, encoding='utf-8', newline=''))


def read_text(path: Path) -> str:
  """Reads a file of text, its ends of line as they are."""
  with path.open(encoding='utf-8', newline='') as file:
    return file.read()


def write_npz(path: Path, **arrays: np.ndarray) -> None:
  """Writes an NPZ file of arrays."""
  save(path, lambda file: np.savez(file, **arrays))


def save(path: Path, write: Callable[[Path], None]) -> None:
  """Writes a file whole or not at all.

  A link is followed, and a file that is replaced passes on its mode.

  Args:
    path: of the file.
    write: writes a temporary file beside it, of the same ending, which is
      moved.

  Raises:
    OSError: it cannot be written; see `check_target`.
  """
  check_target(path)
  path = Path(path).resolve()
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
  path = Path(path)
  if path.exists() and not (path.is_dir() if folder else path.is_file()):
    found = 'no regular file'
    if path.is_dir() or path.is_file():
      found = 'a folder' if path.is_dir() else 'a file'
    wanted = 'a folder' if folder else 'a file'
    raise FileExistsError(f'{path} is {found}, and {wanted} was to be written')
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
    ValueError: it is damaged; the message names it.
  """
  try:
    return json.loads(read_text(path))
  except (ValueError, RecursionError) as error:
    raise ValueError(
      f'{what} {path} is damaged, bring it back from a copy: {error}'
    ) from error


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
  path = Path(path).expanduser()
  if not path.exists():
    raise FileNotFoundError(f'no such file of text: {path}')
  if not path.is_file():
    raise ValueError(
      f'{path} is not a regular file: a run must be able to read it again; '
      'write what it yields to a file'
    )
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
      line = _undecodable_line(path)
      raise ValueError(
        f'{path} line {line} is not UTF-8 text: {error.reason}'
      ) from None
    after = os.fstat(file.fileno())
    if file.tell() != before.st_size or after.st_mtime_ns != before.st_mtime_ns:
      raise ValueError(f'{path} changed while it was read')


def read_lines(path: str | os.PathLike[str]) -> list[str]:
  """Reads the lines of a text file that a person wrote.

  Only \\n and \\r\\n end a line. Raises what `read_pieces` raises.
  """
  text = ''.join(read_pieces(path)).replace('\r\n', '\n')
  # Not `splitlines`, which takes rarer characters for ends of lines too.
  lines = text.split('\n')
  return lines if lines[-1] else lines[:-1]


def _undecodable_line(path: Path) -> int:
  raw = path.read_bytes()
  try:
    raw.decode()
  except UnicodeDecodeError as error:
    return raw.count(b'\n', 0, error.start) + 1
  return 1
