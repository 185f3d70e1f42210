"""The multilayer perceptron for points."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from nets import (
  assert_same_values_and_grads,
  forward,
  jit,
  normal,
  random_params,
  relative_error,
  shapes,
  value_and_grads,
  without_gradient,
)

from jaxdiff.networks.mlp import MLP


def applied(network, xt, cond=None):
  args = xt, jnp.linspace(0.1, 0.9, len(xt)), cond
  return forward(network)(random_params(network, *args), *args)


@pytest.mark.parametrize('shape', [(2,), (3,), (5, 2)])
@pytest.mark.parametrize('factor', [1, 2])
def test_shapes(shape, factor):
  xt = jnp.ones((4, *shape))
  out = applied(MLP(factor * shape[-1], width=8, depth=2), xt)
  assert out.shape == (4, *shape[:-1], factor * shape[-1])
  assert out.dtype == jnp.float32 and np.isfinite(out).all()


def test_a_new_network_predicts_zero():
  network, xt = MLP(2, width=8, depth=1), jnp.ones((3, 2))
  init = jit(network.init_with_output)
  out, _ = init(jax.random.key(0), xt, jnp.ones(3))
  np.testing.assert_array_equal(out, 0)


def test_time_and_label_change_the_output():
  xt = jnp.ones((4, 2))
  out = applied(MLP(2, width=8, depth=1), xt)
  assert len(np.unique(np.asarray(out)[:, 0])) == 4
  labels = lambda *x: {'label': jnp.array(x, jnp.int32)}
  network = MLP(2, width=8, depth=1, num_classes=3)
  one, other = applied(network, xt, labels(0, 1, 2, 3)), applied(network, xt)
  np.testing.assert_allclose(one[3], other[3], rtol=1e-6)  # 3 is the null label
  assert np.abs(one[:3] - other[:3]).max() > 1e-3
  with pytest.raises(ValueError, match='label'):
    applied(MLP(2, width=8, depth=1), xt, labels(0, 1, 2, 3))


def test_gradients_reach_every_parameter_and_are_those_of_remat():
  args = normal(4, 2), jnp.linspace(0.1, 0.9, 4), {'label': jnp.arange(4)}
  make = lambda **settings: MLP(2, width=8, depth=2, num_classes=3, **settings)
  params = random_params(make(), *args)
  plain, remat = (
    value_and_grads(make(remat=remat), params, *args) for remat in (False, True)
  )
  assert without_gradient(plain[1]) == set()
  assert_same_values_and_grads(plain, remat)


def test_bfloat16_computes_close_to_float32():
  args = normal(4, 2), jnp.linspace(0.1, 0.9, 4)
  params = random_params(MLP(2, width=8, depth=2), *args)
  full, half = (
    forward(MLP(2, width=8, depth=2, dtype=dtype))(params, *args)
    for dtype in (jnp.float32, jnp.bfloat16)
  )
  assert half.dtype == jnp.float32
  assert 1e-5 < relative_error(half, full) < 0.05


@pytest.mark.parametrize(
  'settings, xt, message',
  [
    (dict(depth=0), jnp.ones((3, 2)), 'depth must be at least 1'),
    (dict(width=0), jnp.ones((3, 2)), 'width must be at least 1'),
    (dict(dtype=jnp.float16), jnp.ones((3, 2)), 'float32 or bfloat16'),
    (dict(), jnp.ones(3), 'xt must be'),
    (dict(), jnp.ones((4, 2)), 'xt must be'),
  ],
)
def test_what_makes_no_network(settings, xt, message):
  with pytest.raises(ValueError, match=message):
    shapes(MLP(2, **settings), xt, jnp.ones(3))
