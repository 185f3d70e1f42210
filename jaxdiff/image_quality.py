"""Image quality: PSNR and SSIM of images beside those they reconstruct."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

RANGE = 2.0  # of pixels in [-1, 1]
WINDOW, STD = 11, 1.5  # of the Gaussian window of SSIM, in pixels


def psnr(x: Array, y: Array) -> Array:
  """Computes the peak signal-to-noise ratio, 10 log10(4 / mean (x - y)^2).

  Args:
    x: images [B, H, W, C] in [-1, 1].
    y: images of the same shape.

  Returns:
    [B] dB; inf for equal images.
  """
  return 10 * jnp.log10(RANGE**2 / jnp.mean(jnp.square(x - y), axis=(1, 2, 3)))


def ssim(x: Array, y: Array) -> Array:
  """Computes the mean structural similarity over windows and channels.

  Windows are Gaussian, 11 pixels wide, and lie wholly in the image; for images
  with a side below 11 they are as wide as the largest odd number in it.

  Args:
    x: images [B, H, W, C] in [-1, 1].
    y: images of the same shape.

  Returns:
    [B], at most 1, which equal images have.

  Source: Wang et al. 2004, equation 13, with K1 = 0.01 and K2 = 0.03.
  """
  size = min(WINDOW, *((n - 1) // 2 * 2 + 1 for n in x.shape[1:3]))
  window = np.exp(-0.5 * ((np.arange(size) - size // 2) / STD) ** 2)
  window = np.outer(window, window) / window.sum() ** 2
  kernel = jnp.asarray(window[:, :, None, None], jnp.float32)

  def mean(x: Array) -> Array:
    b, h, w, c = x.shape
    flat = jnp.moveaxis(x, -1, 1).reshape(b * c, h, w, 1)
    means = jax.lax.conv_general_dilated(
      flat,
      kernel,
      (1, 1),
      'VALID',
      dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
      precision='highest',
    )
    return means.reshape(b, -1)

  c1, c2 = (0.01 * RANGE) ** 2, (0.03 * RANGE) ** 2
  mean_x, mean_y = mean(x), mean(y)
  var_x = mean(x * x) - mean_x**2
  var_y = mean(y * y) - mean_y**2
  cov = mean(x * y) - mean_x * mean_y
  top = (2 * mean_x * mean_y + c1) * (2 * cov + c2)
  bottom = (mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2)
  return jnp.mean(top / bottom, axis=1)
