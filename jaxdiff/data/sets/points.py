"""Points in the plane, drawn anew at every start: three usual toy sets.

  two_moons     two half circles that interlock, with noise; labels 0 and 1
  swiss_roll    a spiral of one and a half turns, with noise
  checkerboard  8 of the 16 squares of a board, uniform

Each has 10,000 points to train on and 2,000 to test, float32 in about [-2, 2].
"""

import numpy as np

from jaxdiff.data.dataset import Dataset, check_split, in_memory
from jaxdiff.data.shuffling import Uniforms

_NUM = {'train': 10_000, 'test': 2_000}


def two_moons(split: str) -> Dataset:
  """Half circles of radius 1; the noise has standard deviation 0.1."""
  u = _uniforms(split, 4)
  label = (u[:, 0] < 0.5).astype(np.int32)
  angle = np.pi * u[:, 1]
  outer = np.stack([np.cos(angle) - 0.5, np.sin(angle) - 0.25], -1)
  x0 = np.where(label[:, None] == 0, outer, -outer) + 0.1 * _normal(u[:, 2:])
  return _dataset('two_moons', split, x0, label)


def swiss_roll(split: str) -> Dataset:
  """A spiral of radius 0.5 to 1.5; the noise has standard deviation 0.05."""
  u = _uniforms(split, 3)
  radius = 0.5 + u[:, :1]
  angle = 3 * np.pi * radius
  x0 = radius * np.concatenate([np.cos(angle), np.sin(angle)], -1)
  return _dataset('swiss_roll', split, x0 + 0.05 * _normal(u[:, 1:]))


def checkerboard(split: str) -> Dataset:
  """Uniform over the dark squares of a board of 4x4 over [-2, 2]."""
  u = _uniforms(split, 3)
  row = np.floor(4 * u[:, 0])
  column = 2 * np.floor(2 * u[:, 1]) + row % 2
  x0 = np.stack([column + 2 * u[:, 1] % 1, row + u[:, 2]], -1) - 2
  return _dataset('checkerboard', split, x0)


def _uniforms(split: str, num: int) -> np.ndarray:
  """[N, num] in [0, 1), other numbers for every split."""
  check_split(split, _NUM)
  return Uniforms(list(_NUM).index(split)).draw(_NUM[split], num)


def _normal(u: np.ndarray) -> np.ndarray:
  """Standard normal pairs from uniform ones (Box and Muller), [N, 2]."""
  radius, angle = np.sqrt(-2 * np.log1p(-u[:, 0])), 2 * np.pi * u[:, 1]
  return np.stack([radius * np.cos(angle), radius * np.sin(angle)], -1)


def _dataset(
  name: str, split: str, x0: np.ndarray, label: np.ndarray | None = None
) -> Dataset:
  arrays, splits = {'x0': x0.astype(np.float32)}, tuple(_NUM)
  if label is None:
    return in_memory(name, split, 'points', arrays, splits=splits)
  arrays['label'] = label
  return in_memory(name, split, 'points', arrays, 2, splits=splits)
