"""Decoding in tiles: what sees little around it is exact, and nothing has a
seam."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from networks.test_autoencoder import random_params

from jaxdiff.networks.autoencoder import AutoencoderKL
from jaxdiff.networks.tiles import decode_in_tiles


def local(z):
  """A decoder that sees three positions on either side, with a factor of 2."""
  kernel = jnp.asarray(np.random.default_rng(0).normal(size=(7, 7, 2, 3)) / 9)
  image = jax.lax.conv_general_dilated(
    z, kernel, (1, 1), 'SAME', dimension_numbers=('NHWC', 'HWIO', 'NHWC')
  )
  return jnp.sin(image).repeat(2, axis=1).repeat(2, axis=2)


@pytest.mark.parametrize('size', [(16, 16), (33, 50), (70, 12), (17, 16)])
def test_a_local_decoder_is_exact(size):
  z = jax.random.normal(jax.random.key(0), (2, *size, 2))
  whole = local(z)
  tiles = lambda overlap: jax.jit(
    lambda z: decode_in_tiles(local, z, 2, 32, overlap)
  )(z)
  # A quarter of an overlap of 12 is the three positions that it sees.
  np.testing.assert_allclose(tiles(12), whole, atol=1e-5)
  if max(size) > 32:
    assert np.abs(tiles(2) - whole).max() > 0.05


def test_there_is_no_seam():
  """At the edges of tiles, neighbouring pixels differ as they do elsewhere."""
  net = AutoencoderKL(
    image_channels=1,
    latent_channels=2,
    channels=4,
    channel_mults=(1, 2),
    num_res_blocks=1,
    num_groups=2,
  )
  params = random_params(net, size=0.4)
  decode = lambda z: net.apply({'params': params}, z, method='decode')
  # Smooth latents, so that the image is smooth.
  position = np.arange(40)
  wave = np.sin(position / 7)[:, None] * np.cos(position / 5)[None]
  z = np.stack([wave, wave.T], axis=-1)[None].astype(np.float32)
  whole = jax.jit(decode)(z)
  tiled = jax.jit(lambda z: decode_in_tiles(decode, z, 2, 16, 8))(z)
  assert 0 < np.abs(tiled - whole).max()  # attention and norms see a tile
  for axis in (1, 2):
    step = lambda x, axis=axis: np.abs(np.diff(x, axis=axis)).max()
    assert step(tiled) < 1.5 * step(whole)


def test_overlaps_out_of_range():
  z = jnp.zeros((1, 8, 8, 2))
  for overlap in (0, 5):
    with pytest.raises(ValueError, match=r'overlap must be in \[1, 4\]'):
      decode_in_tiles(local, z, 2, 8, overlap)
