"""Images: PNG files, a grid of them, or an NPZ as ADM's evaluation reads it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from jaxdiff import files, pictures
from jaxdiff.modalities import Medium


def numbers() -> Medium:
  """Of images [B, H, W, C] in [-1, 1]."""
  return _medium(pictures.to_uint8)


def categories(num: int) -> Medium:
  """Of values 0 .. num - 1 as categories; MASK, which is num, is shown grey."""

  def to_uint8(drawn: Any) -> np.ndarray:
    x = np.asarray(drawn.x)
    scaled = np.rint(x * (255.0 / max(num - 1, 1)))
    return np.where(x == num, 128, scaled).astype(np.uint8)

  return _medium(to_uint8)


def _medium(to_uint8: Any) -> Medium:
  return Medium(
    unit='image',
    suffix='.png',
    endings=('.png', '.npz'),
    split=lambda drawn: list(to_uint8(drawn)),
    save=pictures.save_png,
    read=_read,
    gather=_gather,
    strip=lambda path, stem: _strip(to_uint8(path), stem),
  )


def _gather(
  images: Sequence[np.ndarray], names: Sequence[str], path: Path
) -> None:
  stacked = np.stack(images)
  if path.suffix == '.npz':
    files.write_npz(path, arr_0=stacked)
  elif names:
    pictures.save_png(pictures.labelled_grid(stacked, names), path)
  else:
    pictures.save_png(pictures.grid(stacked), path)


def _strip(path: np.ndarray, stem: Path) -> Path:
  file = stem.with_suffix('.png')
  pictures.save_png(pictures.strip(path), file)
  return file


def _read(path: Path) -> np.ndarray:
  image = np.asarray(Image.open(path))
  return image[..., None] if image.ndim == 2 else image
