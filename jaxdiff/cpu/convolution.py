"""A convolution whose gradients are convolutions of the usual form, on a CPU.

With respect to x or w a convolution is linear, and what transposes the two maps
are convolutions again, of other operands. jax says so by renaming dimensions;
XLA's CPU backend renames them back, but not inside loops, where it then takes
its slowest way: a gradient in a scan costs forty times as much. Here the
derivatives are written with renamed dimensions, so that what comes of their
transposition has the usual ones:

  y                     x [NHWC] * w [HWIO] -> [NHWC]
  d/dx, transposed      g [NHWC] * w' [HWIO] -> [NHWC]
  d/dw, transposed      x' [CHWN, read as NHWC] * g' [HWNC, read as HWIO]

with ' for operands transposed by name. The numbers are the same.

The last one's first operand is copied patch by patch, and a patch serves as
many products as the second has channels. Where x has more than g, the two are
exchanged, for 3x3 and stride 1, and the taps that result reversed.

Wide ones of 3x3 and stride 1, and those of a doubled map, are `winograd`'s,
forwards and in both gradients; sums are then in another order.

On other backends none of it was measured; they are given jax's own.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_derivatives import SymbolicZero
from jax.experimental.xla_metadata import set_xla_metadata

from jaxdiff.cpu import winograd

_DEFAULTS = {
  'lhs_dilation': (1, 1),
  'rhs_dilation': (1, 1),
  'feature_group_count': 1,
}  # and None
WIDE = 128  # channels from which `winograd` is faster, also in a whole network


def conv_general_dilated(
  lhs: jax.Array,
  rhs: jax.Array,
  window_strides: Sequence[int],
  padding: str | Sequence[tuple[int, int]],
  *,
  dimension_numbers: lax.ConvDimensionNumbers,
  **settings: Any,
) -> jax.Array:
  """`jax.lax.conv_general_dilated`, for `nn.Conv` on images.

  With settings other than lax's defaults it is lax's own on a CPU too.

  Args:
    lhs: [B, H, W, C].
    rhs: [h, w, C, C'].
    window_strides: two of them.
    padding: as lax has it.
    dimension_numbers: those of NHWC, HWIO and NHWC.
    settings: as lax has them.
  """
  lax_conv = partial(
    lax.conv_general_dilated,
    window_strides=window_strides,
    padding=padding,
    dimension_numbers=dimension_numbers,
    **settings,
  )
  if any(_DEFAULTS.get(name) != value for name, value in settings.items()):
    return lax_conv(lhs, rhs)
  if not isinstance(padding, str):
    padding = tuple(map(tuple, padding))
  own = lambda x, w: _convolve(x, w, tuple(window_strides), padding)
  return lax.platform_dependent(lhs, rhs, cpu=own, default=lax_conv)


def of_doubled(lhs: jax.Array, rhs: jax.Array, *_: Any, **__: Any) -> jax.Array:
  """The 3x3 convolution of lhs with every pixel doubled both ways.

  A quarter of the multiplications, and no map between: `winograd.DOUBLED`.

  Args:
    lhs: [B, H, W, C].
    rhs: [3, 3, C, C'].

  Returns:
    [B, 2 H, 2 W, C'], padded like SAME, for `nn.Conv` with stride 1.
  """
  return _doubled(lhs, rhs)


@partial(jax.custom_jvp, nondiff_argnums=(2, 3))
def _convolve(x, w, strides, padding):
  if _wide(x, w, strides, padding):
    return _apart(winograd.convolve, x, w)
  names = ('NHWC', 'HWIO', 'NHWC')
  return lax.conv_general_dilated(
    x, w, strides, padding, dimension_numbers=names
  )


@partial(_convolve.defjvp, symbolic_zeros=True)
def _derivatives(strides, padding, primals, tangents):
  (x, w), (dx, dw) = primals, tangents
  y = _convolve(x, w, strides, padding)
  if _wide(x, w, strides, padding):
    along_x = partial(_apart, _along_x, w)
    along_w = partial(_apart, _along_w, x)
  else:
    convolve = partial(
      lax.conv_general_dilated, window_strides=strides, padding=padding
    )

    def along_x(dx):
      names = ('NHWC', 'HWOI', 'NHWC')
      return convolve(dx, w.swapaxes(2, 3), dimension_numbers=names)

    def along_w(dw):
      if _plain(w, strides, padding) and w.shape[2] > w.shape[3]:
        return _transposed(partial(_turned_kernel_gradient, x), y.shape, dw)
      names = ('CHWN', 'IHWO', 'HWNC')
      turned = x.transpose(3, 1, 2, 0), dw.transpose(2, 0, 1, 3)
      return convolve(*turned, dimension_numbers=names).transpose(2, 0, 1, 3)

  return y, _sum((along_x, dx), (along_w, dw))


@jax.custom_jvp
def _doubled(x, w):
  return _apart(_convolve_doubled, x, w)


@partial(_doubled.defjvp, symbolic_zeros=True)
def _derivatives_of_doubled(primals, tangents):
  (x, w), (dx, dw) = primals, tangents
  along_x = partial(_apart, _doubled_along_x, w)
  along_w = partial(_apart, _doubled_along_w, x)
  return _doubled(x, w), _sum((along_x, dx), (along_w, dw))


def _sum(*pairs):
  """f(d) + .. over pairs of f and d, of which one at least is not zero."""
  parts = [f(d) for f, d in pairs if not isinstance(d, SymbolicZero)]
  return sum(parts[1:], parts[0])


def _wide(x, w, strides, padding) -> bool:
  """Tells whether fewer multiplications are more than what they cost."""
  single = x.dtype == w.dtype == jnp.float32
  wide = min(w.shape[2:]) >= WIDE
  return _plain(w, strides, padding) and single and wide


def _plain(w, strides, padding) -> bool:
  """Tells whether it is of 3x3 and stride 1, and leaves the size as it is."""
  return w.shape[:2] == (3, 3) and strides == (1, 1) and padding == 'SAME'


def _turned_kernel_gradient(x, g):
  """dL/dw of a `_plain` one, g = dL/dy sliding over x."""
  names = ('NHWC', 'HWIO', 'NHWC')
  operands = g.transpose(3, 1, 2, 0), x.transpose(1, 2, 0, 3)
  taps = lax.conv_general_dilated(
    *operands, (1, 1), [(1, 1), (1, 1)], dimension_numbers=names
  )
  return taps[:, ::-1, ::-1].transpose(1, 2, 3, 0)


# What jax transposes on the way back is the transpose of the gradient that is
# wanted, and so the gradient as it is written. It is made then: what is kept
# until then are x and w, nothing of what they are combined to.


@jax.checkpoint
def _along_x(w, dx):
  turned = w[::-1, ::-1].swapaxes(2, 3)
  shape = (*dx.shape[:3], w.shape[3])
  return _transposed(lambda g: winograd.convolve(g, turned), shape, dx)


@jax.checkpoint
def _along_w(x, dw):
  shape = (*x.shape[:3], dw.shape[3])
  return _transposed(partial(winograd.kernel_gradient, x), shape, dw)


def _convolve_doubled(x, w):
  return winograd.convolve(x, w, winograd.DOUBLED, winograd.DOUBLED)


@jax.checkpoint
def _doubled_along_x(w, dx):
  b, height, width, _ = dx.shape
  shape = (b, 2 * height, 2 * width, w.shape[3])
  return _transposed(lambda g: winograd.doubled_map_gradient(g, w), shape, dx)


@jax.checkpoint
def _doubled_along_w(x, dw):
  b, height, width, _ = x.shape
  shape = (b, 2 * height, 2 * width, dw.shape[3])
  return _transposed(partial(winograd.doubled_kernel_gradient, x), shape, dw)


def _transposed(gradient, shape, d):
  """The transpose of a linear map of arrays of that shape, at d."""
  g = jax.ShapeDtypeStruct(shape, d.dtype)
  return jax.linear_transpose(gradient, g)(d)[0]


def _apart(function, *args):
  """The function as a computation of its own, whose arguments are arrays.

  Else XLA on a CPU makes what x is made of (a norm, a swish) once for each of
  the sums that x goes into, and not once.
  """
  with set_xla_metadata(inlineable='false'):
    return jax.jit(function)(*args)
