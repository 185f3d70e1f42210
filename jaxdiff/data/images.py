"""Decodes image files to uint8 [H, W, C], the same for every source."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps

# Pillow's names. No other format is tried: for PostScript, whatever the ending
# of the file, it would start a program.
FORMATS = ('PNG', 'JPEG', 'WEBP', 'BMP', 'GIF', 'TIFF', 'PPM')
# A file of a few kilobytes may ask for gigabytes. A screen of 8K has 33 million
# pixels, a camera, whose photographs are JPEG, up to 61 million.
MAX_PIXELS = 1 << 25
MAX_PHOTO = 1 << 26
_STRIP = 1 << 20  # pixels that are composited at a time
_ORIENTATION = 0x0112  # EXIF; from 5 on it turns by a quarter


@contextlib.contextmanager
def open_image(
  file: str | os.PathLike | BinaryIO, name: str
) -> Iterator[Image.Image]:
  """Opens an image and checks its header, without decoding it.

  Args:
    file: Path or open file.
    name: Name of the image in an error.

  Raises:
    ValueError: The image is broken or of another format than `FORMATS`, has
      too many pixels (`MAX_PIXELS`), several frames, or more than 8 bits a
      channel; or decoding it within the context fails.
  """
  try:
    # Not by its path: Pillow would map an uncompressed TIFF into memory, and
    # reads one that its EXIF tag turns with the wrong width then.
    path = isinstance(file, str | os.PathLike)
    with open(file, 'rb') if path else contextlib.nullcontext(file) as opened:
      with Image.open(opened, formats=FORMATS) as image:
        _check_header(image)
        yield image
  except Exception as error:
    # Pillow raises OSError, SyntaxError, struct.error, ... by file format.
    if isinstance(error, Image.UnidentifiedImageError):
      error = f'it is none of {", ".join(FORMATS)}'
    raise ValueError(f'cannot read the image {name}: {error}') from None


def _check_header(image: Image.Image) -> None:
  photo = image.format in ('JPEG', 'MPO')
  most = MAX_PHOTO if photo else MAX_PIXELS
  if image.width * image.height > most:
    raise ValueError(
      f'it has {image.width}x{image.height} pixels, and at most {most} '
      'are read; make it smaller first'
    )
  # JPEG files of telephones have a second picture, which is none of its own.
  if not photo and getattr(image, 'n_frames', 1) > 1:
    raise ValueError(f'it has {image.n_frames} frames, and must have one')
  deep = image.mode.startswith(('I', 'F')) or any(
    # Colours of 16 bits show only in how the file stores them.
    ';16' in str(tile.args)
    or (tile.codec_name.startswith('ppm') and tile.args[1] > 255)
    for tile in image.tile
  )
  if deep:
    raise ValueError('it has more than 8 bits a channel; convert it first')


def is_grey(image: Image.Image) -> bool:
  """Tells whether one channel is enough for an image, by its Pillow mode."""
  return image.mode in ('1', 'L', 'LA', 'La')


def upright_size(image: Image.Image) -> tuple[int, int]:
  """Height and width of an opened image, turned as its EXIF tag says."""
  # A square needs no look at the tag, for which a PNG is decoded.
  if image.height != image.width and image.getexif().get(_ORIENTATION, 1) >= 5:
    ImageOps.exif_transpose(image, in_place=True)
  return image.height, image.width


def decode_image(
  file: str | os.PathLike | BinaryIO,
  name: str,
  channels: int,
  image_size: int | None = None,
  behind: str = 'white',
  downsampling: str = 'bicubic',
) -> np.ndarray:
  """Decodes one image, turned as its EXIF tag says.

  Args:
    file: Path or open file.
    name: Name of the image in an error.
    channels: 1 (grey) or 3 (RGB).
    image_size: Side length of the square wanted; None keeps the size.
    behind: Colour on which transparency is composited.
    downsampling: As in `to_pixels`.

  Returns:
    uint8 [H, W, channels].

  Raises:
    ValueError: The image cannot be read, see `open_image`.
  """
  with open_image(file, name) as image:
    image.load()
    ImageOps.exif_transpose(image, in_place=True)
  return to_pixels(image, channels, image_size, behind, downsampling)


def decode_images(
  files: Sequence[tuple[str | os.PathLike | BinaryIO, str]],
  shape: tuple[int, ...],
  image_size: int | None = None,
  downsampling: str = 'bicubic',
) -> np.ndarray:
  """Decodes (file, name) of each image to uint8 [b, *shape]."""
  x0 = np.empty((len(files), *shape), np.uint8)
  for row, (file, name) in enumerate(files):
    image = decode_image(
      file, name, shape[-1], image_size, downsampling=downsampling
    )
    if image.shape != shape:
      raise ValueError(f'image {name} is {image.shape}, and not {shape}')
    x0[row] = image
  return x0


def to_pixels(
  image: Image.Image,
  channels: int,
  image_size: int | None = None,
  behind: str = 'white',
  downsampling: str = 'bicubic',
) -> np.ndarray:
  """Converts a decoded image to uint8 [H, W, channels].

  Transparency is composited on `behind`. With `image_size` the largest centred
  square is resized to that side length.

  Args:
    image: A decoded image.
    channels: 1 (grey) or 3 (RGB).
    image_size: Side length of the square wanted; None keeps the size.
    behind: Colour on which transparency is composited.
    downsampling: 'bicubic' is Pillow's antialiased filter: shortest side and
      centre crop in one resampling. 'halved' averages 2x2 pixels as long as the
      image is at least twice too large, and then takes the filter, as the code
      of ADM, DiT and EDM2 prepares ImageNet.
  """
  mode = 'L' if channels == 1 else 'RGB'
  if image.has_transparency_data:
    image = _composited(image, mode, behind)
  if image.mode != mode:  # Else a copy; small images are all overhead.
    image = image.convert(mode)
  if image_size is not None:
    if downsampling == 'halved':
      while min(image.size) >= 2 * image_size:
        half = image.width // 2, image.height // 2
        image = image.resize(half, Image.Resampling.BOX)
    size = (image_size, image_size)
    image = ImageOps.fit(image, size, Image.Resampling.BICUBIC)
  return np.asarray(image).reshape(image.height, image.width, channels)


def _composited(image: Image.Image, mode: str, behind: str) -> Image.Image:
  """Composites on a colour, strip by strip: whole copies take gigabytes."""
  width, height = image.size
  found, rows = Image.new(mode, image.size), -(-_STRIP // width)
  for top in range(0, height, rows):
    strip = image.crop((0, top, width, min(top + rows, height)))
    strip = strip.convert('RGBA')
    under = Image.new('RGBA', strip.size, behind)
    found.paste(Image.alpha_composite(under, strip).convert(mode), (0, top))
  return found
