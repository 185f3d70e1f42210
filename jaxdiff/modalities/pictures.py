"""Grids, strips and films of images, and their files."""

import os
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from jaxdiff import files

if TYPE_CHECKING:
  from matplotlib.figure import Figure

MODES = {1: 'L', 2: 'LA', 3: 'RGB', 4: 'RGBA'}


def to_uint8(images: Any) -> np.ndarray:
  """[-1, 1] floats to 0..255, rounded and held to the range."""
  images = np.asarray(images, np.float32)
  return np.clip(np.rint((images + 1) * 127.5), 0, 255).astype(np.uint8)


def save_png(image: np.ndarray, path: str | os.PathLike[str]) -> None:
  """Writes a PNG file of uint8 [H, W, C], C from 1 to 4."""
  pixels = image[..., 0] if image.shape[-1] == 1 else image
  picture = Image.fromarray(pixels, MODES[image.shape[-1]])
  files.save(path, lambda file: picture.save(file, format='PNG'))


def grid(
  images: np.ndarray, columns: int | None = None, width: int = 640
) -> np.ndarray:
  """Tiles uint8 images [N, H, W, C] row by row on white.

  Small images are magnified by a whole factor, as far as the grid stays within
  `width` pixels: a pixel stays a square.

  Args:
    images: [N, H, W, C].
    columns: images in a row; about the square root of N by default.
    width: in pixels, of the result at most, unless the images need more.

  Returns:
    uint8 [H', W', C].
  """
  num, height, width_each, channels = images.shape
  columns = min(columns or int(np.ceil(np.sqrt(num))), num)
  rows = -(-num // columns)
  scale = max(1, width // (columns * (width_each + 1)))
  images = images.repeat(scale, axis=1).repeat(scale, axis=2)
  gap = max(1, scale // 2)
  cell = (height * scale + gap, width_each * scale + gap)
  canvas = np.full(
    (rows * cell[0] + gap, columns * cell[1] + gap, channels), 255, np.uint8
  )
  for i, image in enumerate(images):
    top, left = gap + i // columns * cell[0], gap + i % columns * cell[1]
    canvas[top : top + image.shape[0], left : left + image.shape[1]] = image
  return canvas


def labelled_grid(
  images: np.ndarray, names: Sequence[str], width: int = 640
) -> np.ndarray:
  """The images of each name beside it, in rows of ten at most.

  Args:
    images: uint8 [N, H, W, C], C 1 or 3; image i has the name i modulo M.
    names: [M].
    width: in pixels, of the images at most, unless they need more.

  Returns:
    uint8 [H', W', 3].
  """
  num, height = len(names), images.shape[1]
  each = -(-len(images) // num)
  columns = min(each, 10)
  lines_each = -(-each // columns)
  # Image i has the name i mod M; those of a name follow one another.
  rows = np.full((num, lines_each * columns, *images.shape[1:]), 255, np.uint8)
  for name in range(num):
    mine = images[name::num]
    rows[name, : len(mine)] = mine
  # A few columns are not blown up to fill the width.
  width = min(width, columns * (images.shape[2] + 1) * max(1, 128 // height))
  picture = grid(rows.reshape(-1, *images.shape[1:]), columns, width)
  scale = max(1, width // (columns * (images.shape[2] + 1)))
  cell = lines_each * (height * scale + max(1, scale // 2))
  font = ImageFont.load_default(size=min(16, max(10, cell // 3)))
  lines = [textwrap.fill(name, 24) for name in names]
  words = [line for name in lines for line in name.split('\n')]
  margin = int(max(map(font.getlength, words))) + 16
  canvas = Image.new(
    'RGB', (picture.shape[1] + margin, picture.shape[0]), 'white'
  )
  pixels = picture.repeat(3, axis=-1) if picture.shape[-1] == 1 else picture
  canvas.paste(Image.fromarray(pixels), (margin, 0))
  draw = ImageDraw.Draw(canvas)
  for row, name in enumerate(lines):
    centre = row * cell + cell // 2
    draw.multiline_text((6, centre), name, 'black', font, anchor='lm')
  return np.asarray(canvas)


def strip(path: np.ndarray, columns: int = 11) -> np.ndarray:
  """Denoising from left to right, one sample a row.

  Args:
    path: uint8 [N, steps + 1, H, W, C], every xt on the way.
    columns: how many of the times are shown, evenly spaced, both ends in.

  Returns:
    uint8 [H', W', C].
  """
  picked = path[:, shown(path.shape[1], columns)]
  return grid(picked.reshape(-1, *path.shape[2:]), picked.shape[1])


def shown(num: int, most: int) -> np.ndarray:
  """Up to `most` indices below `num`, evenly spaced, both ends in."""
  return np.linspace(0, num - 1, min(most, num)).round().astype(int)


def of_figure(figure: 'Figure') -> np.ndarray:
  """Draws a figure of matplotlib, uint8 [H, W, 3]."""
  from matplotlib.backends.backend_agg import FigureCanvasAgg

  canvas = FigureCanvasAgg(figure)
  canvas.draw()
  return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def save_film(
  frames: Sequence[np.ndarray],
  path: str | os.PathLike[str],
  seconds: float = 4.0,
) -> None:
  """Writes a film as GIF or WebP that repeats; the last frame stays longer.

  Args:
    frames: uint8 [H, W, C], C 1 or 3, all of one size.
    path: Of the file; its ending is its format.
    seconds: From the first frame to the last, which stays half as long.
  """
  each = round(1000 * seconds / len(frames))
  durations = [each] * (len(frames) - 1) + [round(500 * seconds)]
  shape = lambda x: x[..., 0] if x.shape[-1] == 1 else x
  first, *rest = (Image.fromarray(shape(x)) for x in frames)
  kind = str(path).rpartition('.')[2].upper()
  files.save(
    path,
    lambda file: first.save(
      file,
      format=kind,
      save_all=True,
      append_images=rest,
      duration=durations,
      loop=0,
      quality=90,  # of WebP: without loss, noise takes megabytes
    ),
  )
