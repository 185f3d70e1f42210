"""Files of weights in either format, and the hash that identifies one."""

import hashlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import numpy as np

from jaxdiff.pretrained.safetensors_files import read_safetensors
from jaxdiff.pretrained.torch_files import read_torch

State = Mapping[str, np.ndarray]  # a state dict: name to array
T = TypeVar('T')


def read_weights(
  path: str | os.PathLike, fetch: str, prefix: str = ''
) -> dict[str, np.ndarray]:
  """Reads a state dict: safetensors by its suffix, else a file of torch.save.

  Args:
    path: The file.
    fetch: What to get, and from where, for the message if there is no file.
    prefix: Of the names of the tensors that are read.

  Raises:
    FileNotFoundError: There is no such file.
    ValueError: As in `read_safetensors` and `read_torch`.
  """
  check_exists(path, fetch)
  if Path(path).suffix == '.safetensors':
    return read_safetensors(path, prefix)
  return read_torch(path, prefix)


def check_exists(path: str | os.PathLike, fetch: str) -> None:
  """Raises FileNotFoundError, saying `fetch`, unless there is such a file."""
  if not Path(path).is_file():
    raise FileNotFoundError(f'no file at {os.fspath(path)}: fetch {fetch}')


def load_params(
  path: str | os.PathLike, fetch: str, params: Callable[[State], T]
) -> tuple[T, str]:
  """Reads what `params` makes of the state dict, and the hash of the file.

  Raises:
    FileNotFoundError: As in `read_weights`.
    ValueError: As in `read_weights` and `params`; the message names the file.
  """
  state = read_weights(path, fetch)
  try:
    return params(state), sha256(path)
  except ValueError as error:
    raise ValueError(f'{os.fspath(path)}: {error}') from error


def sha256(path: str | os.PathLike) -> str:
  """Computes the hash of a file's bytes, 64 hex digits, for results to name."""
  with open(path, 'rb') as file:
    return hashlib.file_digest(file, 'sha256').hexdigest()
