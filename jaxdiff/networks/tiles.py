"""Decoding of large latents in overlapping tiles, without seams.

Attention takes memory with the square of the number of positions. Tiles are
decoded one after another and blended: in the outer quarter of an overlap, where
a tile lacks its surroundings, it has no weight, and over the middle half its
weight rises linearly. Of a decoder that sees less than that quarter around each
position, the result is exactly that of the whole.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array


def decode_in_tiles(
  decode: Callable[[Array], Array],
  latents: Array,
  factor: int,
  tile: int,
  overlap: int,
) -> Array:
  """Decodes latents, in tiles where a side is longer than a tile.

  Args:
    decode: Latents [B, h, w, C] to images [B, factor h, factor w, C'].
    latents: [B, H, W, C].
    factor: Pixels of a position, along a side.
    tile: Positions of a tile, along a side.
    overlap: Positions that two neighbours share at least; at most half a tile.

  Returns:
    Images [B, factor H, factor W, C'], float32.

  Raises:
    ValueError: `overlap` is not in [1, tile / 2].
  """
  if not 1 <= overlap <= tile // 2:
    raise ValueError(
      f'overlap must be in [1, {tile // 2}], half a tile, got {overlap}'
    )
  height, width = latents.shape[1:3]
  if max(height, width) <= tile:
    return decode(latents)
  rows, columns = (_starts(n, tile, overlap) for n in (height, width))
  size = (min(tile, height), min(tile, width))
  vertical = _weights(rows, size[0], height, overlap, factor)
  horizontal = _weights(columns, size[1], width, overlap, factor)
  places = [(i, j) for i in range(len(rows)) for j in range(len(columns))]

  def tile_at(place: Array) -> tuple[Array, Array]:
    row, column = jnp.asarray(rows)[place[0]], jnp.asarray(columns)[place[1]]
    b, _, _, channels = latents.shape
    start, shape = (0, row, column, 0), (b, *size, channels)
    image = decode(jax.lax.dynamic_slice(latents, start, shape))
    weight = vertical[place[0]][:, None] * horizontal[place[1]][None]
    return image * weight[None, :, :, None], (factor * row, factor * column)

  def add(total: Array, place: Array) -> tuple[Array, None]:
    image, (row, column) = tile_at(place)
    start = (0, row, column, 0)
    before = jax.lax.dynamic_slice(total, start, image.shape)
    return jax.lax.dynamic_update_slice(total, before + image, start), None

  one = jax.eval_shape(decode, latents)
  total = jnp.zeros(one.shape, jnp.float32)
  return jax.lax.scan(add, total, jnp.asarray(places))[0]


def _starts(length: int, tile: int, overlap: int) -> np.ndarray:
  """First positions of tiles that cover a side evenly."""
  if length <= tile:
    return np.zeros(1, np.int32)
  num = -(-(length - overlap) // (tile - overlap))
  return np.linspace(0, length - tile, num).round().astype(np.int32)


def _weights(
  starts: np.ndarray, tile: int, length: int, overlap: int, factor: int
) -> Array:
  """Weights [num, factor tile] of the pixels of each tile, which sum to 1."""
  pixels = np.arange(factor * tile) + 0.5
  margin, ramp = factor * overlap / 4, factor * overlap / 2
  rising = np.clip((pixels - margin) / ramp, 0, 1)
  weights = np.ones((len(starts), factor * tile))
  total = np.zeros(factor * length)
  for i, start in enumerate(starts):
    weights[i] *= rising if start > 0 else 1
    weights[i] *= rising[::-1] if start + tile < length else 1
    total[factor * start : factor * (start + tile)] += weights[i]
  for i, start in enumerate(starts):
    weights[i] /= total[factor * start : factor * (start + tile)]
  return jnp.asarray(weights, jnp.float32)
