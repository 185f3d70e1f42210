"""lax's product, and a gradient that is one product of matrices."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxdiff.cpu import products
from jaxdiff.networks.layers import Dense


@pytest.mark.parametrize('axes', [(), (4,), (2, 3), (2, 3, 4), (0, 3)])
def test_derivatives_are_those_of_lax(key, axes):
  x = jax.random.normal(key, (*axes, 5))
  w = jax.random.normal(jax.random.fold_in(key, 1), (5, 7))
  numbers = (((x.ndim - 1,), (0,)), ((), ()))

  def both(x, w, product):
    y = lambda x, w: jnp.sin(product(x, w, numbers))
    pull = jax.vjp(y, x, w)[1]
    return y(x, w), jax.jvp(y, (x, w), (x, w)), pull(y(x, w))

  got = jax.jit(partial(both, product=products.dot_general))(x, w)
  wanted = both(x, w, lax.dot_general)
  compare = partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-5)
  jax.tree.map(compare, got, wanted)


def test_other_products_are_those_of_lax(key):
  """Of other axes; and what is asked of it is heard."""
  x, w = jax.random.normal(key, (3, 4, 5)), jnp.ones((6, 5))
  numbers = (((2,), (1,)), ((), ()))
  got = products.dot_general(x, w, numbers)
  np.testing.assert_array_equal(got, lax.dot_general(x, w, numbers))
  half = jax.eval_shape(
    partial(
      products.dot_general,
      dimension_numbers=(((2,), (0,)), ((), ())),
      preferred_element_type=jnp.bfloat16,
    ),
    x,
    w.T,
  )
  assert (half.shape, half.dtype) == ((3, 4, 6), jnp.bfloat16)


def transposed(hlo, elements):
  """The lines of a compiled program that bring so many into another order."""
  found = []
  for line in hlo.splitlines():
    _, _, right = line.partition(' = ')
    shape, _, operation = right.partition(' ')
    dims = shape.partition('[')[2].partition(']')[0]
    count = np.prod([int(n) for n in dims.split(',') if n])
    if operation.startswith('transpose(') and count == elements:
      found.append(line)
  return found


def test_a_kernels_gradient_transposes_nothing(key):
  """Of an x that something is made into first, in which it would be lost."""
  x = jax.random.normal(key, (4, 8, 6, 16))
  program = {}
  for dense in (Dense(24), Dense(24, dot_general=lax.dot_general)):
    params = dense.init(key, x)
    loss = lambda p, dense=dense: (dense.apply(p, jnp.tanh(x)) ** 2).sum()
    hlo = jax.jit(jax.grad(loss)).lower(params).compile().as_text()
    program[dense.dot_general] = hlo
  assert not transposed(program[products.dot_general], 4 * 8 * 6 * 24)
  assert transposed(program[lax.dot_general], 4 * 8 * 6 * 24)
