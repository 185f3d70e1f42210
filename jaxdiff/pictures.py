"""Pictures for people: image files, grids, denoising strips, loss curves."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

MODES = {1: 'L', 2: 'LA', 3: 'RGB', 4: 'RGBA'}


def to_uint8(images: Any) -> np.ndarray:
  """[-1, 1] floats to 0..255, rounded and held to the range."""
  images = np.asarray(images, np.float32)
  return np.clip(np.rint((images + 1) * 127.5), 0, 255).astype(np.uint8)


def save_png(image: np.ndarray, path: str | os.PathLike[str]) -> None:
  """Writes uint8 [H, W, C], C from 1 to 4, whole or not at all."""
  path = Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  pixels = image[..., 0] if image.shape[-1] == 1 else image
  temporary = path.with_name(f'.{path.name}.{os.getpid()}')
  Image.fromarray(pixels, MODES[image.shape[-1]]).save(temporary, format='PNG')
  temporary.replace(path)


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


def strip(path: np.ndarray, columns: int = 11) -> np.ndarray:
  """Denoising from left to right, one sample a row.

  Args:
    path: uint8 [N, steps + 1, H, W, C], every xt on the way.
    columns: how many of the times are shown, evenly spaced, both ends in.

  Returns:
    uint8 [H', W', C].
  """
  steps = path.shape[1] - 1
  shown = np.linspace(0, steps, min(columns, steps + 1)).round().astype(int)
  picked = path[:, shown]
  return grid(picked.reshape(-1, *path.shape[2:]), len(shown))


def save_loss_curve(
  metrics: Sequence[dict[str, float]], path: str | os.PathLike[str]
) -> None:
  """Draws 'loss' against 'step', with its running median."""
  # Half a second to import, and only here.
  import matplotlib.figure

  steps = np.array([m['step'] for m in metrics])
  loss = np.array([m['loss'] for m in metrics])
  figure = matplotlib.figure.Figure(figsize=(7, 4), layout='constrained')
  axes = figure.subplots()
  axes.plot(steps, loss, color='0.75', linewidth=1, label='each log interval')
  window = max(1, len(loss) // 20)
  if window > 1:
    median = [
      np.median(loss[max(0, i - window) : i + window + 1])
      for i in range(len(loss))
    ]
    axes.plot(steps, median, color='C0', label='running median')
    axes.legend(frameon=False)
  axes.set(xlabel='step', ylabel='loss', yscale='log')
  axes.grid(alpha=0.3)
  figure.savefig(path, dpi=120)


def read_metrics(path: str | os.PathLike[str]) -> list[dict[str, float]]:
  """The lines of a metrics.jsonl. A last line cut by a kill is left out."""
  path = Path(path)
  lines = path.read_text().splitlines() if path.exists() else []
  rows = []
  for number, line in enumerate(lines):
    try:
      rows.append(json.loads(line))
    except ValueError:
      if number + 1 < len(lines):
        raise ValueError(f'{path} line {number + 1} is damaged') from None
  return rows
