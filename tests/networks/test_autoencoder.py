"""Autoencoders: sizes, settings, the codebook, gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdiff.networks.autoencoder import AutoencoderKL, AutoencoderVQ
from jaxdiff.networks.codebook import Codebook, usage

SMALL = dict(
  channels=4,
  channel_mults=(1, 2),
  num_res_blocks=1,
  num_groups=2,
  latent_channels=2,
)


def random_params(net, seed=0, size=1.0):
  """Draws every parameter, without compiling anything."""
  images = jax.ShapeDtypeStruct((1, 8, 8, net.image_channels), np.float32)
  shapes = jax.eval_shape(net.init, jax.random.key(0), images)['params']
  rng = np.random.default_rng(seed)
  draw = lambda x: (size * rng.standard_normal(x.shape)).astype(np.float32)
  return jax.tree.map(draw, shapes)


def test_the_autoencoder_of_stable_diffusion_has_83_653_863_parameters():
  net = AutoencoderKL()
  images = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)
  shapes = jax.eval_shape(net.init, jax.random.key(0), images)
  leaves = jax.tree.leaves(shapes)
  assert len(leaves) == 248
  assert sum(np.prod(x.shape) for x in leaves) == 83_653_863


@pytest.mark.parametrize('mults, factor', [((1,), 1), ((1, 2, 1, 3), 8)])
def test_latents_are_smaller_by_the_factor(mults, factor):
  net = AutoencoderKL(**SMALL | {'channel_mults': mults})
  images = jnp.zeros((2, 16, 8, 3))
  shape = (2, 16 // factor, 8 // factor, 2)
  key = jax.random.key(0)
  moments, variables = jax.eval_shape(
    lambda: net.init_with_output(key, images, method='moments')
  )
  assert net.factor == factor
  assert moments.mean.shape == moments.log_variance.shape == shape
  whole = jax.eval_shape(lambda: net.init_with_output(key, images)[0])
  assert whole.shape == images.shape
  assert 'decoder' not in variables['params']


@pytest.mark.slow
def test_bfloat16_is_near_float32_and_returns_float32():
  bf16 = AutoencoderKL(**SMALL, dtype=jnp.bfloat16, remat=True)
  images = np.random.default_rng(0).uniform(-1, 1, (1, 4, 4, 3))
  variables = {'params': random_params(bf16, size=0.3)}
  both = lambda *args: (bf16.apply(*args), AutoencoderKL(**SMALL).apply(*args))
  low, high = jax.jit(both)(variables, images.astype(np.float32))
  assert low.dtype == high.dtype == jnp.float32
  assert 0 < np.abs(low - high).max() < 0.05 * np.abs(high).max()


@pytest.mark.parametrize(
  'change, shape, message',
  [
    ({'channel_mults': ()}, (8, 8, 3), 'at least one level'),
    ({'num_groups': 3}, (8, 8, 3), 'num_groups must divide the 4'),
    ({'latent_channels': 0}, (8, 8, 3), 'latent_channels must be at least 1'),
    ({'dtype': jnp.float16}, (8, 8, 3), 'float32 or bfloat16'),
    ({}, (9, 8, 3), 'multiples of 2, got 9x8'),
    ({}, (8, 8, 1), r'\[B, H, W, 3\]'),
  ],
)
def test_settings_and_images_out_of_range(change, shape, message):
  net = AutoencoderKL(**SMALL | change)
  with pytest.raises(ValueError, match=message):
    jax.eval_shape(net.init, jax.random.key(0), jnp.zeros((1, *shape)))


def test_the_codebook_finds_the_nearest_and_passes_gradients_through(key):
  book = Codebook(5, 3)
  latents = jax.random.normal(key, (2, 4, 4, 3))
  codes = jax.random.normal(jax.random.key(1), (5, 3))
  variables = {'params': {'embedding': codes}}
  found = jax.jit(book.apply)(variables, latents)
  far = np.square(latents[..., None, :] - np.asarray(codes)[None, None, None])
  np.testing.assert_array_equal(found.indices, far.sum(-1).argmin(-1))
  nearest = codes[found.indices]
  np.testing.assert_allclose(found.codes, nearest, atol=1e-6)
  errors = np.square(latents - nearest).mean((1, 2, 3))
  np.testing.assert_allclose(found.commitment, errors, rtol=1e-5)
  np.testing.assert_allclose(found.codebook_error, errors, rtol=1e-5)

  def total(codes, latents, part):
    found = book.apply({'params': {'embedding': codes}}, latents)
    return jnp.sum(getattr(found, part))

  grads = {
    part: jax.jit(jax.grad(total, (0, 1)), static_argnums=2)(
      codes, latents, part
    )
    for part in ('codes', 'codebook_error', 'commitment')
  }
  zero, ones = 0 * codes, jnp.ones_like(latents)
  # (of the codes, of the latents)
  np.testing.assert_array_equal(grads['codes'][0], zero)
  np.testing.assert_array_equal(grads['codes'][1], ones)
  assert jnp.any(grads['codebook_error'][0] != 0)
  np.testing.assert_array_equal(grads['codebook_error'][1], 0 * latents)
  np.testing.assert_array_equal(grads['commitment'][0], zero)
  assert jnp.any(grads['commitment'][1] != 0)


def test_usage_of_a_codebook():
  even = usage(jnp.array([[0, 1], [2, 3]]), 8)
  np.testing.assert_allclose(even, (0.5, 4.0), rtol=1e-6)
  np.testing.assert_allclose(
    usage(jnp.zeros((3, 3), int), 8), (1 / 8, 1.0), rtol=1e-6
  )


def test_a_vq_decodes_codes_as_they_are():
  net = AutoencoderVQ(**SMALL, num_codes=6)
  images = np.random.default_rng(0).uniform(-1, 1, (1, 4, 4, 3))
  images, params = images.astype(np.float32), random_params(net)
  run = jax.jit(
    lambda x, method: net.apply({'params': params}, x, method=method),
    static_argnames='method',
  )
  whole, found = run(images, method='reconstruct')
  latents, log_variance = run(images, method='moments')
  assert np.all(np.exp(log_variance) == 0)
  for z in (latents, found.codes):
    np.testing.assert_allclose(
      run(z, method='decode'), whole, rtol=1e-4, atol=1e-4
    )
