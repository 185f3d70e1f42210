"""Weights files of either kind, and what identifies one."""

import hashlib
import os
from pathlib import Path

import numpy as np

from jaxdiff.pretrained.safetensors_files import read_safetensors
from jaxdiff.pretrained.torch_files import read_torch


def read_weights(path: str | os.PathLike, fetch: str) -> dict[str, np.ndarray]:
  """Reads a state dict: safetensors by its suffix, else a file of torch.save.

  Args:
    path: of the file.
    fetch: what to get, and where, for whoever does not have it.

  Returns:
    Name to array.

  Raises:
    FileNotFoundError: no such file; the message says `fetch`.
    ValueError: as `read_safetensors` and `read_torch`.
  """
  if not Path(path).is_file():
    raise FileNotFoundError(f'no file at {os.fspath(path)}: fetch {fetch}')
  if Path(path).suffix == '.safetensors':
    return read_safetensors(path)
  return read_torch(path)


def sha256(path: str | os.PathLike) -> str:
  """Hash of a file's bytes, 64 hex digits: a figure names its weights so."""
  with open(path, 'rb') as file:
    return hashlib.file_digest(file, 'sha256').hexdigest()
