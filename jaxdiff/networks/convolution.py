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

with ' for operands transposed by name. The numbers are the same. Other backends
rename in loops too, and know a gradient by its form: they are given jax's own.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
from jax import lax
from jax.custom_derivatives import SymbolicZero

_DEFAULTS = {
  'lhs_dilation': (1, 1),
  'rhs_dilation': (1, 1),
  'feature_group_count': 1,
  'precision': None,
  'preferred_element_type': None,
}


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
  usual = all(_DEFAULTS[name] == value for name, value in settings.items())
  if jax.default_backend() != 'cpu' or not usual:
    return lax.conv_general_dilated(
      lhs,
      rhs,
      window_strides,
      padding,
      dimension_numbers=dimension_numbers,
      **settings,
    )
  if not isinstance(padding, str):
    padding = tuple(map(tuple, padding))
  return _convolve(lhs, rhs, tuple(window_strides), padding)


@partial(jax.custom_jvp, nondiff_argnums=(2, 3))
def _convolve(x, w, strides, padding):
  names = ('NHWC', 'HWIO', 'NHWC')
  return lax.conv_general_dilated(
    x, w, strides, padding, dimension_numbers=names
  )


@partial(_convolve.defjvp, symbolic_zeros=True)
def _derivatives(strides, padding, primals, tangents):
  (x, w), (dx, dw) = primals, tangents
  y = _convolve(x, w, strides, padding)
  convolve = partial(
    lax.conv_general_dilated, window_strides=strides, padding=padding
  )
  parts = []
  if not isinstance(dx, SymbolicZero):
    names = ('NHWC', 'HWOI', 'NHWC')
    swapped = w.transpose(0, 1, 3, 2)
    parts.append(convolve(dx, swapped, dimension_numbers=names))
  if not isinstance(dw, SymbolicZero):
    names = ('CHWN', 'IHWO', 'HWNC')
    turned = x.transpose(3, 1, 2, 0), dw.transpose(2, 0, 1, 3)
    part = convolve(*turned, dimension_numbers=names)
    parts.append(part.transpose(2, 0, 1, 3))
  return y, sum(parts[1:], parts[0])
