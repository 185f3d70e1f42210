"""The U-Net with text, a smaller image and labels; which conditions it takes.

The DiT takes the same, and what is checked and embedded is the same code.
"""

import jax.numpy as jnp
import numpy as np
import pytest
from nets import (
  assert_same_values_and_grads,
  count,
  forward,
  inputs,
  normal,
  random_params,
  relative_error,
  shapes,
  value_and_grads,
  without_gradient,
)

from jaxdiff.networks import embedding
from jaxdiff.networks.unet import UNet

ALL = dict(num_classes=3, text_dim=6, pooled_dim=5, low_res=True)


def tiny(**settings):
  defaults = dict(
    out_channels=1,
    channels=8,
    channel_mults=(1,),
    num_res_blocks=1,
    attention_resolutions=(),
  )
  return UNet(**(defaults | ALL | settings))


def conds(**changes):
  """Every condition; in `changes`, those of the first example are replaced."""
  cond = {
    'label': jnp.array([0, 1]),
    'text': normal(2, 3, 6),
    'mask': jnp.array([[1, 1, 0], [1, 1, 1]], bool),
    'pooled': normal(2, 5),
    'low_res': normal(2, 2, 3, 2),
    'augment': jnp.array([0.2, 0.4]),
  }
  return cond | {k: cond[k].at[0].set(v) for k, v in changes.items()}


@pytest.fixture(scope='module')
def network():
  """xt, t, parameters, and (cond) -> output."""
  net = tiny()
  xt, t = inputs(size=4)
  params = random_params(net, xt, t, conds())
  apply = forward(net)
  return xt, t, params, lambda cond: apply(params, xt, t, cond)


@pytest.mark.slow
def test_stable_diffusion_has_the_published_parameter_count():
  net = UNet(
    4,
    channels=320,
    channel_mults=(1, 2, 4, 4),
    attention_resolutions=(64, 32, 16),
    num_heads=8,
    norm_eps=1e-5,
    text_dim=768,
  )
  cond = {'text': jnp.zeros((1, 77, 768))}
  # Rombach et al. 2022, table 15: 860M.
  assert count(shapes(net, *inputs(1, 64, 4), cond)) == 859_520_964


@pytest.mark.parametrize(
  'change',
  [
    {'label': 2},
    {'text': normal(3, 6, seed=4)},
    {'mask': jnp.array([1, 0, 0], bool)},
    {'pooled': normal(5, seed=4)},
    {'low_res': normal(2, 3, 2, seed=4)},
    {'augment': 0.21},
  ],
  ids=lambda change: next(iter(change)),
)
def test_every_condition_matters_to_its_own_example(network, change):
  *_, apply = network
  difference = jnp.abs(apply(conds(**change)) - apply(conds()))
  first, second = difference.max(axis=(1, 2, 3))
  assert first > 1e-3 and second < 1e-5


def test_the_text_is_a_set_and_padding_is_not_in_it(network):
  *_, apply = network
  out = apply(conds())
  hidden = conds()['text'][0].at[2].set(100.0)
  np.testing.assert_array_equal(apply(conds(text=hidden)), out)
  swapped = conds()['text'][0][jnp.array([1, 0, 2])]
  np.testing.assert_allclose(apply(conds(text=swapped)), out, atol=1e-5)


def test_a_text_of_padding_alone_is_no_text(network):
  *_, apply = network
  none = jnp.zeros(3, bool)
  out = apply(conds(mask=none))
  assert np.isfinite(out).all()
  other = conds(mask=none, text=normal(3, 6, seed=4))
  np.testing.assert_array_equal(apply(other), out)
  assert float(jnp.abs(out - apply(conds())).max()) > 1e-3


def test_a_mask_of_ones_is_no_mask(network):
  *_, apply = network
  cond = conds(mask=jnp.ones(3, bool))
  out = apply(cond)
  del cond['mask']
  np.testing.assert_allclose(apply(cond), out, rtol=1e-4, atol=1e-5)


def test_no_augmentation_is_level_zero(network):
  *_, apply = network
  cond = conds() | {'augment': jnp.zeros(2)}
  out = apply(cond)
  del cond['augment']
  np.testing.assert_array_equal(apply(cond), out)


def test_the_smaller_image_is_resized_bilinearly():
  xt = jnp.zeros((2, 4, 6, 1))
  ramp = jnp.broadcast_to(jnp.arange(3.0)[None, None, :, None], (2, 2, 3, 2))
  out = embedding.beside_low_res(xt, {'low_res': ramp})
  assert out.shape == (2, 4, 6, 3)
  np.testing.assert_array_equal(out[..., :1], xt)
  # Pixel centres, the edges repeated.
  columns = np.array([0, 0.25, 0.75, 1.25, 1.75, 2])[None, None, :, None]
  expected = np.broadcast_to(columns, (2, 4, 6, 2))
  np.testing.assert_allclose(out[..., 1:], expected, atol=1e-6)
  same = normal(2, 4, 6, 2)
  out = embedding.beside_low_res(xt, {'low_res': same})
  np.testing.assert_allclose(out[..., 1:], same, atol=1e-6)


def test_optional_conditions_make_no_parameters():
  args = inputs(size=4)
  needed = {k: v for k, v in conds().items() if k not in ('mask', 'augment')}
  assert shapes(tiny(), *args, needed) == shapes(tiny(), *args, conds())


@pytest.mark.slow
def test_gradients_reach_every_parameter_and_are_those_of_remat(network):
  xt, t, params, _ = network
  plain, remat = (
    value_and_grads(tiny(remat=remat), params, xt, t, conds())
    for remat in (False, True)
  )
  assert without_gradient(plain[1]) == set()
  assert_same_values_and_grads(plain, remat)


def test_bfloat16_computes_close_to_float32(network):
  xt, t, params, apply = network
  out = forward(tiny(dtype=jnp.bfloat16))(params, xt, t, conds())
  assert out.dtype == jnp.float32
  assert 1e-5 < relative_error(out, apply(conds())) < 0.05


def test_transformer_depth():
  args = (*inputs(size=4), conds())
  params = shapes(tiny(transformer_depth=3), *args)['middle_attention']
  blocks = {name for name in params if name.startswith('block')}
  assert blocks == {'block_0', 'block_1', 'block_2'}


def pick(*names, **changes):
  cond = conds()
  return {name: cond[name] for name in names} | changes


@pytest.mark.parametrize(
  'kinds, cond, message',
  [
    ({}, pick('label'), "must be None, .*; 'label' is not taken"),
    ({'num_classes': 3}, {}, r"{'label': integers \[2\]}; 'label' is missing"),
    ({'num_classes': 3}, pick('text'), "missing, 'text' is not taken"),
    ({'num_classes': 3}, {'label': jnp.zeros(2)}, "'label' is float32 of"),
    ({'num_classes': 3}, {'label': jnp.array([1])}, r'int32 of shape \(1,\)'),
    ({'num_classes': 0}, None, 'num_classes must be at least 1, got 0'),
    ({'text_dim': 6}, None, r"floats \[2, L, 6\].*; 'text' is missing"),
    ({'text_dim': 6}, pick('mask'), "'text' is missing"),
    ({'text_dim': 6}, pick('text', 'label'), "'label' is not taken"),
    ({'text_dim': 7}, pick('text'), r"'text' is float32 of shape \(2, 3, 6\)"),
    (
      {'text_dim': 6},
      pick('text', mask=jnp.ones((2, 4), bool)),
      r"'mask': booleans \[2, 3\].*; 'mask' is bool of shape \(2, 4\)",
    ),
    ({'text_dim': 6}, pick('text', mask=jnp.ones((2, 3))), "'mask' is float"),
    ({'pooled_dim': 5}, pick('text'), "'pooled' is missing"),
    ({'pooled_dim': 4}, pick('pooled'), r"'pooled' is .* \(2, 5\)"),
    ({'low_res': True}, None, r"\[2, h, w, C'\].*; 'low_res' is missing"),
    ({'low_res': True}, {'low_res': normal(2, 4, 4)}, r'shape \(2, 4, 4\)'),
    (
      {'low_res': True},
      pick('low_res', augment=jnp.zeros(())),
      r"'augment' is float32 of shape \(\)",
    ),
  ],
)
def test_refused_conditions(kinds, cond, message):
  with pytest.raises(ValueError, match=message):
    embedding.check(embedding.Kinds(**kinds), cond, batch=2)


@pytest.mark.parametrize(
  'kinds, cond',
  [
    ({}, None),
    ({}, {}),
    ({'num_classes': 3}, None),
    ({'text_dim': 6}, pick('text', 'mask', 'pooled')),
    ({'pooled_dim': 5}, pick('text', 'mask', 'pooled')),
    ({'low_res': True}, pick('low_res')),
    (ALL, conds()),
  ],
)
def test_accepted_conditions(kinds, cond):
  embedding.check(embedding.Kinds(**kinds), cond, batch=2)


@pytest.mark.parametrize(
  'settings, message',
  [
    (dict(transformer_depth=0), 'transformer_depth must be at least 1'),
    (dict(num_heads=3), 'num_heads must divide the 8 channels'),
    (dict(text_dim=0), 'text_dim must be at least 1'),
  ],
)
def test_settings_that_make_no_network(settings, message):
  with pytest.raises(ValueError, match=message):
    shapes(tiny(**settings), *inputs(size=4), conds())


def test_the_network_checks_its_conditions():
  with pytest.raises(ValueError, match="'augment': floats .*'pooled' is mis"):
    shapes(tiny(), *inputs(size=4), None)
