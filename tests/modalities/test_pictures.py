"""Grids: which image is where."""

import numpy as np
import pytest

from jaxdiff.modalities import pictures


@pytest.mark.parametrize('num', [6, 5])
@pytest.mark.parametrize('channels', [1, 3])
def test_a_row_of_a_labelled_grid_is_one_condition(num, channels):
  names = ['one', 'a second name that needs more than one line', 'three']
  # Image i shows its own number, 40 i.
  images = np.repeat(40 * np.arange(num), 8 * 8 * channels).astype(np.uint8)
  images = images.reshape(num, 8, 8, channels)
  grid = pictures.labelled_grid(images, names)
  assert grid.shape[-1] == 3
  rows = np.array_split(grid, 3, axis=0)
  found = []
  for row in rows:
    # The right part of the middle line: two images between white gaps.
    line = row[row.shape[0] // 2, :, 0]
    runs = np.split(line, np.nonzero(np.diff(line.astype(int)))[0] + 1)
    wide = [int(run[0]) for run in runs if len(run) > 60 and run[0] != 255]
    found.append(wide)
  expected = [[40 * i for i in (r, r + 3) if i < num] for r in range(3)]
  assert found == expected


def test_the_names_stand_left_of_the_images():
  images = np.full((2, 8, 8, 1), 128, np.uint8)
  grid = pictures.labelled_grid(images, ['x', 'y'])
  picture = pictures.grid(images, 1, 9 * 16)
  margin = grid.shape[1] - picture.shape[1]
  assert (grid[:, :margin] < 100).any(axis=(1, 2))[: len(grid) // 2].any()
  np.testing.assert_array_equal(
    grid[:, margin:], np.repeat(picture, 3, axis=-1)
  )
