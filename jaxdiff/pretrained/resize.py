"""Resize rules: uint8 images -> the input of a network, by the rule's name.

Implementations of one metric resize differently: enlarging 32x32 images to 299,
the two most common ones move features by 1e-2. So the rule is chosen by name,
and the name is part of the result.

  'pytorch-fid'   bilinear, x = (i + 1/2) s - 1/2, no antialiasing; 2 v/255 - 1
  'tf1'           bilinear, x = i s (TTUR, ADM, torch-fidelity); (v - 128)/128
  'torchmetrics'  bilinear, x = (i + 1/2) s - 1/2, antialiased; (v - 128)/128
  'clean'         Pillow's bicubic, antialiased, not rounded; (v - 128)/128
  'clip'          shortest side by Pillow's bicubic, rounded, cropped at the
                  centre; (v/255 - CLIP's mean) / CLIP's deviation by channel
  'dinov2'        both sides by Pillow's bicubic, rounded, not cropped;
                  (v/255 - ImageNet's mean) / ImageNet's deviation by channel
  'none'          not resized, channels as they are; 2 v/255 - 1

x is the position in the input of output pixel i, s = input size / output size,
and v the value in [0, 255]. All but 'none' repeat a grey image to 3 channels.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from PIL import Image

# Mean and deviation of CLIP's training images: red, green, blue.
_CLIP_MEAN = np.array([0.48145466, 0.4578275, 0.40821073], np.float32)
_CLIP_STD = np.array([0.26862954, 0.26130258, 0.27577711], np.float32)
_IMAGENET_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
_IMAGENET_STD = np.array([0.229, 0.224, 0.225], np.float32)


class Rule(NamedTuple):
  """A rule for one size: `host`, then `device` inside the network's jit.

  host: uint8 [B, H, W, C] -> [B, H', W', C'], numpy.
  device: that -> float32 [B, size, size, 3], about [-1, 1] ('clip' and
    'dinov2': [-2.2, 2.7]).
  """

  host: Callable[[np.ndarray], np.ndarray]
  device: Callable[[Array], Array]


def pytorch_fid(size: int = 299) -> Rule:
  """Builds the rule of pytorch-fid: bilinear between pixel centres, in [-1, 1].

  Source: pytorch-fid, which feeds [0, 1] to `F.interpolate(mode='bilinear',
  align_corners=False)` and then takes 2 x - 1.
  """
  return Rule(_rgb, lambda x: _bilinear(x, size, False) * (2 / 255) - 1.0)


def torchmetrics(size: int = 299) -> Rule:
  """Builds the rule of torchmetrics: bilinear, antialiased.

  Source: torchmetrics' FrechetInceptionDistance, `antialias=True`.
  """
  return Rule(_rgb, lambda x: (_bilinear(x, size, True) - 128.0) / 128.0)


def tf1(size: int = 299) -> Rule:
  """Builds the rule of TensorFlow 1: bilinear between pixel corners.

  Source: TensorFlow 1's `resize_bilinear`, whose float32 positions these are.
  """

  def lerp(x: Array, axis: int) -> Array:
    last = x.shape[axis] - 1
    place = np.arange(size, dtype=np.float32) * np.float32((last + 1) / size)
    low = np.floor(place).astype(np.int32)
    weight = (place - low).reshape([-1] + [1] * (x.ndim - 1 - axis))
    pick = lambda i: jnp.take(x, np.minimum(i, last), axis, mode='clip')
    start, end = pick(low), pick(low + 1)
    return start + (end - start) * weight[(None,) * axis]

  def device(images: Array) -> Array:
    x = images.astype(jnp.float32)
    return (lerp(lerp(x, 2), 1) - 128.0) / 128.0

  return Rule(_rgb, device)


def clean(size: int = 299) -> Rule:
  """Builds the rule of clean-fid: Pillow's bicubic on floats, not rounded.

  Source: Parmar et al. 2022, "On aliased resizing and surprising subtleties in
  GAN evaluation".
  """

  def resize(channel: np.ndarray) -> np.ndarray:
    image = Image.fromarray(channel.astype(np.float32))
    image = image.resize((size, size), Image.Resampling.BICUBIC)
    return np.asarray(image).clip(0, 255)

  def host(images: np.ndarray) -> np.ndarray:
    channels = np.moveaxis(_checked(images), -1, 1)
    resized = np.stack([[resize(c) for c in image] for image in channels])
    return _repeated(np.moveaxis(resized, 1, -1))

  return Rule(host, lambda x: (x - 128.0) / 128.0)


def clip(size: int = 224) -> Rule:
  """Builds the preprocessing of CLIP: resize, centre crop, normalisation.

  Source: Radford et al. 2021, `preprocess` of the published code.
  """

  def resize(pixels: np.ndarray) -> np.ndarray:
    image = Image.fromarray(pixels)
    short = min(image.size)
    sides = [size * side // short for side in image.size]
    image = image.resize(sides, Image.Resampling.BICUBIC)
    # Rounded half to even, as torchvision's CenterCrop does.
    left, top = (round((side - size) / 2) for side in sides)
    return np.asarray(image.crop((left, top, left + size, top + size)))

  return Rule(
    lambda images: np.stack(list(map(resize, _rgb(images)))),
    lambda images: _normalised(images, _CLIP_MEAN, _CLIP_STD),
  )


def dinov2(size: int = 224) -> Rule:
  """Builds the preprocessing of FD-DINOv2: resize, normalisation.

  Source: Stein et al. 2023, `DINOv2Encoder` of dgm-eval.
  """

  def resize(pixels: np.ndarray) -> np.ndarray:
    image = Image.fromarray(pixels)
    return np.asarray(image.resize((size, size), Image.Resampling.BICUBIC))

  return Rule(
    lambda images: np.stack(list(map(resize, _rgb(images)))),
    lambda images: _normalised(images, _IMAGENET_MEAN, _IMAGENET_STD),
  )


def none(size: int | None = None) -> Rule:
  """Builds no resizing, for a network of the images' `size`; in [-1, 1]."""

  def host(images: np.ndarray) -> np.ndarray:
    images = _checked(images)
    if size is not None and images.shape[1:3] != (size, size):
      raise ValueError(
        f'the network takes images of {size}x{size} and the rule is not to '
        f'resize, got {images.shape[1]}x{images.shape[2]}'
      )
    return images

  return Rule(host, lambda x: x.astype(jnp.float32) * (2 / 255) - 1.0)


RULES: dict[str, Callable[[int], Rule]] = {
  'clean': clean,
  'clip': clip,
  'dinov2': dinov2,
  'none': none,
  'pytorch-fid': pytorch_fid,
  'tf1': tf1,
  'torchmetrics': torchmetrics,
}


def _checked(images: np.ndarray) -> np.ndarray:
  """Returns images that are uint8 [B, H, W, 1 or 3]."""
  shape = images.shape
  if images.dtype != np.uint8 or len(shape) != 4 or shape[3] not in (1, 3):
    raise ValueError(
      'images must be uint8 [B, H, W, C] with C = 1 or 3, got '
      f'{images.dtype} {list(shape)}: round them to 8 bits first'
    )
  return images


def _rgb(images: np.ndarray) -> np.ndarray:
  """Repeats grey images to 3 channels."""
  return _repeated(_checked(images))


def _normalised(images: Array, mean: np.ndarray, std: np.ndarray) -> Array:
  x = images.astype(jnp.float32) / 255.0
  return (x - mean[None, None, None]) / std[None, None, None]


def _repeated(images: np.ndarray) -> np.ndarray:
  return images if images.shape[3] == 3 else np.repeat(images, 3, axis=3)


def _bilinear(images: Array, size: int, antialias: bool) -> Array:
  shape = (images.shape[0], size, size, images.shape[3])
  x = images.astype(jnp.float32)
  return jax.image.resize(
    x, shape, 'linear', antialias=antialias, precision='highest'
  )
