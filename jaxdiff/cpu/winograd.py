"""3x3 convolutions of stride 1 with a third or half of the multiplications.

Winograd's F(m, 3): m neighbouring outputs of a filter of three taps are m + 2
products, where they would be 3 m,

  y = A^T [(G w) * (B^T x)],    x m + 2 inputs, w three taps, y m outputs,

for both are polynomials, their product has degree m + 1, and so many values
and one say what it is: those at 0, 1, -1 (2, -2) and infinity. Along one axis
of a map the inputs are its rows, and * is what remains to be done along them.
That may be done in the same way: F(4, 3) over rows of F(2, 3) over columns
takes three multiplications for an output and channel instead of nine.

It costs additions, memory for what is multiplied, and precision: errors are
three times as large, still 1e-6 of what is added up.

The gradients are the same identity read backwards,

  dL/dw = G^T [(B^T x) * (A dL/dy)],    dL/dx = B [(G w) * (A dL/dy)].

A map with every pixel doubled has a form of its own. Along an axis, with S the
sum of the taps,

  y[2i]     = w[0] (x[i - 1] - x[i]) + S x[i]
  y[2i + 1] = S x[i] + w[2] (x[i + 1] - x[i]),

three products for two outputs, nine for four along both.

Source: Lavin and Gray 2016 (arXiv:1509.09308), section 4, with its matrices.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

Product = Callable[[jax.Array, jax.Array], jax.Array]


class Form(NamedTuple):
  """The matrices of F(m, 3), or of m outputs from n + 2 inputs, n apart."""

  at: np.ndarray  # A^T [m, n + 2]
  bt: np.ndarray  # B^T [n + 2, n + 2]
  g: np.ndarray  # G [n + 2, 3]

  @property
  def step(self) -> int:
    """n, the inputs from one window to the next."""
    return len(self.bt) - 2


TWO = Form(
  np.array([[1, 1, 1, 0], [0, 1, -1, -1]]),
  np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]]),
  np.array([[2, 0, 0], [1, 1, 1], [1, -1, 1], [0, 0, 2]]) / 2,
)
FOUR = Form(
  np.array(
    [
      [1, 1, 1, 1, 1, 0],
      [0, 1, -1, 2, -2, 0],
      [0, 1, 1, 4, 4, 0],
      [0, 1, -1, 8, -8, 1],
    ]
  ),
  np.array(
    [
      [4, 0, -5, 0, 1, 0],
      [0, -4, -4, 1, 1, 0],
      [0, 4, -4, -1, 1, 0],
      [0, -2, -1, 2, 1, 0],
      [0, 2, -1, -2, 1, 0],
      [0, 4, 0, -5, 0, 1],
    ]
  ),
  np.array(
    [
      [6, 0, 0],
      [-4, -4, -4],
      [-4, 4, -4],
      [1, 2, 4],
      [1, -2, 4],
      [0, 0, 24],
    ]
  )
  / 24,
)
DOUBLED = Form(
  np.array([[1, 1, 0], [0, 1, 1]]),
  np.array([[1, -1, 0], [0, 1, 0], [0, -1, 1]]),
  np.array([[1, 0, 0], [1, 1, 1], [0, 0, 1]]),
)


def convolve(
  x: jax.Array, w: jax.Array, rows: Form = FOUR, columns: Form = TWO
) -> jax.Array:
  """The convolution of x with w, padded like SAME.

  Args:
    x: [B, H, W, C].
    w: [3, 3, C, C'].
    rows: the form along H.
    columns: the form along W; both `DOUBLED`: every pixel of x doubled.

  Returns:
    [B, H, W, C'], or [B, 2 H, 2 W, C'].
  """
  of_row = partial(_along, 2, columns, jnp.matmul)
  return _along(1, rows, of_row, x, w)


def kernel_gradient(x: jax.Array, g: jax.Array) -> jax.Array:
  """dL/dw of y = convolve(x, w), with g = dL/dy; columns are not saved on.

  Args:
    x: [B, H, W, C].
    g: [B, H, W, C'].

  Returns:
    [3, 3, C, C'].
  """
  width = x.shape[2]

  def of_row(x, g):
    x = _pad(2, 1, 1, x)
    return jnp.stack([_outer(x[:, :, i : i + width], g) for i in range(3)])

  return _kernel_gradient_along(1, FOUR, of_row, x, g)


def doubled_kernel_gradient(x: jax.Array, g: jax.Array) -> jax.Array:
  """dL/dw of y = convolve(x, w, DOUBLED, DOUBLED), with g = dL/dy.

  Args:
    x: [B, H, W, C].
    g: [B, 2 H, 2 W, C'].

  Returns:
    [3, 3, C, C'].
  """
  of_row = partial(_kernel_gradient_along, 2, DOUBLED, _outer)
  return _kernel_gradient_along(1, DOUBLED, of_row, x, g)


def doubled_map_gradient(g: jax.Array, w: jax.Array) -> jax.Array:
  """dL/dx of y = convolve(x, w, DOUBLED, DOUBLED), with g = dL/dy.

  Args:
    g: [B, 2 H, 2 W, C'].
    w: [3, 3, C, C'].

  Returns:
    [B, H, W, C].
  """
  of_row = partial(_doubled_map_gradient_along, 2, jnp.matmul)
  return _doubled_map_gradient_along(1, of_row, g, w.swapaxes(2, 3))


def _along(
  axis: int, form: Form, product: Product, x: jax.Array, w: jax.Array
) -> jax.Array:
  """Three taps w[0], w[1], w[2] over x along an axis."""
  windows, taps = _windows(axis, form, x), _combine(form.g, list(w))
  products = list(map(product, windows, taps))
  y = jnp.stack(_combine(form.at, products), axis + 1)
  y = y.reshape(*y.shape[:axis], -1, *y.shape[axis + 2 :])
  size = x.shape[axis] * len(form.at) // form.step
  return lax.slice_in_dim(y, 0, size, axis=axis)


def _kernel_gradient_along(
  axis: int, form: Form, product: Product, x: jax.Array, g: jax.Array
) -> jax.Array:
  """dL/dw of `_along`, [3, ...]."""
  windows, spread = _windows(axis, form, x), _spread(axis, form, g)
  products = list(map(product, windows, spread))
  return jnp.stack(_combine(form.g.T, products))


def _doubled_map_gradient_along(
  axis: int, product: Product, g: jax.Array, w: jax.Array
) -> jax.Array:
  """dL/dx of `_along` in the form `DOUBLED`."""
  spread, taps = _spread(axis, DOUBLED, g), _combine(DOUBLED.g, list(w))
  products = list(map(product, spread, taps))
  windows = partial(_windows, axis, DOUBLED)
  return jax.linear_transpose(windows, products[0])(products)[0]


def _outer(x: jax.Array, g: jax.Array) -> jax.Array:
  """Over all positions, x g^T: [..., C], [..., C'] -> [C, C']."""
  return x.reshape(-1, x.shape[-1]).T @ g.reshape(-1, g.shape[-1])


def _windows(axis: int, form: Form, x: jax.Array) -> list[jax.Array]:
  """B^T of positions n i - 1 to n i + n, for every i: n + 2 arrays."""
  own = _tiles(axis, form.step, x)
  edge = jnp.zeros_like(lax.slice_in_dim(own[0], 0, 1, axis=axis))
  last = lax.slice_in_dim(own[-1], 0, -1, axis=axis)
  first = lax.slice_in_dim(own[0], 1, None, axis=axis)
  before = jnp.concatenate([edge, last], axis)
  after = jnp.concatenate([first, edge], axis)
  return _combine(form.bt, [before, *own, after])


def _spread(axis: int, form: Form, g: jax.Array) -> list[jax.Array]:
  """A of positions m i to m i + m - 1, for every i: n + 2 arrays."""
  return _combine(form.at.T, _tiles(axis, len(form.at), g))


def _tiles(axis: int, m: int, x: jax.Array) -> list[jax.Array]:
  """Positions m i + j along an axis, for every i: m arrays, one for a j."""
  x = _pad(axis, 0, -x.shape[axis] % m, x)
  x = x.reshape(*x.shape[:axis], -1, m, *x.shape[axis + 1 :])
  return [lax.index_in_dim(x, j, axis + 1, keepdims=False) for j in range(m)]


def _pad(axis: int, before: int, after: int, x: jax.Array) -> jax.Array:
  """So many zeros at the two ends of an axis."""
  pads = [(0, 0, 0)] * x.ndim
  pads[axis] = (before, after, 0)
  return lax.pad(x, jnp.zeros((), x.dtype), pads)


def _combine(
  matrix: np.ndarray, arrays: Sequence[jax.Array]
) -> list[jax.Array]:
  """Each row of the matrix times the arrays, its zeros left out."""
  sums = []
  for row in matrix.tolist():
    terms = [c * x for c, x in zip(row, arrays, strict=True) if c]
    sums.append(sum(terms[1:], terms[0]))
  return sums
