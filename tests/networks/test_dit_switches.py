"""JiT's switches of the DiT: sizes, rotations on a grid, what each changes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from nets import (
  count,
  forward,
  normal,
  random_params,
  shapes,
  value_and_grads,
  without_gradient,
)

from jaxdiff.networks.attention import rotated
from jaxdiff.networks.dit import DiT

SWITCHES = {
  'patch_channels': 3,
  'qk_norm': True,
  'rms_norm': True,
  'swiglu': True,
  'rotary': True,
  'class_tokens': 2,
}


def tiny(**settings):
  return DiT(2, 2, 8, 2, 2, **{'num_classes': 3} | settings)


def inputs():
  cond = {'label': jnp.array([0, 2])}
  return normal(2, 4, 6, 1), jnp.array([0.1, 0.9]), cond


@pytest.mark.parametrize(
  ('width', 'depth', 'heads', 'bottleneck', 'start', 'published'),
  [
    (768, 12, 12, 128, 4, 131e6),
    (1024, 24, 16, 128, 8, 459e6),
    (1280, 32, 16, 256, 10, 953e6),
  ],
  ids=['B', 'L', 'H'],
)
def test_parameter_counts_of_jit(
  width, depth, heads, bottleneck, start, published
):
  """Li and He 2025, table 6: patches of 16 of images of 256x256x3."""
  settings = SWITCHES | {
    'patch_channels': bottleneck,
    'class_tokens': 32,
    'class_tokens_from': start,
  }
  net = DiT(3, 16, width, depth, heads, num_classes=1000, **settings)
  number = count(shapes(net, jnp.zeros((1, 256, 256, 3)), jnp.zeros(1)))
  assert abs(number - published) < 0.005 * published


@pytest.fixture(scope='module')
def everything():
  """Value and gradients with all switches on."""
  net = tiny(**SWITCHES, class_tokens_from=1)
  params = random_params(net, *inputs())
  return net, params, value_and_grads(net, params, *inputs())


def test_gradients_reach_every_parameter(everything):
  _, params, (value, grads) = everything
  assert np.isfinite(value)
  assert {'blocks_before', 'blocks', 'class_positions', 'patch_down'} <= set(
    params
  )
  # Softmax does not see what is added to every key alike; here their norm does.
  assert without_gradient(grads) == set()


def test_a_new_network_outputs_zero():
  net = tiny(**SWITCHES)
  params = jax.jit(net.init)(jax.random.key(0), *inputs())['params']
  np.testing.assert_array_equal(forward(net)(params, *inputs()), 0.0)


@pytest.mark.parametrize('name', ['qk_norm', 'rotary', 'rms_norm'])
def test_a_switch_changes_the_output(everything, name):
  net, params, _ = everything
  out = forward(net)(params, *inputs())
  other = forward(net.clone(**{name: False}))(params, *inputs())
  assert float(jnp.abs(out - other).max()) > 2e-5


def test_skips_are_a_matrix_between_the_halves(everything):
  inner = {'rotary': True, 'class_tokens': 2, 'depth': 4}
  net = tiny().clone(**inner)
  skipping = net.clone(skips=True)
  params = random_params(skipping, *inputs())
  sides = [params.pop(f'blocks_{side}') for side in ('in', 'out')]
  shape = jax.tree.map(jnp.shape, params['blocks'])
  assert shape['mlp_1']['bias'] == (2, 8)
  assert sides[1]['skip']['kernel'].shape == (1, 16, 8)
  # A matrix that takes x alone, or its skip alone.
  place = jnp.eye(16, 8)[None]
  out, skip = sides[1], sides[1].pop('skip')
  zero = jnp.zeros_like(skip['bias'])
  sides_of = lambda kernel: {
    'blocks_in': sides[0],
    'blocks_out': {**out, 'skip': {'kernel': kernel, 'bias': zero}},
  }
  run = forward(skipping)
  found = [
    run({**params, **sides_of(kernel)}, *inputs())
    for kernel in (place, jnp.roll(place, 8, 1))
  ]
  join = lambda *parts: jax.tree.map(lambda *x: jnp.concatenate(x), *parts)
  plain = {**params, 'blocks': join(sides[0], params['blocks'], out)}
  np.testing.assert_allclose(
    found[0], forward(net)(plain, *inputs()), rtol=1e-4, atol=1e-5
  )
  # The skip alone leaves out the two blocks in the middle.
  short = {**params, 'blocks': join(sides[0], out)}
  two = forward(net.clone(depth=2))(short, *inputs())
  np.testing.assert_allclose(found[1], two, rtol=1e-4, atol=1e-5)


def test_inner_products_on_a_grid_depend_on_the_offset_alone():
  q, k = normal(8), normal(8, seed=2)
  grid, prefix = (3, 4), 2
  turned = [
    rotated(jnp.broadcast_to(x, (1, prefix + 12, 1, 8)), grid)[0, :, 0]
    for x in (q, k)
  ]
  # Positions before the grid are as they were.
  np.testing.assert_array_equal(turned[0][:prefix], jnp.stack([q] * prefix))
  places = [x[prefix:].reshape(*grid, 8) for x in turned]
  inner = jnp.einsum('abc,ijc->abij', *places)
  for row, column in [(0, 0), (1, 0), (0, 2), (2, 3)]:
    there = inner[: 3 - row, : 4 - column, row:, column:]
    same = jnp.einsum('ijij->ij', there)
    np.testing.assert_allclose(same, same[0, 0], rtol=1e-4, atol=1e-5)
  # Rows and columns are told apart.
  assert abs(inner[0, 0, 1, 0] - inner[0, 0, 0, 1]) > 1e-2


@pytest.mark.parametrize(
  ('settings', 'message'),
  [
    ({'rotary': True, 'num_heads': 4}, 'multiple of 4 channels'),
    ({'class_tokens': 1, 'num_classes': None}, 'class_tokens must be 0'),
    ({'class_tokens': -1}, 'class_tokens must be 0'),
    ({'class_tokens_from': 2}, 'class_tokens_from must be a block below'),
    ({'skips': True}, 'skips needs depth 3'),
    ({'patch_channels': 0}, 'patch_channels must be at least 1'),
  ],
)
def test_settings_that_make_no_network(settings, message):
  net = tiny().clone(**settings)
  xt, t, cond = inputs()
  with pytest.raises(ValueError, match=message):
    shapes(net, xt, t, cond if net.num_classes else None)
