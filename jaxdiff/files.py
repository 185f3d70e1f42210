"""Files that are there whole or not at all."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np


def write_text(text: str, path: Path) -> None:
  """Writes a file of text, its ends of line as they are."""
  save(path, lambda file: file.write_text(text, encoding='utf-8', newline=''))


def read_text(path: Path) -> str:
  """What `write_text` wrote."""
  with path.open(encoding='utf-8', newline='') as file:
    return file.read()


def write_npz(path: Path, **arrays: np.ndarray) -> None:
  """Writes an NPZ file of arrays."""
  save(path, lambda file: np.savez(file, **arrays))


def save(path: Path, write: Callable[[Path], None]) -> None:
  """Has `write` write a file beside, of the same ending, and moves it there."""
  path.parent.mkdir(parents=True, exist_ok=True)
  temporary = path.with_name(f'.{os.getpid()}.{path.name}')
  write(temporary)
  temporary.replace(path)


def write_json(path: Path, value: Any) -> None:
  """Writes a JSON file."""
  write_text(json.dumps(value, indent=2) + '\n', path)


def read_json(path: Path, what: str) -> Any:
  """Reads a JSON file.

  Raises:
    ValueError: it is damaged; the message names it.
  """
  try:
    return json.loads(read_text(path))
  except ValueError as error:
    raise ValueError(f'{what} {path} is damaged: {error}') from error
