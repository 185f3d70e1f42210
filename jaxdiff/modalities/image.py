"""Images: PNG files, a grid of them, or an NPZ as ADM's evaluation reads it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from jaxdiff import files
from jaxdiff.config import Spec
from jaxdiff.modalities import Modality, pictures


def make(spec: Spec) -> Modality:
  """Builds the modality of images, as real numbers or as categories.

  Real numbers are in [-1, 1]. Of K categories, 0 .. K - 1 are grey levels and
  MASK, which is K, is shown as middle grey.
  """
  num = spec.categories

  def to_uint8(x: Any) -> np.ndarray:
    if num is None:
      return pictures.to_uint8(x)
    x = np.asarray(x)
    scaled = np.rint(x * (255.0 / max(num - 1, 1)))
    return np.where(x == num, 128, scaled).astype(np.uint8)

  def strip(path: Any, stem: Path) -> Path:
    file = stem.with_suffix('.png')
    pictures.save_png(pictures.strip(to_uint8(path.x)), file)
    return file

  def frames(path: Any, num: int) -> list[np.ndarray]:
    x = to_uint8(path.x)
    return [pictures.grid(x[:, n]) for n in pictures.shown(x.shape[1], num)]

  return Modality(
    unit='image',
    filmed=64,
    element='value',
    suffix='.png',
    endings=('.png', '.npz'),
    split=lambda drawn: list(to_uint8(drawn.x)),
    save=pictures.save_png,
    read=_read,
    gather=_gather,
    strip=strip,
    frames=frames,
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


def _read(path: Path) -> np.ndarray:
  with path.open('rb') as file:
    image = np.asarray(Image.open(file, formats=['PNG']))
  return image[..., None] if image.ndim == 2 else image
