"""The text encoder, and a denoiser trained with it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from nets import (
  forward,
  jit,
  normal,
  random_params,
  relative_error,
  shapes,
  value_and_grads,
  without_gradient,
)

from jaxdiff.networks.dit import DiT
from jaxdiff.networks.text_conditional import TextConditional
from jaxdiff.networks.text_encoder import TextEncoder

TOKENS = jnp.array([[3, 1, 4, 0], [2, 0, 0, 0], [0, 0, 0, 0]])


def small(**settings):
  defaults = dict(vocab_size=6, width=8, depth=1, num_heads=2, max_length=6)
  return TextEncoder(**(defaults | settings))


def conditional():
  return TextConditional(
    encoder=small(),
    denoiser=DiT(1, 2, 8, 1, 2, text_dim=8, pooled_dim=8, num_classes=2),
  )


def inputs():
  return normal(3, 4, 4, 1), jnp.array([0.1, 0.5, 0.9])


def conds():
  return {'tokens': TOKENS, 'label': jnp.array([0, 1, 2])}


@pytest.fixture(scope='module')
def encoder():
  net = small()
  params = random_params(net, TOKENS)
  apply = forward(net)
  return params, lambda tokens: apply(params, tokens)


@pytest.fixture(scope='module')
def network():
  net = conditional()
  params = random_params(net, *inputs(), conds())
  apply = forward(net)
  return params, lambda cond, params=params: apply(params, *inputs(), cond)


def test_shapes(encoder):
  out = encoder[1](TOKENS)
  assert out['text'].shape == (3, 4, 8) and out['pooled'].shape == (3, 8)
  assert out['text'].dtype == out['pooled'].dtype == jnp.float32
  np.testing.assert_array_equal(out['mask'], TOKENS != 0)


def test_padding_changes_no_real_token(encoder):
  _, encode = encoder
  out = encode(TOKENS)
  padded = jnp.pad(TOKENS, ((0, 0), (0, 2)))
  longer = encode(padded)
  np.testing.assert_allclose(longer['text'][:, :4], out['text'], atol=1e-6)
  np.testing.assert_allclose(longer['pooled'], out['pooled'], atol=1e-6)
  alone = encode(TOKENS[1:2, :1])
  np.testing.assert_allclose(alone['text'], out['text'][1:2, :1], atol=1e-6)
  np.testing.assert_array_equal(longer['text'][padded == 0], 0.0)


def test_the_pooled_vector_is_the_mean_of_the_real_ones(encoder):
  out = encoder[1](TOKENS)
  text = out['text']
  expected = [text[0, :3].mean(axis=0), text[1, 0], np.zeros(8)]
  np.testing.assert_allclose(out['pooled'], expected, atol=1e-6)


def test_every_token_sees_every_other_and_their_order(encoder):
  _, encode = encoder
  out = encode(TOKENS)
  for tokens in (TOKENS.at[0, 2].set(5), TOKENS.at[0, 0].set(5)):
    other = encode(tokens)
    difference = jnp.abs(other['text'] - out['text']).max(axis=-1)
    assert (difference[0, :3] > 1e-3).all()
    np.testing.assert_array_equal(other['text'][1], out['text'][1])
  turned = encode(TOKENS[:, jnp.array([2, 1, 0, 3])])
  assert float(jnp.abs(turned['pooled'] - out['pooled'])[0].max()) > 1e-3


def test_a_new_encoder_starts_at_unit_size():
  tokens = jax.random.randint(jax.random.key(1), (4, 6), 1, 6)
  out, _ = jit(small().init_with_output)(jax.random.key(0), tokens)
  np.testing.assert_allclose(jnp.std(out['text'], axis=-1), 1.0, atol=1e-3)


def test_bfloat16_computes_close_to_float32(encoder):
  params, encode = encoder
  low = forward(small(dtype=jnp.bfloat16))(params, TOKENS)
  assert low['text'].dtype == low['pooled'].dtype == jnp.float32
  assert 1e-5 < relative_error(low['text'], encode(TOKENS)['text']) < 0.05


@pytest.mark.parametrize(
  'settings, tokens, message',
  [
    (dict(num_heads=3), TOKENS, 'num_heads must divide the width 8, got 3'),
    (dict(depth=0), TOKENS, 'depth must be at least 1, got 0'),
    (dict(dtype=jnp.float16), TOKENS, 'float32 or bfloat16'),
    (dict(max_length=3), TOKENS, 'at most max_length=3 tokens, got 4'),
    ({}, TOKENS[0], r'integers \[B, L\], got int32 of shape \(4,\)'),
    ({}, TOKENS * 1.0, r'integers \[B, L\], got float32'),
  ],
)
def test_what_makes_no_encoder(settings, tokens, message):
  with pytest.raises(ValueError, match=message):
    shapes(small(**settings), tokens)


def test_tokens_are_encoded_once_or_at_every_call_alike(network):
  params, apply = network
  cond = conds()
  out = apply(cond)
  encoded = forward(conditional(), method='encode')(params, cond.pop('tokens'))
  # The encoder is not even looked at.
  denoiser = {'denoiser': params['denoiser']}
  again = apply(cond | encoded, denoiser)
  np.testing.assert_allclose(again, out, rtol=1e-4, atol=1e-5)


def test_text_and_the_other_conditions_matter(network):
  _, apply = network
  out = apply(conds())
  assert np.isfinite(out).all()
  for cond in (
    conds() | {'tokens': TOKENS.at[0, 2].set(5)},
    conds() | {'label': jnp.array([2, 1, 2])},
  ):
    difference = jnp.abs(apply(cond) - out).max(axis=(1, 2, 3))
    assert difference[0] > 1e-3 and difference[1:].max() < 1e-5


def test_init_makes_the_parameters_of_both():
  params = shapes(conditional(), *inputs(), conds())
  assert set(params) == {'encoder', 'denoiser'}
  assert params['encoder'] == shapes(small(), TOKENS)


@pytest.mark.slow
def test_gradients_reach_every_parameter(network):
  params, _ = network
  _, grads = value_and_grads(conditional(), params, *inputs(), conds())
  # Softmax does not see what is added to every key alike.
  assert without_gradient(grads) == {
    'encoder/block_0/attention/k/bias',
    'denoiser/blocks/attention/k/bias',
    'denoiser/blocks/text_attention/k/bias',
  }
  leaves = jax.tree.leaves(grads)
  assert all(np.isfinite(leaf).all() for leaf in leaves)
  rows = np.abs(grads['encoder']['token']['embedding']).max(axis=1)
  np.testing.assert_array_equal(rows > 0, [0, 1, 1, 1, 1, 0])


def test_a_network_of_the_sequence_alone_ignores_the_pooled_vector():
  net = TextConditional(small(), DiT(1, 2, 8, 1, 2, text_dim=8))
  cond = {'tokens': TOKENS}
  params = random_params(net, *inputs(), cond)
  out = jit(net.apply)({'params': params}, *inputs(), cond)
  assert np.isfinite(out).all()


@pytest.mark.parametrize(
  'cond, message',
  [
    (None, r"must have 'tokens', or .* got \[\]"),
    ({'label': TOKENS[:, 0]}, r"must have 'tokens', or .* got \['label'\]"),
    (
      conds() | {'mask': TOKENS != 0},
      r"got both: \['mask'\] beside tokens",
    ),
    ({'tokens': TOKENS}, "'label' is missing"),
  ],
)
def test_refused_conditions(cond, message):
  with pytest.raises(ValueError, match=message):
    shapes(conditional(), *inputs(), cond)
