"""Decodes an image to uint8 [H, W, C], the same for every source."""

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
  behind: str = 'white',
) -> np.ndarray:
  """Decodes one image, rotated as its EXIF tag says.

  Args:
    file: Path or open file.
    name: Name of the image in an error.
    channels: 1 (grey) or 3 (RGB).
    image_size: Side length of the square wanted; None keeps the size.
    behind: Colour on which transparency is composited.

  Returns:
    uint8 [H, W, channels] in [0, 255].

  Raises:
    ValueError: The image is broken or has more than 8 bits a channel.
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
  return to_pixels(image, channels, image_size, behind)


def to_pixels(
  image: Image.Image,
  channels: int,
  image_size: int | None = None,
  behind: str = 'white',
) -> np.ndarray:
  """Converts a loaded image to uint8 [H, W, channels].

  Transparency is composited on `behind`. With `image_size` the largest centred
  square is resized to that side length by Pillow's antialiased bicubic filter:
  shortest side and centre crop in one resampling.
  """
  if image.has_transparency_data:
    image = image.convert('RGBA')
    under = Image.new('RGBA', image.size, behind)
    image = Image.alpha_composite(under, image)
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
