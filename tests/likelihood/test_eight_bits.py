"""Data of 256 values: the decoder, its bound, dequantization."""

import jax
import jax.numpy as jnp
import numpy as np
from exact import keys
from gaussian import log_snr_times, within
from nets import jit

from jaxdiff import (
  likelihood,
  processes,
  schedules,
)
from jaxdiff.likelihood import variational_bound


def test_decoder_is_a_distribution_over_256_values():
  schedule = schedules.cosine(-8, 8)
  centres = jnp.linspace(-1, 1, 256).reshape(256, 1, 1)
  # One estimate for all 256: nothing of x0 may reach it through xt.
  denoise = lambda xt, t: jnp.full_like(xt, 0.98)
  process, times = processes.gaussian(schedule), [1.0, 0.05, 0.0]
  bound = jit(
    lambda x0: variational_bound(process, denoise, keys(0, 256), x0, times)
  )(centres)
  np.testing.assert_allclose(np.exp2(-bound.data).sum(), 1, atol=1e-5)


def test_bound_of_8_bit_data_is_a_bound_on_its_probability():
  # Data of two values with probability 1/2 each, 1 bit; the exact denoiser is
  # the posterior mean. A fine grid at the data: the decoder is narrower than
  # a bin.
  schedule = schedules.cosine()
  level = 21 / 255
  sign = jnp.where(jnp.arange(4000) % 2, 1.0, -1.0)
  x0 = level * sign[:, None]

  def denoise(xt, t):
    alpha, sigma = (x[:, None] for x in schedule(t))
    return level * jnp.tanh(alpha * level * xt / sigma**2)

  times = log_snr_times(schedule, 200)
  process = processes.gaussian(schedule)
  bound = jit(
    lambda x0: variational_bound(process, denoise, keys(3, len(x0)), x0, times)
  )(x0)
  limit = jit(
    lambda x0: likelihood.continuous_bound(
      process, denoise, keys(4, len(x0)), x0, num_terms=64
    )
  )(x0)
  within(limit.total, 1.0, atol=1e-3)
  assert 1.0 < bound.total.mean() < 1.1
  assert np.abs(bound.data).max() < 1e-3


def test_dequantization():
  k = np.arange(256)
  x0 = jnp.asarray(k / 127.5 - 1, jnp.float32)
  x = likelihood.dequantize(jax.random.key(0), x0)
  np.testing.assert_array_equal(np.floor((np.asarray(x) + 1) * 128), k)
  # A uniform density over [-1, 1) gives every one of 256 values 8 bits.
  log_density = jnp.log(0.5) * jnp.full(3, 12.0)
  np.testing.assert_allclose(
    likelihood.bits_per_dim(log_density, 12), 8, rtol=1e-6
  )
  np.testing.assert_allclose(
    likelihood.bits_per_dim(log_density, 12, None), 1, rtol=1e-6
  )
