"""Tensors out of safetensors files."""

import os

import ml_dtypes  # noqa: F401  numpy knows bfloat16 once it is imported
import numpy as np
from safetensors import SafetensorError, safe_open


def read_safetensors(path: str | os.PathLike) -> dict[str, np.ndarray]:
  """Reads every tensor of a file.

  Args:
    path: of a `.safetensors` file.

  Returns:
    Name to array, of the stored type (bfloat16 is ml_dtypes').

  Raises:
    ValueError: not such a file, truncated or damaged.
  """
  try:
    with safe_open(os.fspath(path), 'numpy') as file:
      return {name: file.get_tensor(name) for name in file.keys()}
  except SafetensorError as error:
    raise ValueError(
      f'{os.fspath(path)} cannot be read as safetensors: {error}'
    ) from error
