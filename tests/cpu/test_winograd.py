"""Convolutions with fewer multiplications are convolutions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxdiff import parallel
from jaxdiff.cpu import convolution, winograd
from jaxdiff.cpu.convolution import conv_general_dilated, of_doubled
from jaxdiff.networks import layers


def direct(x, w):
  names = ('NHWC', 'HWIO', 'NHWC')
  return lax.conv_general_dilated(x, w, (1, 1), 'SAME', dimension_numbers=names)


def same(got, wanted):
  """Up to rounding; compared with the largest, for sums can be zero."""
  scale = np.abs(wanted).max()
  np.testing.assert_allclose(got, wanted, rtol=0, atol=3e-6 * scale)


@pytest.fixture
def keys(key):
  return jax.random.split(key, 3)


@pytest.mark.parametrize(
  'size', [(8, 4), (1, 1), (2, 3), (3, 2), (5, 7), (9, 6), (4, 1)]
)
def test_it_is_the_convolution(keys, size):
  """Also where nothing divides by two or four, and of less than a window."""
  x = jax.random.normal(keys[0], (2, *size, 3))
  w = jax.random.normal(keys[1], (3, 3, 3, 4))
  same(jax.jit(winograd.convolve)(x, w), direct(x, w))


@pytest.mark.parametrize('size', [(8, 4), (1, 1), (2, 3), (5, 7), (9, 6)])
def test_the_kernels_gradient(keys, size):
  x = jax.random.normal(keys[0], (2, *size, 3))
  g = jax.random.normal(keys[1], (2, *size, 4))
  _, pull = jax.vjp(lambda w: direct(x, w), jnp.zeros((3, 3, 3, 4)))
  same(jax.jit(winograd.kernel_gradient)(x, g), pull(g)[0])


def test_errors_are_of_the_order_of_rounding(keys):
  """Of a network's width, beside the same in float64."""
  x = jax.random.normal(keys[0], (2, 16, 16, 128))
  w = jax.random.normal(keys[1], (3, 3, 128, 8)) / np.sqrt(9 * 128)
  wide = np.pad(np.asarray(x, np.float64), ((0, 0), (1, 1), (1, 1), (0, 0)))
  exact = sum(
    wide[:, i : i + 16, j : j + 16] @ np.asarray(w[i, j], np.float64)
    for i in range(3)
    for j in range(3)
  )
  error = np.asarray(jax.jit(winograd.convolve)(x, w)) - exact
  assert exact.std() > 0.9
  assert np.sqrt(np.mean(error**2)) < 2e-6


def of_network(conv):
  """As `nn.Conv` calls it."""

  def run(x, w):
    names = ('NHWC', 'HWIO', 'NHWC')
    numbers = lax.conv_dimension_numbers(x.shape, w.shape, names)
    return conv(x, w, (1, 1), 'SAME', dimension_numbers=numbers)

  return run


@pytest.mark.parametrize(
  'channels, least, most', [(128, 0.3, 0.5), (16, 0.95, 1.05)]
)
def test_wide_ones_multiply_less(channels, least, most):
  """Forwards and for x a third, for the kernel half; narrow ones as ever."""
  x, w = jnp.ones((2, 32, 32, channels)), jnp.ones((3, 3, channels, channels))

  def flops(conv):
    loss = lambda x, w: jnp.sum(of_network(conv)(x, w) ** 2)
    both = jax.jit(jax.grad(loss, (0, 1)))
    return both.lower(x, w).compile().cost_analysis()['flops']

  ratio = flops(conv_general_dilated) / flops(lax.conv_general_dilated)
  assert least < ratio < most


def test_a_doubled_map_takes_a_quarter():
  """Forwards and for both gradients."""
  x, w = jnp.ones((2, 16, 16, 64)), jnp.ones((3, 3, 64, 64))

  def flops(conv):
    loss = lambda x, w: jnp.sum(conv(x, w) ** 2)
    both = jax.jit(jax.grad(loss, (0, 1)))
    return both.lower(x, w).compile().cost_analysis()['flops']

  def made(x, w):
    return of_network(lax.conv_general_dilated)(layers.upsample(x, (32, 32)), w)

  assert 0.2 < flops(of_doubled) / flops(made) < 0.32


@pytest.mark.parametrize('conv', [conv_general_dilated, of_doubled])
def test_the_way_back_needs_what_it_was_made_of(conv):
  """The map and the kernel, none of their combinations."""
  x, w = jnp.ones((2, 32, 32, 128)), jnp.ones((3, 3, 128, 128))
  conv = of_network(conv)
  kept = jax.eval_shape(lambda x, w: jax.vjp(conv, x, w)[1], x, w)
  size = sum(leaf.size for leaf in jax.tree.leaves(kept))
  assert size <= x.size + 2 * w.size


@pytest.mark.parametrize('conv', [conv_general_dilated, of_doubled])
def test_a_batch_is_divided_over_devices(keys, monkeypatch, conv):
  """Each does its part of the work, for the same gradient."""
  monkeypatch.setattr(convolution, 'WIDE', 1)
  x = jax.random.normal(keys[0], (16, 8, 8, 4))
  w = jax.random.normal(keys[1], (3, 3, 4, 4))
  conv = of_network(conv)
  gradient = jax.grad(lambda w, x: jnp.sum(conv(x, w) ** 2))
  alone = jax.jit(gradient).lower(w, x).compile()
  mesh = parallel.make_mesh()
  all_of, part_of = parallel.replicated(mesh), parallel.divided(mesh)
  shared = jax.jit(
    gradient, in_shardings=(all_of, part_of), out_shardings=all_of
  )
  args = jax.device_put(w, all_of), jax.device_put(x, part_of)
  same(shared(*args), alone(w, x))
  flops = lambda compiled: compiled.cost_analysis()['flops']
  assert mesh.size > 1
  assert flops(shared.lower(*args).compile()) < 2 * flops(alone) / mesh.size
