"""FLOPs of a function: its matrix products and convolutions, counted.

They are counted in the jaxpr, as the function is written: nothing is compiled,
and a scan counts as often as it runs. With `jax.checkpoint` what is computed
again counts again.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
from jax.extend import core


def count(fn: Callable[..., Any], *args: Any) -> float:
  """Counts the FLOPs of fn(*args), two for a multiplication and an addition.

  Args:
    fn: of arrays.
    args: its arguments, or their shapes.
  """
  return _of_jaxpr(jax.make_jaxpr(fn)(*args).jaxpr)


def _of_jaxpr(jaxpr: core.Jaxpr) -> float:
  return sum(map(_of_equation, jaxpr.eqns))


def _of_equation(equation: core.JaxprEqn) -> float:
  name, params = equation.primitive.name, equation.params
  shapes = [v.aval.shape for v in (*equation.invars[:2], *equation.outvars[:1])]
  if name == 'dot_general':
    contracted = params['dimension_numbers'][0][0]
    return (
      2.0 * math.prod(shapes[2]) * math.prod(shapes[0][i] for i in contracted)
    )
  if name == 'conv_general_dilated':
    # A kernel is [out, in a group, ...] in some order. Zeros between dilated
    # positions are not multiplied; those of the padding are.
    used = (
      math.prod(shapes[1]) / shapes[1][params['dimension_numbers'].rhs_spec[0]]
    )
    return 2.0 * math.prod(shapes[2]) * used / math.prod(params['lhs_dilation'])
  parts = [_of_jaxpr(inner) for inner in _inner(params)]
  if name == 'cond':
    return max(parts)
  return params.get('length', 1) * sum(parts) if name == 'scan' else sum(parts)


def _inner(params: dict[str, Any]) -> list[core.Jaxpr]:
  """Lists the jaxprs that an equation calls."""
  found = []
  for value in params.values():
    for x in value if isinstance(value, tuple | list) else (value,):
      if isinstance(x, core.ClosedJaxpr):
        x = x.jaxpr
      if isinstance(x, core.Jaxpr):
        found.append(x)
  return found
