"""Counts of FLOPs in a jaxpr, against formulas and against XLA."""

import jax
import jax.numpy as jnp
import pytest
import tiny

from jaxdiff import flops


def test_products_in_loops_and_gradients():
  w, x = jnp.ones((5, 7)), jnp.ones((3, 5))
  product = 2 * 3 * 5 * 7
  loss = lambda w, x: jnp.sum(jnp.tanh(x @ w))
  assert flops.count(loss, w, x) == product
  # The gradient of one factor is a product of the same size.
  assert flops.count(jax.jit(jax.grad(loss)), w, x) == 2 * product
  scanned = lambda w: jax.lax.scan(lambda x, _: (x @ w @ w.T, None), x, None, 4)
  assert flops.count(scanned, w) == 4 * 2 * product
  chosen = lambda w: jax.lax.cond(
    w.sum() > 0, lambda: x @ w, lambda: x @ (2 * w)
  )
  assert flops.count(chosen, w) == product


@pytest.mark.parametrize('stride', [1, 2])
def test_convolutions_and_their_gradients_are_of_one_size(stride):
  x, kernel = jnp.ones((2, 8, 8, 3)), jnp.ones((3, 3, 3, 5))

  def loss(x, kernel):
    dims = ('NHWC', 'HWIO', 'NHWC')
    args = (stride, stride), 'SAME'
    y = jax.lax.conv_general_dilated(x, kernel, *args, dimension_numbers=dims)
    return jnp.sum(jnp.tanh(y))

  one = 2 * 2 * (8 // stride) ** 2 * 9 * 3 * 5
  assert flops.count(loss, x, kernel) == one
  assert flops.count(jax.grad(loss, 1), x, kernel) == 2 * one
  both = flops.count(jax.grad(loss, (0, 1)), x, kernel)
  assert both == pytest.approx(3 * one, rel=0.35 * (stride - 1) + 1e-6)


def test_a_network_is_counted_as_by_xla():
  params = jax.eval_shape(tiny.init, jax.random.key(0))
  args = params, jax.ShapeDtypeStruct((4, 8, 8, 1), 'float32'), jnp.ones(4), {}
  found = flops.count(tiny.apply, *args)
  xla = jax.jit(tiny.apply).lower(*args).cost_analysis()['flops']
  # XLA counts what is no product, too, and leaves the padding out.
  assert found == pytest.approx(xla, rel=0.3)
