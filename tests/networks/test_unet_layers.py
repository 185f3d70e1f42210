"""The layers of the UNet: resizing, norm, patches, time embedding."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from nets import normal

from jaxdiff.networks import embedding, layers


@pytest.mark.parametrize('size', [6, 7])
def test_resizing(size):
  x = normal(2, size, 6, 3)
  half = layers.downsample(x)
  assert half.shape == (2, (size + 1) // 2, 3, 3)
  np.testing.assert_allclose(
    half[:, -1, 0],
    np.mean(x[:, 2 * half.shape[1] - 2 :, :2], axis=(1, 2)),
    rtol=1e-5,
    atol=1e-6,
  )
  back = layers.upsample(half, (size, 6))
  assert back.shape == x.shape
  np.testing.assert_array_equal(back[:, ::2, 1::2], half)
  np.testing.assert_allclose(layers.downsample(back), half, rtol=1e-6)


def test_norm_is_exact_far_from_zero():
  # E[x^2] - E[x]^2 in float32 has no correct digit here.
  x = 1000 + normal(2, 4, 4, 12)
  norm = layers.group_norm(12, 1e-6, jnp.float32, None)
  out = norm.apply(norm.init(jax.random.key(0), x), x)
  groups = np.asarray(x, np.float64).reshape(2, 16, 3, 4)
  mean = groups.mean((1, 3), keepdims=True)
  std = groups.std((1, 3), keepdims=True)
  expected = ((groups - mean) / std).reshape(x.shape)
  np.testing.assert_allclose(out, expected, atol=2e-4)


def test_a_patch_is_a_square_of_pixels():
  x = np.arange(2 * 4 * 6 * 3, dtype=np.float32).reshape(2, 4, 6, 3)
  patches = np.asarray(layers.space_to_depth(x, 2))
  assert patches.shape == (2, 2, 3, 12)
  np.testing.assert_array_equal(
    patches[1, 1, 2].reshape(2, 2, 3), x[1, 2:4, 4:6]
  )
  np.testing.assert_array_equal(layers.depth_to_space(patches, 2), x)


@pytest.mark.parametrize(
  'channels, groups',
  [(128, 32), (192, 32), (960, 32), (32, 8), (20, 5), (3, 1)],
)
def test_number_of_groups(channels, groups):
  assert layers.num_groups(channels) == groups


def test_time_embedding():
  t = jnp.array([0.0, 0.25, 1.0])
  out = embedding.sinusoidal(t, 6)
  angles = 1000 * np.array([0, 0.25, 1])[:, None] * np.array([1, 0.01, 1e-4])
  expected = np.concatenate([np.sin(angles), np.cos(angles)], axis=-1)
  np.testing.assert_allclose(out, expected, atol=1e-4)
  out = embedding.sinusoidal(t, 6, cosine_first=True, frequency_shift=0)
  angles = 1000 * np.array([0, 0.25, 1])[:, None]
  angles = angles * np.power(10000, -np.arange(3) / 3)
  expected = np.concatenate([np.cos(angles), np.sin(angles)], axis=-1)
  np.testing.assert_allclose(out, expected, atol=1e-4)
