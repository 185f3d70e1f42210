"""Image files: those that are read right, and those that are refused."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from jaxdiff.data import images, load
from jaxdiff.data.images import decode_image

POSTSCRIPT = b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 4\nshowpage\n'
BOMB = 10_000


def chunk(kind, content):
  check = zlib.crc32(kind + content)
  return (
    struct.pack('>I', len(content)) + kind + content + struct.pack('>I', check)
  )


def png(colour_type, channels, depth=16, size=(2, 2), rows=None):
  """A PNG of any depth, which Pillow cannot write."""
  header = struct.pack('>IIBBBBB', *size, depth, colour_type, 0, 0, 0)
  if rows is None:
    row = b'\0' + b'\x12\x34' * channels * size[0]
    rows = zlib.compress(row * size[1])
  return b'\x89PNG\r\n\x1a\n' + b''.join(
    chunk(*part)
    for part in ((b'IHDR', header), (b'IDAT', rows), (b'IEND', b''))
  )


def tiff(samples):
  """A TIFF of one 2x2 image with 16 bits a channel."""
  entries = [
    (256, 3, 1, 2),
    (257, 3, 1, 2),
    (258, 3, samples, 150 if samples > 2 else 16),
    (259, 3, 1, 1),
    (262, 3, 1, 2 if samples > 2 else 1),
    (273, 4, 1, 160),
    (277, 3, 1, samples),
    (278, 3, 1, 2),
    (279, 4, 1, 8 * samples),
  ]
  body = b''.join(struct.pack('<HHII', *entry) for entry in entries)
  raw = b'II*\0' + struct.pack('<IH', 8, len(entries)) + body + b'\0' * 4
  raw = raw.ljust(150, b'\0') + struct.pack('<3H', 16, 16, 16)
  return raw.ljust(160, b'\0') + b'\x12\x34' * 4 * samples


def frames(ending):
  file = io.BytesIO()
  pages = [Image.new('L', (4, 4), level) for level in (0, 200)]
  pages[0].save(file, ending, save_all=True, append_images=pages[1:])
  return file.getvalue()


REFUSED = {
  'postscript': (POSTSCRIPT, 'none of PNG, JPEG'),
  'grey16.png': (png(0, 1), 'more than 8 bits'),
  'rgb16.png': (png(2, 3), 'more than 8 bits'),
  'grey_alpha16.png': (png(4, 2), 'more than 8 bits'),
  'rgba16.png': (png(6, 4), 'more than 8 bits'),
  'grey16.tif': (tiff(1), 'more than 8 bits'),
  'rgb16.tif': (tiff(3), 'more than 8 bits'),
  'rgb16.ppm': (b'P6 2 2 65535\n' + b'\x12\x34' * 12, 'more than 8 bits'),
  'rgb10.ppm': (b'P6 2 2 1023\n' + b'\x02\x34' * 12, 'more than 8 bits'),
  'ascii16.ppm': (b'P3 2 2 65535\n' + b'9999 ' * 12, 'more than 8 bits'),
  'grey16.pgm': (b'P5 2 2 65535\n' + b'\x12\x34' * 4, 'more than 8 bits'),
  'bomb.png': (
    png(2, 3, 8, (BOMB, BOMB), zlib.compress(bytes(1000))),
    '10000x10000 pixels',
  ),
  'larger_bomb.png': (png(2, 3, 8, (60_000, 60_000), b''), 'pixels'),
  'bomb.pgm': (b'P5 100000 100000 255\n', 'pixels'),
  'pages.tif': (frames('TIFF'), 'it has 2 frames'),
  'moving.gif': (frames('GIF'), 'it has 2 frames'),
  'moving.png': (frames('PNG'), 'it has 2 frames'),
  'moving.webp': (frames('WEBP'), 'it has 2 frames'),
  'empty.png': (b'', 'none of PNG, JPEG'),
}


@pytest.fixture
def no_programs(tmp_path, monkeypatch):
  """Fails the test if `gs` is started."""
  folder = tmp_path / 'bin'
  folder.mkdir()
  started = tmp_path / 'started'
  (folder / 'gs').write_text(f'#!/bin/sh\ntouch {started}\nexit 1\n')
  (folder / 'gs').chmod(0o755)
  monkeypatch.setenv('PATH', str(folder), prepend=':')
  yield
  assert not started.exists()


@pytest.mark.filterwarnings('ignore:.*decompression bomb')
@pytest.mark.parametrize('name', REFUSED)
def test_refused_before_anything_is_decoded(tmp_path, name, no_programs):
  content, message = REFUSED[name]
  with pytest.raises(ValueError, match=message) as raised:
    decode_image(io.BytesIO(content), name, 3)
  assert name in str(raised.value) and '\n' not in str(raised.value)
  # In a folder it is found before anything runs, whatever its ending says.
  folder = tmp_path / 'images'
  folder.mkdir()
  Image.new('RGB', (2, 2)).save(folder / '0.png')
  (folder / '1.png').write_bytes(content)
  with pytest.raises(
    ValueError, match=rf'cannot read the image .*1\.png: .*{message}'
  ):
    load(f'folder:{folder}', image_size=2, cache_bytes=0)


def test_the_largest_image():
  width, height = 1 << 13, 1 << 12
  assert width * height == images.MAX_PIXELS
  content = png(0, 1, 8, (width, height), b'')
  with images.open_image(io.BytesIO(content), 'x') as image:
    assert image.size == (width, height)
  larger = png(0, 1, 8, (width, height + 1), b'')
  with pytest.raises(ValueError, match='at most 33554432'):
    with images.open_image(io.BytesIO(larger), ''):
      pass


def test_strips_are_composited_as_the_whole():
  rng = np.random.default_rng(0)
  for mode, channels in (('RGBA', 4), ('LA', 2)):
    pixels = rng.integers(0, 256, (1100, 1000, channels), np.uint8)
    image = Image.fromarray(pixels, mode)
    whole = Image.new('RGBA', image.size, 'white')
    whole = Image.alpha_composite(whole, image.convert('RGBA')).convert('RGB')
    np.testing.assert_array_equal(images.to_pixels(image, 3), whole)


def turned(path, orientation, size=(6, 4)):
  exif = Image.Exif()
  exif[0x0112] = orientation
  image = np.zeros((size[1], size[0]), np.uint8)
  image[: size[1] // 2] = 200
  options = {'compression': 'tiff_lzw'} if path.suffix == '.tiff' else {}
  Image.fromarray(image).save(path, exif=exif, **options)


@pytest.mark.parametrize('ending', ['jpg', 'png', 'webp', 'tif', 'tiff'])
def test_sizes_are_compared_after_turning(tmp_path, ending):
  turned(tmp_path / f'a.{ending}', 6, (6, 4))
  turned(tmp_path / f'b.{ending}', 1, (4, 6))
  turned(tmp_path / f'c.{ending}', 8, (6, 4))
  data = load(f'folder:{tmp_path}', cache_bytes=0)
  assert data.shape[:2] == (6, 4)
  top, left = np.zeros((6, 4)), np.zeros((6, 4))
  top[:3], left[:, :2] = 200, 200
  # Turned clockwise the upper half is the right one, else the left one.
  for image, wanted in zip(
    data.gather(np.arange(3))['x0'], (left[:, ::-1], top, left), strict=True
  ):
    if ending in ('png', 'tif', 'tiff'):
      np.testing.assert_array_equal(image[..., 0], wanted)
  turned(tmp_path / f'd.{ending}', 1, (6, 4))
  message = rf'6x4 \(.*a\.{ending}\) and 4x6 \(.*d\.{ending}\)'
  with pytest.raises(ValueError, match=message):
    load(f'folder:{tmp_path}')


def test_a_second_picture_of_a_telephone_is_none(tmp_path):
  pictures = [Image.new('RGB', (4, 4), (9 * i, 0, 0)) for i in (1, 2)]
  pictures[0].save(
    tmp_path / 'a.jpg', 'MPO', save_all=True, append_images=pictures[1:]
  )
  data = load(f'folder:{tmp_path}')
  np.testing.assert_allclose(data.gather(np.arange(1))['x0'][..., 0], 9, atol=3)


@pytest.mark.parametrize('mode', ['1', 'L', 'LA', 'P', 'RGB', 'RGBA', 'CMYK'])
def test_every_mode_of_eight_bits(tmp_path, mode):
  ending = 'tif' if mode in ('CMYK',) else 'png'
  Image.new('RGB', (4, 4), 'white').convert(mode).save(tmp_path / f'a.{ending}')
  data = load(f'folder:{tmp_path}')
  assert data.shape == (4, 4, 1 if mode in ('1', 'L', 'LA') else 3)
  assert (data.gather(np.arange(1))['x0'] == 255).all()
