"""Detector of the objects in a `captioned_shapes` image.

Objects are bright on black. With m the largest channel of a pixel p in [0, 1],
an object is a connected region of m > 1/2. Its colour is the palette's nearest
to

  c = sum m p / sum m^2.

Its shape, size and centre are those of the template T (`coverage` of every
shape on a grid of side lengths and centres) with the least squared error,

  argmin_T sum (m - T)^2.

An attribute is None where nothing is near, as for a blob or an object of two
colours. Words and shapes are those of the data set.
"""

import functools
import itertools
from typing import NamedTuple

import numpy as np

from jaxdiff.data.sets.captioned_shapes import COLOURS, SHAPES, SIZES, coverage

# Largest fraction of the squared brightness that the template leaves out.
_SHAPE_RESIDUAL = 0.12
_COLOUR_RESIDUAL = 0.05
# Half the distance of the two nearest colours (blue and purple), of 255.
_COLOUR_DISTANCE = 0.35
# An object is at least this bright, and this fraction of the image.
_BRIGHT = 0.5
_SPECK = 0.015


class Found(NamedTuple):
  """Object of an image, in a caption's words; None where unclear.

  Attributes:
    x: Centre, to the right, as a fraction of the image's side.
    y: Centre, downwards.
  """

  size: str | None
  colour: str | None
  shape: str | None
  x: float
  y: float


def read(images: np.ndarray) -> list[list[Found]]:
  """Returns the objects of each image, in no particular order.

  Args:
    images: [N, S, S, 3], uint8 or float in [-1, 1]; S at least 16.

  Raises:
    ValueError: Another shape or dtype.
  """
  images = np.asarray(images)
  if images.ndim != 4 or images.shape[1:] != (images.shape[1],) * 2 + (3,):
    raise ValueError(f'images must be [N, S, S, 3], got {images.shape}')
  if images.dtype == np.uint8:
    pixels = images.astype(np.float32) / 255
  elif np.issubdtype(images.dtype, np.floating):
    pixels = np.clip((images.astype(np.float32) + 1) / 2, 0, 1)
  else:
    raise ValueError(f'images must be uint8 or float, got {images.dtype}')
  bright = pixels.max(axis=-1)
  return [
    _read_one(*one)
    for one in zip(pixels, bright, _regions(bright > _BRIGHT), strict=True)
  ]


def _read_one(
  pixels: np.ndarray, bright: np.ndarray, regions: np.ndarray
) -> list[Found]:
  """Returns the objects of one image."""
  size = len(bright)
  labels, counts = np.unique(regions[regions > 0], return_counts=True)
  labels = labels[counts >= _SPECK * size**2]
  return [
    Found(
      size=edge
      and min(SIZES, key=lambda name: abs(np.log(SIZES[name] / edge))),
      colour=_colour(pixels[regions == label], bright[regions == label]),
      shape=shape,
      x=x,
      y=y,
    )
    for label in labels
    for shape, edge, x, y in [_shape(bright, regions, label)]
  ]


def _regions(mask: np.ndarray) -> np.ndarray:
  """Numbers the 4-connected regions of masks [N, S, S] from 1."""
  size = mask.shape[1] * mask.shape[2]
  numbers = np.arange(1, size + 1).reshape(1, *mask.shape[1:])
  regions = np.where(mask, numbers, 0)
  while True:
    grown = np.where(mask, _neighbourhood(regions), 0)
    if (grown == regions).all():
      return regions
    regions = grown


def _neighbourhood(values: np.ndarray) -> np.ndarray:
  """Returns the maximum over each pixel [..., S, S] and its 4 neighbours."""
  outside = [(0, 0)] * (values.ndim - 2) + [(1, 1), (1, 1)]
  padded = np.pad(values, outside)
  centre = slice(1, -1)
  return np.max(
    [
      values,
      padded[..., :-2, centre],
      padded[..., 2:, centre],
      padded[..., centre, :-2],
      padded[..., centre, 2:],
    ],
    axis=0,
  )


def _colour(pixels: np.ndarray, bright: np.ndarray) -> str | None:
  """Names the colour of pixels [P, 3]."""
  weight = bright[:, None]
  colour = (weight * pixels).sum(axis=0) / (weight**2).sum()
  left = ((pixels - weight * colour) ** 2).sum() / (pixels**2).sum()
  distances = {
    name: np.linalg.norm(colour - np.array(rgb) / 255)
    for name, rgb in COLOURS.items()
  }
  name = min(distances, key=distances.get)
  clear = left < _COLOUR_RESIDUAL and distances[name] < _COLOUR_DISTANCE
  return name if clear else None


def _shape(
  bright: np.ndarray, regions: np.ndarray, label: int
) -> tuple[str | None, float | None, float, float]:
  """Returns shape, side and centre of the template nearest to a region."""
  size = len(bright)
  # The region with its antialiased rim, without other objects and theirs.
  own = _neighbourhood(regions == label) & ((regions == 0) | (regions == label))
  others = _neighbourhood((regions != 0) & (regions != label)) & (
    regions != label
  )
  mass = np.where(own, bright, 0)
  centroid = [
    (mass * (axis + 0.5)).sum() / mass.sum() for axis in np.indices(mass.shape)
  ]
  corner = np.round(centroid).astype(int)

  drawings, words = _drawings(size)
  window = drawings.shape[-1]
  # The window around the centroid may reach beyond the image, black there.
  padded = np.pad(bright, window)
  weight = np.pad(~others, window, constant_values=True)
  rows, columns = (
    slice(start, start + window) for start in corner + window - window // 2
  )
  seen = padded[rows, columns].ravel()
  weight = weight[rows, columns].ravel().astype(np.float32)
  flat = drawings.reshape(len(drawings), -1)
  # sum w (m - T)^2, less the constant sum w m^2.
  distance = flat**2 @ weight - 2 * flat @ (weight * seen)
  best = int(np.argmin(distance))
  shape, edge, x, y = words[best]
  x, y = (corner[1] + x) / size, (corner[0] + y) / size
  # Energy outside the window is not explained either.
  beyond = (mass**2).sum() - (np.pad(mass, window)[rows, columns] ** 2).sum()
  energy = (weight * seen**2).sum()
  left = (distance[best] + energy + beyond) / (energy + beyond)
  if left > _SHAPE_RESIDUAL:
    return None, None, x, y
  return shape, edge, x, y


@functools.cache
def _drawings(
  image_size: int,
) -> tuple[np.ndarray, list[tuple[str, float, float, float]]]:
  """Draws every shape on a grid of side lengths and centres.

  Returns:
    Templates, float32 [K, W, W], with centroids within 3/4 pixel of the
    middle; and K tuples of shape, side as a fraction of the image's, and centre
    in pixels from the middle.
  """
  edges = np.geomspace(SIZES['small'] * 0.75, SIZES['large'] * 1.25, 20)
  window = 2 * (int(edges[-1] * image_size) // 2 + 2)
  offsets = np.linspace(-0.75, 0.75, 7)
  drawings, words = [], []
  for shape in SHAPES:
    edge, y, x = (
      a.ravel() for a in np.meshgrid(edges, offsets, offsets, indexing='ij')
    )
    if shape == 'triangle':  # Its centroid lies a sixth below its middle.
      y = y - edge * image_size / 6
    at = [0.5 + a / window for a in (x, y)]
    drawn = coverage(shape, *at, edge * image_size / window, window)
    drawings.append(drawn.astype(np.float32))
    words += zip(itertools.repeat(shape), edge, x, y)
  return np.concatenate(drawings), words
