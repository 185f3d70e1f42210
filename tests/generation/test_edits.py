"""The edits of sample.py: images from files, through a network, untrained."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from PIL import Image

from jaxdiff import models
from jaxdiff.generation import edits, inputs
from jaxdiff.generation.sampler import make_sampler

SHAPE = (8, 8, 1)


@pytest.fixture(scope='module')
def params():
  return jax.jit(tiny.make_task(tiny.config).init)(jax.random.key(0)).params


@pytest.fixture(scope='module')
def model():
  return models.make(tiny.config, tiny.SPEC)


def drawing(model, params, edit, images):
  """Three indices -> three images."""
  sampler = jax.jit(make_sampler(model, tiny.config.sampling, edit=edit))
  options = {'seed': 0, 'eta': 0.5, **images}
  return lambda *index: np.asarray(sampler(params, options, jnp.array(index)).x)


@pytest.fixture
def image(key):
  return jax.random.uniform(key, SHAPE, minval=-1, maxval=1)


def test_img2img_without_strength_is_the_image(model, params, image):
  x = drawing(model, params, edits.img2img(0.0), {'image': image})(0, 1, 2)
  np.testing.assert_allclose(x, np.stack([image] * 3), atol=5e-3)


def test_inpainting_fills_the_mask_and_nothing_else(model, params, image):
  mask = np.zeros((8, 8, 1), bool)
  mask[4:] = True
  images = {'image': image, 'mask': mask}
  draw = drawing(model, params, edits.inpaint(jump=1, repeats=2), images)
  x = draw(0, 1, 2)
  np.testing.assert_array_equal(x[:, :4], np.stack([image[:4]] * 3))
  assert np.abs(x[:, 4:] - image[None, 4:]).mean() > 0.1
  assert np.abs(x[0] - x[1]).max() > 0.1
  # Image i is a function of the seed and of i, whatever is drawn with it.
  np.testing.assert_allclose(draw(2, 7, 0)[0], x[2], atol=1e-5)


def test_interpolation_counts_from_one_end_to_the_other(model, params, image):
  images = {'image': image, 'other': -image}
  edit = edits.interpolate(3, iterations=40)
  x = drawing(model, params, edit, images)(2, 0, 1)
  # Two steps are long, and undone only roughly.
  near = lambda a, b: np.abs(a - b).mean()
  assert near(x[1], images['image']) < 0.2 < near(x[1], images['other'])
  assert near(x[0], images['other']) < 0.2 < near(x[0], images['image'])
  with pytest.raises(ValueError, match='at least 2 images, got 1'):
    edits.interpolate(1)


def test_another_image_does_not_recompile(model, params, image):
  edit = edits.img2img(0.5)
  sampler = make_sampler(model, tiny.config.sampling, edit=edit)
  sampler = jax.jit(chex.assert_max_traces(sampler, 1))
  options = lambda x, seed: {'seed': seed, 'eta': 0.0, 'image': x}
  index = jnp.arange(2)
  first = sampler(params, options(image, 0), index).x
  other = sampler(params, options(-image, 1), index).x
  assert np.any(first != other)


def save(path, pixels, mode=None):
  Image.fromarray(np.asarray(pixels, np.uint8), mode).save(path)
  return str(path)


def test_images_are_brought_to_the_model_s_range_size_and_channels(tmp_path):
  pixels = np.arange(64).reshape(8, 8) * 4
  same = save(tmp_path / 'same.png', pixels)
  x = inputs.read_image(same, SHAPE)
  assert x.dtype == np.float32
  np.testing.assert_allclose(x[..., 0], pixels / 127.5 - 1, atol=1e-6)
  np.testing.assert_array_equal(
    inputs.read_image(same, (8, 8, 3)), np.repeat(x, 3, axis=2)
  )
  large = save(tmp_path / 'large.png', pixels.repeat(6, 0).repeat(6, 1))
  np.testing.assert_allclose(inputs.read_image(large, SHAPE), x, atol=0.15)
  white = save(tmp_path / 'white.png', np.full((8, 8, 3), 255))
  np.testing.assert_array_equal(inputs.read_image(white, SHAPE), 1)


def test_white_is_filled(tmp_path):
  pixels = np.zeros((16, 16))
  pixels[:8] = 255
  mask = inputs.read_mask(save(tmp_path / 'm.png', pixels), (8, 8, 3))
  assert mask.shape == (8, 8, 1) and mask.dtype == bool
  np.testing.assert_array_equal(mask[..., 0], pixels[::2, ::2] > 0)
  with pytest.raises(ValueError, match='black.png has nothing white'):
    inputs.read_mask(save(tmp_path / 'black.png', 0 * pixels), SHAPE)
  with pytest.raises(ValueError, match='white.png is white everywhere'):
    inputs.read_mask(save(tmp_path / 'white.png', 255 + 0 * pixels), SHAPE)


@pytest.mark.parametrize('stroke', [255, 128 + 60])
def test_transparent_pixels_of_a_mask_are_kept(tmp_path, stroke):
  pixels = np.full((8, 8, 4), 255)
  pixels[..., 3] = 0
  pixels[2:4, :, :3] = stroke
  pixels[2:4, :, 3] = 255
  mask = inputs.read_mask(save(tmp_path / 'm.png', pixels), SHAPE)
  np.testing.assert_array_equal(mask.any(axis=(1, 2)), [0, 0, 1, 1, 0, 0, 0, 0])


def test_images_that_do_not_serve_are_refused(tmp_path):
  with pytest.raises(FileNotFoundError, match='no such image.*none.png'):
    inputs.read_image(str(tmp_path / 'none.png'), SHAPE)
  text = tmp_path / 'text.png'
  text.write_text('no image')
  with pytest.raises(ValueError, match='cannot read the image .*text.png'):
    inputs.read_image(str(text), SHAPE)
  wide = save(tmp_path / 'wide.png', np.zeros((8, 12)))
  with pytest.raises(ValueError, match='12x8 pixels, .* draws 8x8: crop'):
    inputs.read_image(wide, SHAPE)
  with pytest.raises(ValueError, match='1 or 3 channels .* has 4'):
    inputs.read_image(wide, (8, 8, 4))


def test_an_image_is_known_by_its_content(tmp_path):
  path = save(tmp_path / 'a.png', np.zeros((8, 8)))
  paths = {'image': path, 'mask': None, 'other': None}
  found = inputs.read(paths, SHAPE)
  assert found.arrays.keys() == {'image'} and found.paths == {'image': path}
  save(tmp_path / 'a.png', np.ones((8, 8)))
  assert inputs.read(paths, SHAPE).hashes['image'] != found.hashes['image']


def test_latents_are_edited_in_the_place_of_images(model, image):
  """A position is filled in if one of its pixels is."""
  double = lambda z, frozen: z.repeat(2, axis=1).repeat(2, axis=2) / frozen
  halved = model._replace(
    latents=lambda x, frozen: frozen * x[:, ::2, ::2], decode=double
  )
  mask = np.zeros((8, 8, 1), bool)
  mask[3, 3:5] = True

  def edit(parts, options, index):
    filled = jnp.where(options['mask'], 30.0, options['image'])
    return jnp.stack([filled] * len(index))

  options = {'image': image, 'mask': mask, 'frozen': 3.0}
  index = jnp.arange(2)
  x = np.asarray(edits.in_latents(edit, halved)(None, options, index))
  expected = np.where(mask, 10.0, image)
  np.testing.assert_array_equal(x, np.stack([expected] * 2))
  plain = lambda parts, options, index: options['image'][None]
  del options['mask']
  x = np.asarray(edits.in_latents(plain, halved)(None, options, index))
  np.testing.assert_allclose(x, double(image[None, ::2, ::2], 1.0), rtol=1e-6)
