"""Attention against its definition, and what its mask hides."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from nets import jit, normal, random_params

from jaxdiff.networks import attention
from jaxdiff.networks.attention import Attention, SpatialTransformer


@pytest.mark.parametrize('bias', [True, False])
@pytest.mark.parametrize('other', [True, False])
def test_attention_is_softmax_attention(other, bias):
  x, context = normal(2, 5, 12), normal(2, 4, 7, seed=2)
  args = (x, context) if other else (x,)
  module = Attention(num_heads=3, qkv_bias=bias)
  params = random_params(module, *args)
  out = module.apply({'params': params}, *args)
  p = jax.tree.map(lambda a: np.asarray(a, np.float64), params)
  assert all(('bias' in p[name]) == bias for name in 'qkv')
  project = lambda y, name: (
    np.asarray(y, np.float64) @ p[name]['kernel'] + p[name].get('bias', 0)
  )
  expected = np.zeros((2, 5, 12))
  for head in range(3):
    part = slice(4 * head, 4 * head + 4)
    q = project(x, 'q')[..., part]
    k, v = (project(args[-1], name)[..., part] for name in 'kv')
    weights = np.exp(q @ k.transpose(0, 2, 1) / 2)
    expected[..., part] = weights / weights.sum(-1, keepdims=True) @ v
  expected = expected @ p['out']['kernel'] + p['out']['bias']
  np.testing.assert_allclose(out, expected, atol=1e-5)


def test_a_mask_is_the_absence_of_what_it_hides():
  x, context = normal(3, 5, 4), normal(3, 4, 6, seed=2)
  mask = jnp.array([[1, 1, 1, 1], [1, 0, 1, 0], [0, 0, 0, 0]], bool)
  module = Attention(num_heads=2)
  params = random_params(module, x, context)
  apply = lambda *args: module.apply({'params': params}, *args)
  out = apply(x, context, mask)
  np.testing.assert_allclose(out[0], apply(x, context)[0], rtol=1e-6)
  np.testing.assert_allclose(
    out[1], apply(x, context[:, ::2])[1], rtol=1e-5, atol=1e-6
  )
  # Nothing to attend to: the projection of zero.
  nothing = np.broadcast_to(params['out']['bias'], (5, 4))
  np.testing.assert_array_equal(out[2], nothing)

  grad = jax.grad(lambda context: apply(x, context, mask).sum())(context)
  hidden = ~np.asarray(mask)
  np.testing.assert_array_equal(grad[hidden], 0.0)
  assert float(jnp.abs(grad[~hidden]).min(axis=-1).max()) > 1e-3


def test_a_new_spatial_transformer_is_the_identity():
  x, text = normal(2, 2, 3, 8), normal(2, 4, 5)
  module = SpatialTransformer(num_heads=2, depth=1, dtype=jnp.float32)
  init = jit(module.init_with_output)
  out, _ = init(jax.random.key(0), x, text, None)
  np.testing.assert_array_equal(out, x)


@pytest.mark.parametrize('length', [8, 11])
def test_slices_of_a_long_sequence_are_the_whole(monkeypatch, length):
  q, k, v = (normal(2, length, 2, 4, seed=i) for i in range(3))
  whole = attention.attend(q, k, v)
  monkeypatch.setattr(attention, 'LONG', 64)
  made = jax.make_jaxpr(attention.attend)(q, k, v)
  assert 'scan' in str(made)
  np.testing.assert_allclose(attention.attend(q, k, v), whole, atol=1e-6)
