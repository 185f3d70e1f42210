"""Masks in every mode of an image file: white is filled, the rest is kept."""

import types

import numpy as np
import pytest
from PIL import Image

from jaxdiff.generation import edits
from jaxdiff.generation.inputs import read_mask

STROKE = np.zeros((8, 8), bool)
STROKE[2:4, 1:7] = True
GREY = np.where(STROKE, 255, 0).astype(np.uint8)
CLEAR = np.dstack([np.full((8, 8, 3), 255, np.uint8), GREY])  # white on nothing
BLACK = np.dstack([GREY[..., None].repeat(3, axis=2), GREY])


def palette(*colours):
  image = Image.fromarray(STROKE.astype(np.uint8), 'P')
  image.putpalette([x for level in colours for x in (level,) * 3])
  return image


MASKS = {
  'grey': Image.fromarray(GREY),
  'one bit': Image.fromarray(GREY).convert('1'),
  'colour': Image.fromarray(GREY).convert('RGB'),
  'opaque': Image.fromarray(GREY).convert('RGBA'),
  'on clear white': Image.fromarray(CLEAR),
  'on clear black': Image.fromarray(BLACK),
  'grey on clear': Image.fromarray(CLEAR[..., 2:]),
  'palette': palette(0, 255),
  'four times as large': Image.fromarray(np.kron(GREY, np.ones((4, 4), 'u1'))),
}
TRANSPARENT = {
  'palette, one colour clear': (palette(255, 255), 0),
  'palette, alpha': (palette(255, 255), b'\x00\xff'),
  'one bit, black clear': (Image.fromarray(GREY).convert('1'), 0),
  'white clear': (
    Image.fromarray(np.where(STROKE, 200, 255).astype('u1')),
    255,
  ),
}


@pytest.mark.parametrize('name', [*MASKS, *TRANSPARENT])
def test_white_is_filled(tmp_path, name):
  path = tmp_path / 'mask.png'
  image, clear = TRANSPARENT.get(name) or (MASKS[name], None)
  image.save(path, **({} if clear is None else {'transparency': clear}))
  np.testing.assert_array_equal(read_mask(path, (8, 8, 3))[..., 0], STROKE)


@pytest.mark.parametrize(
  ('image', 'message'),
  [
    (Image.new('L', (8, 8), 255), 'is white everywhere'),
    (Image.new('L', (8, 8), 0), 'has nothing white'),
    (Image.new('RGBA', (8, 8), (255, 255, 255, 0)), 'has nothing white'),
    (Image.new('I;16', (8, 8)), 'more than 8 bits'),
    (Image.new('L', (8, 4), 255), 'crop it to these proportions'),
  ],
)
def test_masks_that_mean_nothing_are_refused(tmp_path, image, message):
  path = tmp_path / 'mask.png'
  image.save(path)
  with pytest.raises(ValueError, match=f'mask.png.*{message}'):
    read_mask(path, (8, 8, 3))


def test_strokes_that_a_network_of_latents_does_not_see_are_refused():
  pixels = lambda images, frozen: images[:, ::4, ::4]
  model = types.SimpleNamespace(latents=pixels, frozen=None)
  image, mask = np.ones((8, 8, 3), np.float32), np.zeros((8, 8, 1), bool)
  mask[4, 4] = True
  found = edits.beside(model, image, mask)
  np.testing.assert_array_equal(found[1, 1], [1, 0, 0, 0])
  with pytest.raises(
    ValueError, match='nothing of the mask is left at every 4'
  ):
    edits.beside(model, image, np.roll(mask, 1, 0))
