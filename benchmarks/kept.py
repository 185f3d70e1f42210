"""Results kept in a folder, which the same command reads again."""

import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from jaxdiff import files

Found = TypeVar('Found')


def read(path: Path, pick: Callable[[Any], Found]) -> Found:
  """Reads a JSON file and returns what `pick` takes from its value.

  Raises:
    ValueError: The file is damaged, or `pick` does not find what it needs.
  """
  try:
    return pick(json.loads(files.read_text(path)))
  except (
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    RecursionError,
  ) as error:
    raise ValueError(
      f'{path} is damaged: delete it, and the same command makes it again'
    ) from error


def read_array(path: Path, name: str, beside: Path) -> np.ndarray:
  """Reads an array of an NPZ file.

  Args:
    path: The file.
    name: Name of the array in it.
    beside: The file of results that was written after it.

  Raises:
    ValueError: It is missing or damaged, or the array is not of numbers.
  """
  try:
    array = files.read_npz(path)[name]
    if array.dtype.kind in 'uif' and np.isfinite(array).all():
      return array
  except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile):
    pass
  raise ValueError(
    f'{path} is missing or damaged: delete {beside}, and the same command '
    'makes both again'
  )


def compare(path: Path, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
  """Compares the options of kept results with those of this command.

  Raises:
    ValueError: They differ.
  """
  for name, value in new.items():
    if old[name] != value:
      flag = name.replace('_', '-')
      raise ValueError(
        f'{path} was made with --{flag} {old[name]}, got {value}: name another '
        'folder'
      )
