"""Non-leaking augmentation: geometric transformations the network is told.

A small data set lasts longer when its images are also seen mirrored, scaled,
rotated, squeezed and moved. A network that is told which transformation an
image had, as nine numbers, keeps them apart from the images as they are.
Sampling sets all nine to 0.

Source: Karras et al. 2022 (arXiv:2206.00364), appendix F.2 and table 6, after
Karras et al. 2020 (arXiv:2006.06676).
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jaxdiff.checks import number
from jaxdiff.losses import Batch, Loss, LossValue

NUM_LABELS = 9
_SCALE = 0.2  # standard deviation of log2 of a scale, and of a squeeze
_TRANSLATION = 0.125  # that of a translation, in widths or heights


def geometric(key: Array, x0: Array, probability: float) -> tuple[Array, Array]:
  """Transforms an image at random, and says how.

  With probability 1/2 it is mirrored left to right, and with half of
  `probability` upside down. With `probability` each, on their own, it is scaled
  by 2^(0.2 a), rotated by b, squeezed by 2^(0.2 c) along one direction and
  stretched by as much across it, and moved by (d, e) / 8 of its width and
  height. The direction is the horizontal in half of the cases, any in others.

  Args:
    key: Of the example.
    x0: Image [H, W, C] in [-1, 1].
    probability: In [0, 1].

  Returns:
    The image [H, W, C] by cubic interpolation, reflected at its borders; beside
    an edge it may leave [-1, 1] by a little. And nine numbers, 0 for what was
    not done: the two mirrorings, a, cos b - 1, sin b, c in the direction's
    cosine and sine, d, e.

  Example:
    >>> x0 = jnp.linspace(-1, 1, 64)[:, None, None] * jnp.ones((64, 64, 3))
    >>> image, labels = geometric(jax.random.key(0), x0, probability=0.12)
    >>> image.shape, labels.shape
    ((64, 64, 3), (9,))
  """
  number('probability', probability, '[0, 1]')
  coin_key, normal_key, angle_key = jax.random.split(key, 3)
  fractions = jnp.array([0.5, 0.5 * probability, *4 * [probability], 0.5])
  coins = jax.random.uniform(coin_key, (7,)) < fractions
  mirrored, flipped, scaled, rotated, squeezed, moved, slanted = coins.astype(
    jnp.float32
  )
  a, c, d, e = jax.random.normal(normal_key, (4,))
  turn, direction = jax.random.uniform(
    angle_key, (2,), minval=-jnp.pi, maxval=jnp.pi
  )
  a, b, c = scaled * a, rotated * turn, squeezed * c
  direction *= slanted
  shift = moved * jnp.stack([d, e])

  x = jnp.where(mirrored > 0, x0[:, ::-1], x0)
  x = jnp.where(flipped > 0, x[::-1], x)
  # Of angle 0 without a squeeze: an image as it is stays so to the bit.
  along = _rotation(squeezed * direction)
  squeeze = jnp.diag(jnp.exp2(_SCALE * jnp.stack([c, -c])))
  matrix = jnp.exp2(_SCALE * a) * _product(
    _rotation(b), along, squeeze, along.T
  )
  height, width = x0.shape[:2]
  size = jnp.array([width, height], jnp.float32)
  labels = jnp.stack(
    [
      mirrored,
      flipped,
      a,
      jnp.cos(b) - 1,
      jnp.sin(b),
      c * jnp.cos(direction),
      c * jnp.sin(direction),
      *shift,
    ]
  )
  return transformed(x, matrix, _TRANSLATION * size * shift), labels


def transformed(x: Array, matrix: Array, shift: Array) -> Array:
  """Moves the pixel at p from the centre to matrix p + shift.

  Args:
    x: Image [H, W, C] in [-1, 1].
    matrix: [2, 2], of (to the right, down).
    shift: [2], in pixels.

  Returns:
    [H, W, C]: the identity leaves every pixel as it is. Cubic interpolation
    overshoots a little beside an edge. Where an image gets smaller it is not
    smoothed first.

  Source: Keys 1981, "Cubic convolution interpolation", equation 4, a = -1/2.
  """
  height, width = x.shape[:2]
  centre = jnp.array([width - 1, height - 1], jnp.float32) / 2
  down, right = jnp.mgrid[:height, :width].astype(jnp.float32)
  right, down = (right - centre[0] - shift[0], down - centre[1] - shift[1])
  (a, b), (c, d) = matrix
  inverse = jnp.stack([d, -b, -c, a]) / (a * d - b * c)
  # Written out: a matrix product of a TPU would round positions.
  at = jnp.stack(
    [
      inverse[0] * right + inverse[1] * down + centre[0],
      inverse[2] * right + inverse[3] * down + centre[1],
    ],
    axis=-1,
  )
  first = jnp.floor(at)
  taps = jnp.arange(-1, 3)[None, None, None]
  weights = _cubic((at - first)[..., None] - taps)
  places = first.astype(jnp.int32)[..., None] + taps
  columns = _reflected(places[..., 0, :], width)
  rows = _reflected(places[..., 1, :], height)
  total = jnp.zeros_like(x)
  for i in range(4):
    for j in range(4):
      weight = weights[..., 1, i] * weights[..., 0, j]
      total += weight[..., None] * x[rows[..., i], columns[..., j]]
  return total


def augmenting(loss: Loss, probability: float) -> Loss:
  """Builds the loss on images that are transformed, with 'augment_labels'.

  Args:
    loss: Of a network with that condition, [B, 9].
    probability: As in `geometric`.
  """
  number('probability', probability, '[0, 1]')

  def augmented(params: Any, keys: Array, batch: Batch) -> LossValue:
    # A tuple from inside vmap: slices of one array of keys count as its reuse.
    split = jax.vmap(lambda key: tuple(jax.random.split(key)))
    own_keys, keys = split(keys)
    one = lambda key, x0: geometric(key, x0, probability)
    x0, labels = jax.vmap(one)(own_keys, batch['x0'])
    cond = {**batch.get('cond', {}), 'augment_labels': labels}
    return loss(params, keys, {**batch, 'x0': x0, 'cond': cond})

  return augmented


def _rotation(angle: Array) -> Array:
  cos, sin = jnp.cos(angle), jnp.sin(angle)
  return jnp.stack([jnp.stack([cos, -sin]), jnp.stack([sin, cos])])


def _product(*matrices: Array) -> Array:
  return jnp.linalg.multi_dot(matrices, precision='highest')


def _cubic(x: Array) -> Array:
  x = jnp.abs(x)
  near = (1.5 * x - 2.5) * x * x + 1
  far = ((-0.5 * x + 2.5) * x - 4) * x + 2
  return jnp.where(x < 1, near, jnp.where(x < 2, far, 0.0))


def _reflected(i: Array, size: int) -> Array:
  """Reflects places outside of 0 .. size - 1 at the first and the last one."""
  period = max(2 * (size - 1), 1)
  i = i % period
  return jnp.minimum(i, period - i)
