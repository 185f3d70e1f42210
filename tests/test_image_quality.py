"""PSNR and SSIM against what they are of known noise."""

import jax
import jax.numpy as jnp
import numpy as np
import scipy.ndimage

from jaxdiff import image_quality


def test_psnr_of_a_known_error():
  x = jnp.zeros((2, 4, 4, 1))
  y = x.at[1].add(0.2)
  found = image_quality.psnr(x, y)
  assert np.isinf(found[0])
  np.testing.assert_allclose(found[1], 10 * np.log10(4 / 0.04), rtol=1e-5)


def plain(x, y):
  """Equation 13 of Wang et al. for one channel, by scipy."""
  offsets = np.arange(11) - 5
  window = np.exp(-(offsets**2) / 4.5)
  window = np.outer(window, window) / window.sum() ** 2
  mean = lambda a: scipy.ndimage.correlate(a, window)[5:-5, 5:-5]
  mx, my = mean(x), mean(y)
  vx, vy, cov = mean(x * x) - mx**2, mean(y * y) - my**2, mean(x * y) - mx * my
  c1, c2 = 0.02**2, 0.06**2
  top = (2 * mx * my + c1) * (2 * cov + c2)
  return (top / ((mx**2 + my**2 + c1) * (vx + vy + c2))).mean()


def test_ssim_is_its_equation():
  x, y = jax.random.uniform(jax.random.key(0), (2, 2, 16, 20, 2), minval=-1)
  y = 0.7 * x + 0.3 * y
  found = jax.jit(image_quality.ssim)(x, y)
  x, y = np.float64(x), np.float64(y)
  exact = [
    np.mean([plain(x[i, ..., k], y[i, ..., k]) for k in range(2)])
    for i in range(2)
  ]
  np.testing.assert_allclose(found, exact, rtol=1e-4)


def test_ssim_of_equal_and_of_small_images():
  x = jax.random.uniform(jax.random.key(0), (3, 8, 9, 1), minval=-1)
  np.testing.assert_allclose(image_quality.ssim(x, x), 1, atol=1e-5)
  assert np.all(image_quality.ssim(x, jnp.flip(x, 1)) < 0.5)
