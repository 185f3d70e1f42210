"""lax's convolution, and gradients whose dimensions need no renaming."""

import itertools
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.extend.core import ClosedJaxpr, Jaxpr

from jaxdiff.cpu import convolution
from jaxdiff.cpu.convolution import conv_general_dilated, of_doubled
from jaxdiff.networks import layers, upsampled

NAMES = ('NHWC', 'HWIO', 'NHWC')


def numbers(x, w):
  return lax.conv_dimension_numbers(x.shape, w.shape, NAMES)


def run(function, x, w, strides=(1, 1), padding='SAME', **settings):
  dims = numbers(x, w)
  return function(x, w, strides, padding, dimension_numbers=dims, **settings)


ours = partial(run, conv_general_dilated)
theirs = partial(run, lax.conv_general_dilated)


@pytest.fixture
def arrays(key, request):
  x, w, v, u = jax.random.split(key, 4)
  channels = getattr(request, 'param', (3, 5))
  shape, kernel = (4, 8, 6, channels[0]), (3, 3, *channels)
  draw = jax.random.normal
  return draw(x, shape), draw(w, kernel), draw(v, shape), draw(u, kernel)


@pytest.fixture(params=['as narrow', 'as wide'])
def widths(request, monkeypatch):
  """Whether so few channels are convolved like many; returns what sums of
  about 30 may be off by."""
  if request.param == 'as wide':
    monkeypatch.setattr(convolution, 'WIDE', 1)
    return 1e-3
  return 2e-4


@pytest.mark.parametrize(
  ('arrays', 'strides', 'padding'),
  [
    *itertools.product([(3, 5)], [(1, 1), (2, 2)], ['SAME', [(1, 0), (2, 1)]]),
    pytest.param((3, 5), (1, 1), 'VALID', marks=pytest.mark.slow),
    pytest.param((3, 5), (2, 2), 'VALID', marks=pytest.mark.slow),
    pytest.param((5, 3), (1, 1), 'SAME', marks=pytest.mark.slow),
  ],
  indirect=['arrays'],
)
def test_derivatives_are_those_of_lax(arrays, widths, strides, padding):
  """Of first and second order, backwards, forwards, and of one argument."""
  x, w, v, u = arrays

  derivatives = (
    lambda f, x, w: f(x, w),
    lambda f, x, w: jax.grad(f, (0, 1))(x, w),
    lambda f, x, w: jax.grad(f, 0)(x, w),
    lambda f, x, w: jax.grad(f, 1)(x, w),
    lambda f, x, w: jax.jvp(f, (x, w), (v, u)),
    lambda f, x, w: jax.jvp(jax.grad(f, (0, 1)), (x, w), (v, u)),
    lambda f, x, w: jax.grad(lambda w: (jax.grad(f)(x, w) * v).sum())(w),
  )

  @partial(jax.jit, static_argnums=0)
  def every(conv, x, w):
    loss = lambda x, w: jnp.sin(conv(x, w, strides, padding)).sum()
    return [derivative(loss, x, w) for derivative in derivatives]

  compare = partial(np.testing.assert_allclose, atol=widths)
  jax.tree.map(compare, every(ours, x, w), every(theirs, x, w))


@pytest.mark.usefixtures('widths')
def test_it_maps_over_a_batch_of_kernels(arrays):
  x, w, _, u = arrays
  many = jnp.stack([w, u])
  got = jax.jit(jax.vmap(jax.grad(lambda w: (ours(x, w) ** 2).sum())))(many)
  gradient = jax.jit(jax.grad(lambda w: (theirs(x, w) ** 2).sum()))
  for one, kernel in zip(got, many, strict=True):
    np.testing.assert_allclose(one, gradient(kernel), rtol=1e-4, atol=1e-3)


def test_other_settings_are_heard(arrays):
  x, w, _, _ = arrays
  for settings in ({'rhs_dilation': (2, 2)}, {'precision': 'highest'}):
    got, wanted = ours(x, w, **settings), theirs(x, w, **settings)
    np.testing.assert_array_equal(got, wanted)


def convolutions(jaxpr):
  """Dimension numbers of the convolutions of a CPU, in calls too."""
  for eqn in jaxpr.eqns:
    if eqn.primitive.name == 'conv_general_dilated':
      yield eqn.params['dimension_numbers']
    for value in eqn.params.values():
      if isinstance(value, ClosedJaxpr):
        yield from convolutions(value.jaxpr)
      elif isinstance(value, Jaxpr):
        yield from convolutions(value)
    # Of the branches for each platform the first is that of a CPU.
    for branch in eqn.params.get('branches', ())[:1]:
      yield from convolutions(branch.jaxpr)


@pytest.mark.parametrize('arrays', [(3, 5), (5, 3)], indirect=True)
def test_gradients_have_the_usual_dimensions(arrays):
  """Which XLA on a CPU needs inside loops."""
  x, w, _, _ = arrays

  def found(conv):
    loss = lambda x, w: (conv(x, w) ** 2).sum()
    gradient = jax.jit(jax.grad(loss, (0, 1)))
    return list(convolutions(jax.make_jaxpr(gradient)(x, w).jaxpr))

  usual = numbers(x, w)
  assert found(ours) == [usual] * 3
  assert found(theirs) != [usual] * 3


@pytest.mark.parametrize('convolve', [of_doubled, upsampled.phases])
def test_a_doubled_map_need_not_be_made(arrays, convolve):
  """Its values and all derivatives."""
  x, w, v, u = arrays
  cotangent = jax.random.normal(jax.random.key(1), (4, 16, 12, 5))

  def both(x, w):
    doubled = layers.upsample(x, (16, 12))
    return {'ours': run(convolve, x, w), 'theirs': theirs(doubled, w)}

  got = jax.jit(both)(x, w)
  np.testing.assert_allclose(got['ours'], got['theirs'], atol=1e-5)

  @jax.jit
  def pulled(x, w):
    _, pull = jax.vjp(both, x, w)
    zero = jnp.zeros_like(cotangent)
    ours, theirs = ({**dict.fromkeys(got, zero), n: cotangent} for n in got)
    return pull(ours), pull(theirs)

  compare = partial(np.testing.assert_allclose, atol=1e-4, rtol=1e-5)
  jax.tree.map(compare, *pulled(x, w))
  _, moved = jax.jit(lambda x, w: jax.jvp(both, (x, w), (v, u)))(x, w)
  compare(moved['ours'], moved['theirs'])


def test_a_map_that_is_cropped_is_made(arrays):
  """Beyond the edge of an odd size there is nothing, not half a pixel."""
  x, _, _, _ = arrays

  class Both(nn.Module):
    @nn.compact
    def __call__(self, x):
      size = (15, 11)
      got = upsampled.conv_of_upsampled(x, 5, size, jnp.float32, 'conv')
      kernel = self.variables['params']['conv']['kernel']
      return got, theirs(layers.upsample(x, size), kernel)

  (got, wanted), _ = Both().init_with_output(jax.random.key(0), x)
  np.testing.assert_allclose(got, wanted, atol=1e-6)
