"""Images to edit or enlarge, brought to the size of the model."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from jaxdiff.data.images import decode_image


def read_image(
  path: str, image_shape: tuple[int, ...], behind: str = 'white'
) -> np.ndarray:
  """Reads an image as the model has them: float32 [H, W, C] in [-1, 1].

  Colour becomes grey, or grey colour, as the model wants it. Another size is
  resized, another shape refused.

  Args:
    path: of any file that Pillow reads.
    image_shape: (H, W, C) of the model, C 1 or 3.
    behind: the colour on which transparency is composited.

  Raises:
    FileNotFoundError: nothing is there.
    ValueError: it is no image, or not of the model's proportions.
  """
  height, width, channels = image_shape
  if channels not in (1, 3):
    raise ValueError(
      f'only images of 1 or 3 channels can be edited, the model has {channels}'
    )
  if not Path(path).exists():
    raise FileNotFoundError(f'there is no image {path}')
  pixels = decode_image(path, str(path), channels, behind=behind)
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

  A pixel is white if it is lighter than half after resizing; a transparent one
  is kept, whatever its colour.

  Raises:
    FileNotFoundError, ValueError: as `read_image`; nothing is white, or
      everything is.
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
  paths: Mapping[str, str | None],
  wanted: tuple[str, ...],
  image_shape: tuple[int, ...],
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
  """The images that an edit wants, and what to remember of them.

  Args:
    paths: name -> file; 'mask' is read as a mask.
    wanted: the names that must be given, and no other may.
    image_shape: (H, W, C) of the model.

  Returns:
    ({name: array}, {name: {'path', 'sha256'}}).

  Raises:
    ValueError: one is missing or not wanted; or as `read_image`.
  """
  given = {name: path for name, path in paths.items() if path is not None}
  if given.keys() != set(wanted):
    flags = lambda names: ', '.join(f'--{n}' for n in sorted(names)) or 'none'
    raise ValueError(
      f'--edit decides which images are needed: here {flags(wanted)}, got '
      f'{flags(given)}'
    )
  arrays = {
    name: (read_mask if name == 'mask' else read_image)(path, image_shape)
    for name, path in given.items()
  }
  # A job may only go on with the very same image.
  described = {
    name: {
      'path': path,
      'sha256': hashlib.sha256(Path(path).read_bytes()).hexdigest(),
    }
    for name, path in given.items()
  }
  return arrays, described
