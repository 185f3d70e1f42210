"""CLIP: its size, what its towers depend on, the layouts of its files."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from nets import jit
from tiny_clip import SMALL, TEXT, VISION, hugging_face

from jaxdiff.networks.clip import Clip, ClipText, ClipVision
from jaxdiff.networks.clip_layers import ACTIVATIONS
from jaxdiff.pretrained.clip_layouts import (
  clip_params,
)


def inputs(length=7):
  rng = np.random.default_rng(1)
  images = jnp.asarray(rng.normal(size=(2, 12, 12, 3)), jnp.float32)
  return images, jnp.asarray(rng.integers(0, 49, (3, length)))


@pytest.fixture(scope='module')
def params():
  return clip_params(hugging_face(), SMALL)


compiled = functools.cache(lambda net: jit(net.apply))


def apply(net, params, *args):
  return compiled(net)({'params': params}, *args)


def text(params, tokens):
  return apply(TEXT, params['text'], tokens)


def test_size_of_the_published_network():
  net = Clip(ClipText(), ClipVision())
  images = jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32)
  tokens = jax.ShapeDtypeStruct((2, 77), jnp.int32)
  (logits, seen, read), variables = jax.eval_shape(
    net.init_with_output, jax.random.key(0), images, tokens
  )
  leaves = jax.tree.leaves(variables)
  assert sum(leaf.size for leaf in leaves) == 151_277_313
  assert logits.shape == (1, 2)
  assert seen.pooled.shape == (1, 768) and seen.embedding.shape == (1, 512)
  assert read.sequence.shape == (2, 77, 512)
  assert read.pooled.shape == read.embedding.shape == (2, 512)


def test_text_does_not_look_ahead(params):
  tokens = inputs()[1]
  sequence = text(params, tokens).sequence
  for at in (1, 4, 6):
    changed = tokens.at[:, at].set((tokens[:, at] + 1) % 49)
    out = text(params, changed).sequence
    np.testing.assert_array_equal(out[:, :at], sequence[:, :at])
    assert (jnp.abs(out - sequence)[:, at:].max((0, 2)) > 1e-5).all()
  shorter = text(params, tokens[:, :4]).sequence
  np.testing.assert_allclose(shorter, sequence[:, :4], atol=1e-5)


def test_text_is_read_off_at_its_end(params):
  """At the largest id, or the first `eos_id`; never behind it."""
  tokens = jnp.asarray(
    [[1, 2, 49, 0, 0, 0, 0], [1, 2, 49, 49, 49, 3, 4], [49, 30, 2, 8, 8, 8, 1]]
  )
  out = text(params, tokens)
  ends = [2, 2, 0]
  np.testing.assert_array_equal(
    out.pooled, out.sequence[jnp.arange(3), jnp.asarray(ends)]
  )
  np.testing.assert_array_equal(out.pooled[0], out.pooled[1])
  np.testing.assert_allclose(
    out.embedding,
    out.pooled @ params['text']['projection']['kernel'],
    rtol=1e-4,
    atol=1e-5,
  )
  ruled = apply(TEXT.clone(eos_id=8), params['text'], tokens)
  np.testing.assert_allclose(ruled.pooled[2], out.sequence[2, 3], atol=1e-5)


def test_an_image_is_a_set_of_patches(params):
  """Patches and their positions moved together change nothing."""
  images = inputs()[0]
  params = params['vision']
  see = lambda params, x: apply(VISION, params, x).embedding
  order = np.array([3, 1, 8, 0, 2, 7, 6, 5, 4])
  patches = images.reshape(2, 3, 4, 3, 4, 3).swapaxes(2, 3)
  moved = patches.reshape(2, 9, 4, 4, 3)[:, order]
  moved = moved.reshape(2, 3, 3, 4, 4, 3).swapaxes(2, 3).reshape(2, 12, 12, 3)
  positions = params['position_embedding']
  positions = jnp.concatenate([positions[:1], positions[1:][order]])
  along = see(params | {'position_embedding': positions}, moved)
  np.testing.assert_allclose(along, see(params, images), rtol=1e-4, atol=1e-4)
  assert np.abs(see(params, moved) - see(params, images)).max() > 1e-3


def test_logits_are_scaled_cosines(params):
  images, tokens = inputs()
  logits, seen, read = apply(SMALL, params, images, tokens)
  i, t = np.asarray(seen.embedding), np.asarray(read.embedding)
  cosines = (i / np.linalg.norm(i, axis=1)[:, None]) @ (
    t / np.linalg.norm(t, axis=1)[:, None]
  ).T
  scale = np.exp(params['logit_scale'])
  np.testing.assert_allclose(logits, scale * cosines, rtol=1e-4, atol=1e-5)


def test_activations():
  x = jnp.asarray([-2.0, 0.0, 1.0])
  # x Phi(x), from tables of the normal distribution; the tanh approximation
  # is off by 1.5e-4 at 1.
  np.testing.assert_allclose(
    ACTIVATIONS['gelu'](x), [-0.0455003, 0, 0.8413447], atol=1e-6
  )
  np.testing.assert_allclose(
    ACTIVATIONS['quick_gelu'](x), x / (1 + np.exp(-1.702 * x)), atol=1e-6
  )


def test_bfloat16_computes_about_the_same(params):
  images, tokens = inputs()
  net = Clip(TEXT.clone(dtype=jnp.bfloat16), VISION.clone(dtype=jnp.bfloat16))
  half = apply(net, params, images, tokens)
  full = apply(SMALL, params, images, tokens)
  for a, b in zip(jax.tree.leaves(half), jax.tree.leaves(full), strict=True):
    assert a.dtype == jnp.float32
    assert 0 < jnp.linalg.norm(a - b) < 0.05 * jnp.linalg.norm(b)


def test_refusals():
  images, tokens = inputs()

  def init(net, *args):
    jax.eval_shape(net.init, jax.random.key(0), *args)

  for net, args, message in [
    (TEXT, (jnp.zeros((1, 8), int),), r'L in 1..7.*\(1, 8\)'),
    (TEXT, (jnp.zeros((7,), int),), 'tokens must be'),
    (TEXT, (jnp.zeros((1, 7)),), 'must be integers, got float32'),
    (TEXT.clone(activation='relu'), (tokens,), "'quick_gelu'.*got 'relu'"),
    (TEXT.clone(num_heads=3), (tokens,), 'num_heads must divide width 16'),
    (TEXT.clone(dtype=jnp.float16), (tokens,), 'dtype must be float32 or'),
    (VISION, (images[:, 1:],), r'images must be \[B, 12, 12, 3\]'),
    (VISION.clone(patch_size=5), (images,), 'must divide image_size 12'),
    (
      Clip(TEXT.clone(projection_dim=9), VISION),
      (images, tokens),
      'same projection_dim, got 8 for images and 9 for text',
    ),
  ]:
    with pytest.raises(ValueError, match=message):
      init(net, *args)
