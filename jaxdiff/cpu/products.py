"""Matrix products whose gradients are matrix products, on a CPU.

Along its last axis x [..., C] times w [C, C'] is one product of matrices, with
a row for each position. So is the gradient for w, with positions summed over,

  dL/dw = x^T dL/dy,    x [P, C], dL/dy [P, C'],

but where positions have several axes XLA's CPU backend first writes one of the
two out anew, transposed, an element at a time, and often makes again what it is
the sum or the norm of: as long as the product itself, or several times. With
one axis of positions it multiplies them as they lie.

On other backends it was not measured; they are given jax's own.
"""

from functools import partial
from typing import Any

import jax
from jax import lax


def dot_general(
  lhs: jax.Array,
  rhs: jax.Array,
  dimension_numbers: lax.DotDimensionNumbers,
  **settings: Any,
) -> jax.Array:
  """`jax.lax.dot_general`, for `nn.Dense`.

  Other products than Dense's are lax's own on a CPU too.

  Args:
    lhs: [..., C].
    rhs: [C, C'].
    dimension_numbers: as lax has them.
    settings: as lax has them.

  Returns:
    [..., C'].
  """
  multiply = partial(lax.dot_general, **settings)
  if dimension_numbers != (((lhs.ndim - 1,), (0,)), ((), ())):
    return multiply(lhs, rhs, dimension_numbers)

  def rows(lhs: jax.Array, rhs: jax.Array) -> jax.Array:
    x = lhs.reshape(-1, lhs.shape[-1])
    y = multiply(x, rhs, (((1,), (0,)), ((), ())))
    return y.reshape(*lhs.shape[:-1], *rhs.shape[1:])

  direct = lambda lhs, rhs: multiply(lhs, rhs, dimension_numbers)
  return lax.platform_dependent(lhs, rhs, cpu=rows, default=direct)
