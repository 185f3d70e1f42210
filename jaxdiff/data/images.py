"""Encoded image -> uint8 array [H, W, C], the same for every source."""

import os
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps

_DEEP_MODES = ('I', 'F', 'I;16', 'I;16B', 'I;16L', 'I;16N')


def decode_image(
  file: str | os.PathLike | BinaryIO,
  name: str,
  channels: int,
  image_size: int | None = None,
) -> np.ndarray:
  """Decodes one image.

  Rotated as its EXIF tag says, transparency composited on white, then with
  `image_size` the largest centred square is resized to that edge by Pillow's
  antialiased bicubic filter: shortest edge and centre crop in one resampling.

  Args:
    file: Path or open file.
    name: What an error calls the image.
    channels: 1 (grey) or 3 (RGB).
    image_size: Edge of the square wanted; None keeps the size.

  Returns:
    uint8 [H, W, channels] in [0, 255].

  Raises:
    ValueError: If the image is broken or has more than 8 bits a channel.
  """
  try:
    with Image.open(file) as image:
      image.load()
      ImageOps.exif_transpose(image, in_place=True)
  except Exception as error:
    # Pillow raises OSError, SyntaxError, struct.error, ... by file format.
    raise ValueError(f'cannot read the image {name}: {error}') from error
  if image.mode in _DEEP_MODES:
    raise ValueError(
      f'images must have 8 bits a channel, got {name} of Pillow mode '
      f'{image.mode!r}; convert it first'
    )
  if image.has_transparency_data:
    image = image.convert('RGBA')
    white = Image.new('RGBA', image.size, 'white')
    image = Image.alpha_composite(white, image)
  mode = 'L' if channels == 1 else 'RGB'
  if image.mode != mode:  # Else a copy; small images are all overhead.
    image = image.convert(mode)
  if image_size is not None:
    size = (image_size, image_size)
    image = ImageOps.fit(image, size, Image.Resampling.BICUBIC)
  return np.asarray(image).reshape(image.height, image.width, channels)


def is_grey(mode: str) -> bool:
  """Whether images of this Pillow mode need one channel only."""
  return mode in ('1', 'L', 'LA', 'La')
