"""The DiT: its size, its patches, what it depends on, what it refuses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from nets import (
  assert_same_values_and_grads,
  count,
  forward,
  jit,
  normal,
  random_params,
  relative_error,
  shapes,
  value_and_grads,
  without_gradient,
)

from jaxdiff.networks import dit
from jaxdiff.networks.dit import DiT

ALL = dict(num_classes=3, text_dim=6, pooled_dim=5, low_res=True)


def tiny(**settings):
  return DiT(**(dict(out_channels=2, width=8, depth=2, num_heads=2) | settings))


def inputs(height=4, width=6, channels=1):
  return normal(2, height, width, channels), jnp.array([0.1, 0.9])


def conds():
  return {
    'label': jnp.array([0, 1]),
    'text': normal(2, 3, 6),
    'mask': jnp.array([[1, 1, 0], [1, 1, 1]], bool),
    'pooled': normal(2, 5),
    'low_res': normal(2, 2, 3, 2),
    'augment': jnp.array([0.2, 0.4]),
  }


@pytest.fixture(scope='module')
def network():
  """Arguments, parameters and output, with every condition."""
  net = tiny(**ALL)
  args = (*inputs(), conds())
  params = random_params(net, *args)
  apply = forward(net)
  return args, params, apply, apply(params, *args)


@pytest.mark.parametrize(
  'width, depth, heads, published',
  [
    (384, 12, 6, 33e6),
    (768, 12, 12, 130e6),
    (1024, 24, 16, 458e6),
    (1152, 28, 16, 675e6),
  ],
  ids=['S', 'B', 'L', 'XL'],
)
def test_published_parameter_counts(width, depth, heads, published):
  """Peebles and Xie 2022, table 4, of patches of 2 of latents of 32x32x4."""
  net = DiT(8, 2, width, depth, heads, num_classes=1000)
  xt, t = jnp.zeros((1, 32, 32, 4)), jnp.zeros(1)
  # Theirs counts the fixed positions of 16 x 16 patches.
  number = count(shapes(net, xt, t)) + 16 * 16 * width
  assert abs(number - published) < 0.01 * published
  if depth == 28:
    assert number == 675_129_632  # as the released code prints it


def test_output_shape():
  for settings in (dict(patch_size=1), dict(patch_size=2, out_channels=6)):
    net = tiny(**settings)
    out, _ = jax.eval_shape(
      net.init_with_output, jax.random.key(0), *inputs(channels=3)
    )
    assert out.shape == (2, 4, 6, net.out_channels)
    assert out.dtype == jnp.float32


def test_a_new_network_outputs_zero_and_its_blocks_are_the_identity():
  net = tiny(**ALL)
  args = (*inputs(), conds())
  params = jit(net.init)(jax.random.key(3), *args)['params']
  apply = forward(net)
  np.testing.assert_array_equal(apply(params, *args), 0.0)
  params['patch_out'] = jax.tree.map(
    lambda p: normal(*p.shape), params['patch_out']
  )
  out = apply(params, *args)
  xt, t, cond = args
  unread = apply(params, xt, t, cond | {'text': normal(2, 3, 6, seed=4)})
  np.testing.assert_array_equal(unread, out)
  # A pixel is seen where its patch is, for nothing else has mixed them yet.
  moved = apply(params, xt.at[0, 2, 5].add(1.0), t, cond) != out
  np.testing.assert_array_equal(
    moved.any(axis=-1), np.zeros((2, 4, 6), bool) | _patch(0, 2, 4)
  )


def _patch(example, row, column):
  """True on the 2x2 patch of a 4x6 image that begins there."""
  mask = np.zeros((2, 4, 6), bool)
  mask[example, row : row + 2, column : column + 2] = True
  return mask


def test_positions_differ_and_only_their_distance_counts():
  p = dit.positions(3, 5, 12)
  assert p.shape == (15, 12) and p.dtype == np.float32
  inner = (p @ p.T).reshape(3, 5, 3, 5)
  for row, column in [(0, 0), (1, 0), (0, 2), (2, 1)]:
    there = inner[row:, column:, : 3 - row, : 5 - column]
    same = np.einsum('ijij->ij', there)
    np.testing.assert_allclose(same, same[0, 0], atol=1e-5)
    assert (same[0, 0] < 5.999) == (row + column > 0)
  assert abs(inner[0, 0, 1, 0] - inner[0, 0, 0, 1]) < 1e-5
  # Rows and columns are told apart.
  assert np.abs(p[1] - p[5]).max() > 0.1


@pytest.mark.parametrize(
  'name, value',
  [
    ('label', 2),
    ('text', normal(3, 6, seed=4)),
    ('mask', jnp.array([1, 0, 0], bool)),
    ('pooled', normal(5, seed=4)),
    ('low_res', normal(2, 3, 2, seed=4)),
    ('augment', 0.21),
    ('xt', normal(4, 6, 1, seed=4)),
    ('t', 0.101),
  ],
)
def test_every_input_matters_to_its_own_example(network, name, value):
  (xt, t, cond), params, apply, out = network
  given = cond | {'xt': xt, 't': t}
  given[name] = given[name].at[0].set(value)
  xt, t = given.pop('xt'), given.pop('t')
  difference = jnp.abs(apply(params, xt, t, given) - out)
  first, second = difference.max(axis=(1, 2, 3))
  assert first > 1e-3 and second < 1e-5


def test_a_text_of_padding_alone_is_no_text(network):
  (xt, t, cond), params, apply, _ = network
  none = cond | {'mask': jnp.zeros((2, 3), bool)}
  out = apply(params, xt, t, none)
  assert np.isfinite(out).all()
  other = none | {'text': normal(2, 3, 6, seed=4)}
  np.testing.assert_array_equal(apply(params, xt, t, other), out)


def test_no_condition_is_the_null_label():
  net = tiny(num_classes=3)
  args = inputs()
  params = random_params(net, *args)
  apply = forward(net)
  null = apply(params, *args, {'label': jnp.full(2, 3)})
  np.testing.assert_array_equal(apply(params, *args), null)
  assert np.isnan(apply(params, *args, {'label': jnp.full(2, 4)})).all()
  one = apply(params, *args, {'label': jnp.array([0, 0])})
  assert float(jnp.abs(one - null).max()) > 1e-3


@pytest.mark.slow
def test_gradients_reach_every_parameter_and_are_those_of_remat(network):
  args, params, *_ = network
  policies = False, True, 'dots_with_no_batch_dims_saveable'
  plain, *others = (
    value_and_grads(tiny(remat=remat, **ALL), params, *args)
    for remat in policies
  )
  # Softmax does not see what is added to every key alike.
  assert without_gradient(plain[1]) == {
    f'blocks/{name}/k/bias' for name in ('attention', 'text_attention')
  }
  for remat in others:
    assert_same_values_and_grads(plain, remat)


def test_bfloat16_computes_close_to_float32(network):
  args, params, _, out = network
  low = forward(tiny(dtype=jnp.bfloat16, **ALL))(params, *args)
  assert low.dtype == jnp.float32
  assert 1e-5 < relative_error(low, out) < 0.05


@pytest.mark.parametrize(
  'settings, message',
  [
    (dict(patch_size=4), 'patch_size must divide .* 4x6 image, got 4'),
    (dict(patch_size=0), 'patch_size must be at least 1, got 0'),
    (dict(width=10), 'multiple of 4 and of num_heads=2, got 10'),
    (dict(num_heads=3), 'multiple of 4 and of num_heads=3, got 8'),
    (dict(depth=0), 'depth must be at least 1'),
    (dict(out_channels=0), 'out_channels must be at least 1'),
    (dict(dtype=jnp.float16), 'float32 or bfloat16'),
    (dict(num_classes=0), 'num_classes must be at least 1'),
    (dict(text_dim=6), "'text' is missing"),
  ],
)
def test_settings_that_make_no_network(settings, message):
  with pytest.raises(ValueError, match=message):
    shapes(tiny(**settings), *inputs())


def test_inputs_that_fit_no_network():
  xt, t = inputs()
  for args in ((xt[0], t), (xt, t[:1])):
    with pytest.raises(ValueError, match=r'xt must be \[B, H, W, C\]'):
      shapes(tiny(), *args)
  with pytest.raises(ValueError, match="'label' is not taken"):
    shapes(tiny(), xt, t, {'label': jnp.array([0, 1])})
