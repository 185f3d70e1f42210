import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxdiff.pretrained import resize

RESIZING = ['clean', 'pytorch-fid', 'tf1', 'torchmetrics']


def apply(rule, size, images):
  rule = resize.RULES[rule](size)
  return np.asarray(jax.jit(rule.device)(rule.host(images)))


def noise(*shape):
  return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


@pytest.mark.parametrize('rule', RESIZING)
def test_size_channels_and_range(rule):
  for grey, shape in ((True, (2, 7, 5, 1)), (False, (2, 7, 5, 3))):
    out = apply(rule, 9, noise(*shape))
    assert out.shape == (2, 9, 9, 3) and out.dtype == np.float32
    assert np.abs(out).max() <= 1
    assert np.array_equal(out[..., 0], out[..., 2]) == grey
  white, black = np.full((1, 4, 4, 3), 255, np.uint8), noise(1, 4, 4, 3) * 0
  top = 1.0 if rule == 'pytorch-fid' else 127 / 128
  np.testing.assert_allclose(apply(rule, 11, white), top, atol=1e-6)
  np.testing.assert_allclose(apply(rule, 11, black), -1, atol=1e-6)


@pytest.mark.parametrize('rule', RESIZING)
def test_an_image_of_the_right_size_keeps_its_pixels(rule):
  images = noise(1, 6, 6, 3)
  x = images.astype(np.float32)
  expected = x / 127.5 - 1 if rule == 'pytorch-fid' else (x - 128) / 128
  np.testing.assert_allclose(apply(rule, 6, images), expected, atol=1e-6)


def test_where_the_pixels_of_twice_the_size_lie():
  """tf1 at 0, 1/2, 1, ... of the input, the others at -1/4, 1/4, 3/4, ..."""
  row = np.array([10, 50, 130, 20], np.uint8)
  images = np.broadcast_to(row[None, None, :, None], (1, 4, 4, 3))
  value = lambda rule, f: f(apply(rule, 8, images)[0, 3, :, 0])
  tf1 = value('tf1', lambda x: 128 * x + 128)
  np.testing.assert_allclose(tf1[::2], row, atol=1e-4)
  middle = [30, 90, 75, 20]  # the edge is repeated
  np.testing.assert_allclose(tf1[1::2], middle, atol=1e-4)
  centres = np.interp(np.arange(8) / 2 - 0.25, np.arange(4), row)
  torch = value('pytorch-fid', lambda x: 127.5 * (x + 1))
  np.testing.assert_allclose(torch, centres, atol=1e-4)
  # Antialiasing has nothing to do where an image is enlarged.
  antialiased = value('torchmetrics', lambda x: 128 * x + 128)
  np.testing.assert_allclose(antialiased, centres, atol=1e-4)


def test_antialiasing_averages_what_the_others_pick():
  board = np.indices((32, 32)).sum(axis=0) % 2 * 255
  images = np.broadcast_to(board[None, :, :, None], (1, 32, 32, 3))
  images = images.astype(np.uint8)
  # 31 / 32: the picked pixels drift through the board.
  spread = {rule: apply(rule, 9, images).std() for rule in RESIZING}
  assert spread['clean'] < 0.1 and spread['torchmetrics'] < 0.1
  assert spread['tf1'] > 0.2 and spread['pytorch-fid'] > 0.2


def test_clean_is_not_rounded_but_held_to_the_range():
  images = noise(3, 12, 12, 3)
  out = 128 * apply('clean', 7, images) + 128
  assert out.min() >= 0 and out.max() <= 255
  assert np.abs(out - np.rint(out)).mean() > 0.1
  # Pillow's own 8-bit resize is the same but for rounding, each way once.
  for image, ours in zip(images, out, strict=True):
    theirs = Image.fromarray(image).resize((7, 7), Image.Resampling.BICUBIC)
    assert np.abs(np.asarray(theirs) - ours).max() < 1.1


def test_clip_takes_the_centre_and_normalises():
  images = noise(2, 8, 12, 3)
  images[:, :, :2] = images[:, :, -2:] = 0
  out = apply('clip', 8, images)
  # White and black are where the mean and deviation of CLIP put them.
  ends = apply('clip', 5, np.array([0, 255], np.uint8).reshape(2, 1, 1, 1))
  middle = np.array([0.48145466, 0.4578275, 0.40821073])
  ratio = -ends[0, 2, 2] / (ends[1, 2, 2] - ends[0, 2, 2])
  np.testing.assert_allclose(ratio, middle, atol=1e-6)
  back = (out - ends[0, 2, 2]) / (ends[1, 2, 2] - ends[0, 2, 2]) * 255
  np.testing.assert_allclose(back, images[:, :, 2:-2], atol=1e-3)
  # Grey, upright, enlarged: of 3 channels and square.
  assert apply('clip', 9, noise(1, 7, 5, 1)).shape == (1, 9, 9, 3)


@pytest.mark.parametrize('excess', range(8))
@pytest.mark.parametrize('wide', [False, True])
def test_clip_crops_as_torchvision_does(excess, wide):
  """CenterCrop starts at int(round((side - size) / 2))."""
  shape = (5, 5 + excess) if wide else (5 + excess, 5)
  images = noise(1, *shape, 3)
  rule = resize.clip(5)
  start = int(round(excess / 2.0))
  expected = (
    images[:, :, start:][:, :, :5] if wide else images[:, start:][:, :5]
  )
  np.testing.assert_array_equal(rule.host(images), expected)


def test_none_leaves_shape_and_channels():
  images = noise(2, 5, 5, 1)
  out = apply('none', 5, images)
  np.testing.assert_allclose(out, images / 127.5 - 1.0, atol=1e-6)
  with pytest.raises(ValueError, match='4x4.*got 5x5'):
    resize.none(4).host(images)
  assert resize.none().host(images).shape == images.shape


@pytest.mark.parametrize('rule', sorted(resize.RULES))
def test_only_uint8_images(rule):
  host = resize.RULES[rule](4).host
  for images in (
    np.zeros((1, 4, 4, 3), np.float32),
    np.zeros((4, 4, 3), np.uint8),
    np.zeros((1, 4, 4, 4), np.uint8),
  ):
    with pytest.raises(ValueError, match='uint8'):
      host(images)


def test_the_rules_are_far_apart():
  images = noise(2, 8, 8, 3)
  out = [apply(rule, 29, images) for rule in RESIZING[:3]]
  for a, b in ((0, 1), (0, 2), (1, 2)):
    assert jnp.sqrt(np.mean((out[a] - out[b]) ** 2)) > 0.05
