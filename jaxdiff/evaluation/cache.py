"""Cache of arrays on disk, in files that are named by their hash.

    FOLDER/NAME.HASH.safetensors

HASH is the SHA-256 of the file: a damaged one is computed again.
"""

import contextlib
import hashlib
import sys
from pathlib import Path

import numpy as np
import safetensors.numpy

from jaxdiff import files

Arrays = dict[str, np.ndarray]


def save(folder: Path, name: str, arrays: Arrays) -> None:
  """Writes arrays, whole or not at all."""
  content = safetensors.numpy.save(
    {k: np.ascontiguousarray(x) for k, x in arrays.items()}
  )
  path = folder / _file(name, content)
  files.save(path, lambda file: file.write_bytes(content))


def load(folder: Path, name: str) -> Arrays | None:
  """Reads arrays; None where they are missing or damaged."""
  for path in sorted(folder.glob(f'{name}.*.safetensors')):
    content = path.read_bytes()
    if path.name == _file(name, content):
      return safetensors.numpy.load(content)
    print(f'{path} is damaged, and is computed again', file=sys.stderr)
    with contextlib.suppress(OSError):
      path.unlink()
  return None


def discard(folder: Path) -> None:
  """Removes a folder, and the one above it if it is empty."""
  with contextlib.suppress(OSError):
    files.remove(folder)
  files.remove_empty(folder.parent)


def _file(name: str, content: bytes) -> str:
  return f'{name}.{hashlib.sha256(content).hexdigest()[:32]}.safetensors'
