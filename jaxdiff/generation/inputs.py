"""Images to edit or enlarge, resized for the model."""

import hashlib
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from PIL import Image

from jaxdiff import files
from jaxdiff.data.images import decode_image


class Images(NamedTuple):
  """Images by name: arrays, the SHA-256 of their files, and the paths."""

  arrays: dict[str, np.ndarray]
  hashes: dict[str, str]
  paths: dict[str, str]


def read_image(
  path: str, image_shape: tuple[int, ...], behind: str = 'white'
) -> np.ndarray:
  """Reads an image: float32 [H, W, C] in [-1, 1], resized, grey or coloured.

  Args:
    path: Of the file.
    image_shape: (H, W, C) of the model, C 1 or 3.
    behind: The colour on which transparency is composited.

  Raises:
    FileNotFoundError: Nothing is there.
    ValueError: It is no image, or not of the model's proportions.
  """
  height, width, channels = image_shape
  if channels not in (1, 3):
    raise ValueError(
      f'only images of 1 or 3 channels can be edited, the model has {channels}'
    )
  file = files.regular(path, 'image')
  pixels = decode_image(file, str(path), channels, behind=behind)
  found = pixels.shape[:2]
  # Less than a pixel of the model's may be lost to rounding.
  if abs(found[0] * width - found[1] * height) >= max(found):
    raise ValueError(
      f'{path} is {found[1]}x{found[0]} pixels, and the model draws '
      f'{width}x{height}: crop it to these proportions'
    )
  if found != (height, width):
    image = Image.fromarray(pixels[..., 0] if channels == 1 else pixels)
    image = image.resize((width, height), Image.Resampling.BICUBIC)
    pixels = np.asarray(image).reshape(height, width, channels)
  return pixels.astype(np.float32) / 127.5 - 1


def read_mask(path: str, image_shape: tuple[int, ...]) -> np.ndarray:
  """Reads a mask: bool [H, W, 1], true where the file is white.

  White is lighter than half after resizing. A transparent pixel is kept,
  whatever its colour.

  Raises:
    ValueError: Nothing is white, or everything is; or as `read_image`.
  """
  mask = read_image(path, (*image_shape[:2], 1), behind='black') > 0
  if not mask.any():
    raise ValueError(f'{path} has nothing white: white is what will be filled')
  if mask.all():
    raise ValueError(
      f'{path} is white everywhere: nothing of the image would be kept'
    )
  return mask


def read(
  paths: Mapping[str, str | None], image_shape: tuple[int, ...]
) -> Images:
  """Reads the images of a job.

  Args:
    paths: Name -> file; 'mask' is read as a mask.
    image_shape: (H, W, C) of the model.
  """
  given = {name: path for name, path in paths.items() if path is not None}
  arrays = {
    name: (read_mask if name == 'mask' else read_image)(path, image_shape)
    for name, path in given.items()
  }
  sha256 = lambda path: hashlib.sha256(
    files.local(path).read_bytes()
  ).hexdigest()
  return Images(arrays, {k: sha256(path) for k, path in given.items()}, given)
