"""The transformer: its size, what it sees, what it depends on and refuses."""

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

from jaxdiff.networks.attention import rotated
from jaxdiff.networks.transformer import Transformer


def tiny(**settings):
  sizes = dict(num_categories=5, width=8, depth=2, num_heads=2, cond_dim=6)
  return Transformer(**(sizes | settings))


def inputs(length=6, seed=0):
  xt = np.random.default_rng(seed).integers(5, size=(2, length))
  return jnp.asarray(xt, jnp.int32), jnp.array([0.1, 0.9])


def conds():
  mask = jnp.array([[1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1]], bool)
  return {'label': jnp.array([0, 1]), 'mask': mask}


@pytest.fixture(scope='module')
def network():
  """Arguments, parameters and output, with every condition."""
  net = tiny(num_classes=3)
  args = (*inputs(), conds())
  params = random_params(net, *args)
  apply = forward(net)
  return args, params, apply, apply(params, *args)


def test_published_sizes():
  """The network of SEDD and MDLM: 92.4 M for text8, 139.3 M for LM1B.

  With K' categories and E = 128 theirs has 92,380,672 + (2 * 768 + 1) K':
  27 characters and MASK make 92,423,708, the 30,522 word pieces of BERT, MASK
  among them, 139,292,986. Theirs has a scale in each norm, which the modulation
  makes redundant, and none of the biases of the attention's projections.
  """
  width, depth = 768, 12
  args = (jnp.zeros((1, 4), int), jnp.zeros(1))
  for categories, published in ((28, 92_423_708), (30_522, 139_292_986)):
    net = Transformer(categories, width, depth, 12, dropout=0.1)
    number = count(shapes(net, *args))
    assert number + (2 * depth + 1) * width - depth * width == published
  # 28 categories, without time: no modulation, no embedding, but norms with
  # scale and bias.
  modulation = 129 * (6 * depth + 2) * width
  embedding = 257 * 128 + 129 * 128
  norms = (2 * depth + 1) * 2 * width
  net = Transformer(28, width, depth, 12, time=False)
  assert count(shapes(net, *args)) == (
    92_413_724 - modulation - embedding + norms
  )


@pytest.mark.parametrize(
  'settings', [dict(num_classes=3), dict(time=False, causal=True)]
)
def test_a_new_network_finds_all_categories_equally_likely(settings):
  net = tiny(**settings)
  init = jit(net.init_with_output)
  logits, variables = init(jax.random.key(3), *inputs())
  assert logits.shape == (2, 6, 5) and logits.dtype == jnp.float32
  np.testing.assert_array_equal(logits, 0.0)
  assert variables['params']['token']['embedding'].std() > 0


def test_turning_keeps_lengths_and_tells_distances_alone():
  q, k = normal(1, 1, 2, 6), normal(1, 1, 2, 6, seed=2)
  length = 300
  places = rotated(jnp.broadcast_to(q, (1, length, 2, 6)))
  others = rotated(jnp.broadcast_to(k, (1, length, 2, 6)))
  norms = jnp.linalg.norm(places, axis=-1)
  np.testing.assert_allclose(
    norms, jnp.broadcast_to(norms[:, :1], norms.shape), rtol=1e-5
  )
  np.testing.assert_array_equal(places[:, 0], q[:, 0])
  inner = np.einsum('lhd,mhd->hlm', places[0], others[0])
  for distance in (0, 1, 7, -20):
    same = np.diagonal(inner, distance, axis1=1, axis2=2)
    first = same[:, :1].repeat(same.shape[1], axis=1)
    np.testing.assert_allclose(same, first, atol=1e-4)
  # Both directions, and near from far, differ.
  assert np.abs(inner[:, 5, 6] - inner[:, 6, 5]).min() > 1e-3
  assert np.abs(inner[:, 5, 6] - inner[:, 5, 7]).min() > 1e-3
  # Turned in float32, whatever comes in.
  low = rotated(jnp.broadcast_to(q, (1, length, 2, 6)).astype(jnp.bfloat16))
  assert low.dtype == jnp.bfloat16
  np.testing.assert_allclose(low, places, atol=0.03)


def test_without_absolute_positions_only_distances_count():
  """Moved as a whole, padding before or behind it, a text is the same text."""
  net = tiny(absolute=False)
  xt, t = inputs()
  mask = conds()['mask']
  params = random_params(net, xt, t, {'mask': mask})
  apply = forward(net)
  outs = []
  for start in (0, 1, 2):
    place = slice(start, start + 4)
    moved = jnp.zeros((2, 6), int).at[:, place].set(xt[:, :4])
    mask = jnp.zeros((2, 6), bool).at[:, place].set(True)
    outs.append(apply(params, moved, t, {'mask': mask})[:, place])
  np.testing.assert_allclose(outs[1], outs[0], atol=2e-5)
  np.testing.assert_allclose(outs[2], outs[0], atol=2e-5)
  # Distances do: other neighbours, another reading.
  swapped = xt.at[:, :3].set(xt[:, jnp.array([0, 2, 1])])
  full = {'mask': jnp.ones((2, 6), bool)}
  difference = apply(params, swapped, t, full) - apply(params, xt, t, full)
  assert float(jnp.abs(difference[:, 5]).max()) > 1e-3


def test_absolute_positions_tell_the_places_of_equal_elements():
  xt, t = jnp.full((2, 6), 4), jnp.array([0.1, 0.9])
  apart = {}
  for absolute in (True, False):
    net = tiny(absolute=absolute)
    out = forward(net)(random_params(net, xt, t), xt, t)
    apart[absolute] = np.abs(np.diff(out, axis=1)).max(axis=-1)
  assert apart[True].min() > 1e-3 and apart[False].max() < 1e-5


def test_padding_is_not_seen(network):
  (xt, t, cond), params, apply, out = network
  other = xt.at[0, 4:].set((xt[0, 4:] + 1) % 5)
  moved = apply(params, other, t, cond)
  np.testing.assert_array_equal(moved[0, :4], out[0, :4])
  np.testing.assert_array_equal(moved[1], out[1])
  # Nor its amount: the text alone gives the same.
  alone = {'label': cond['label']}
  short = apply(params, xt[:, :4], t, alone)
  np.testing.assert_allclose(short[0], out[0, :4], atol=2e-5)
  # And without a mask it is text like any other.
  assert float(jnp.abs(apply(params, xt, t, alone) - out)[0, :4].max()) > 1e-3


def test_a_row_of_padding_alone_is_finite(network):
  (xt, t, cond), params, apply, out = network
  cond = cond | {'mask': cond['mask'].at[0].set(False)}
  alone = apply(params, xt, t, cond)
  assert np.isfinite(alone).all()
  np.testing.assert_array_equal(alone[1], out[1])


@pytest.mark.parametrize('masked', [False, True])
def test_causal_attention_does_not_see_the_future(masked):
  net = tiny(causal=True, time=False)
  xt, t = inputs()
  # Of the first row the first element does not exist: it sees nothing at all.
  mask = jnp.ones((2, 6), bool).at[0, 0].set(False)
  cond = {'mask': mask} if masked else {}
  params = random_params(net, xt, t, cond)
  apply = forward(net)
  out = apply(params, xt, t, cond)
  moved = apply(params, xt.at[:, 3].set((xt[:, 3] + 1) % 5), t, cond)
  np.testing.assert_array_equal(moved[:, :3], out[:, :3])
  assert np.isfinite(out).all()
  changed = jnp.abs(moved - out)[:, 3:].max(axis=-1)
  assert float(changed.min()) > 1e-4


@pytest.mark.parametrize(
  ('name', 'value'),
  [('label', 2), ('mask', [1, 1, 1, 0, 0, 0]), ('xt', 4), ('t', 0.101)],
)
def test_every_input_matters_to_its_own_example(network, name, value):
  (xt, t, cond), params, apply, out = network
  given = cond | {'xt': xt, 't': t}
  where = (0, 1) if name == 'xt' else 0
  value = jnp.asarray(value, given[name].dtype)
  given[name] = given[name].at[where].set(value)
  xt, t = given.pop('xt'), given.pop('t')
  difference = jnp.abs(apply(params, xt, t, given) - out)
  first, second = difference.max(axis=(1, 2))
  assert first > 1e-3 and second < 1e-5


def test_without_time_only_the_label_matters():
  net = tiny(num_classes=3, time=False)
  xt, t = inputs()
  params = random_params(net, xt, t)
  apply = forward(net)
  label = {'label': jnp.array([0, 1])}
  out = apply(params, xt, t, label)
  np.testing.assert_array_equal(apply(params, xt, 1 - t, label), out)
  null = apply(params, xt, t, {'label': jnp.array([3, 3])})
  np.testing.assert_array_equal(apply(params, xt, t), null)
  assert float(jnp.abs(null - out).max(axis=(1, 2)).min()) > 1e-3


def test_what_is_outside_the_categories_is_not_silent(network):
  (xt, t, cond), params, apply, _ = network
  assert np.isnan(apply(params, xt.at[0, 0].set(5), t, cond)[0]).any()
  wrong = cond | {'label': jnp.array([4, 4])}
  assert np.isnan(apply(params, xt, t, wrong)).all()


def test_dropout_is_of_training_alone():
  net = tiny(dropout=0.5)
  args = inputs()
  params = random_params(net, *args)
  plain = forward(net)(params, *args)
  same = forward(tiny())(params, *args)
  np.testing.assert_array_equal(plain, same)
  train = forward(net, train=True)
  keys = lambda seed: {'dropout': jax.random.key(seed)}
  drop = lambda seed: train(params, *args, rngs=keys(seed))
  assert float(jnp.abs(drop(0) - plain).max()) > 1e-3
  assert float(jnp.abs(drop(0) - drop(1)).max()) > 1e-3


@pytest.mark.slow
def test_gradients_reach_every_parameter_and_are_those_of_remat(network):
  (xt, t, cond), params, *_ = network
  # Nor does a row of padding alone make them nan.
  args = (xt, t, cond | {'mask': cond['mask'].at[0].set(False)})
  plain, remat = (
    value_and_grads(tiny(remat=remat, num_classes=3), params, *args)
    for remat in (False, True)
  )
  assert without_gradient(plain[1]) == set()
  assert_same_values_and_grads(plain, remat)


def test_bfloat16_computes_close_to_float32(network):
  args, params, _, out = network
  low = forward(tiny(dtype=jnp.bfloat16, num_classes=3))(params, *args)
  assert low.dtype == jnp.float32
  assert 1e-5 < relative_error(low, out) < 0.05


@pytest.mark.parametrize(
  ('settings', 'message'),
  [
    (dict(num_heads=8), 'even multiple of num_heads.*width 8 and num_heads 8'),
    (dict(num_heads=3), 'even multiple of num_heads'),
    (dict(depth=0), 'depth must be at least 1, got 0'),
    (dict(num_categories=0), 'num_categories must be at least 1'),
    (dict(dropout=1.0), r'dropout must be in \[0, 1\), got 1.0'),
    (dict(dtype=jnp.float16), 'float32 or bfloat16'),
    (dict(num_classes=0), 'num_classes must be at least 1'),
  ],
)
def test_settings_that_make_no_network(settings, message):
  with pytest.raises(ValueError, match=message):
    shapes(tiny(**settings), *inputs())


def test_inputs_that_fit_no_network():
  xt, t = inputs()
  for wrong in (xt[0], xt.astype(jnp.float32)):
    with pytest.raises(ValueError, match=r'xt must be integers \[B, L\]'):
      shapes(tiny(), wrong, t)
  with pytest.raises(ValueError, match=r't must be \[B\]'):
    shapes(tiny(), xt, t[:1])
  for mask in (jnp.ones((2, 5), bool), jnp.ones((2, 6))):
    with pytest.raises(ValueError, match=r"cond\['mask'\] must be booleans"):
      shapes(tiny(), xt, t, {'mask': mask})
  with pytest.raises(ValueError, match="'label' is not taken"):
    shapes(tiny(), xt, t, {'label': jnp.array([0, 1])})
  with pytest.raises(ValueError, match="'label' is missing"):
    shapes(tiny(num_classes=2), xt, t, {'mask': jnp.ones((2, 6), bool)})
