"""Langevin dynamics whose step is measured, one sample at a time."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from exact import gaussian_denoiser, keys
from nets import jit

from jaxdiff import schedules
from jaxdiff.samplers import mcmc

MEAN, STD = 0.3, 0.5
COSINE = schedules.cosine(-10.0, 10.0)
VE = schedules.ve()


def test_adaptive_langevin_measures_each_sample():
  t, snr = jnp.float32(0.4), 0.2
  alpha, sigma = COSINE(t)
  x = jnp.array([[0.1, 0.4], [3.0, -2.0]])
  denoise = gaussian_denoiser(COSINE, MEAN, STD)
  score = -(x - alpha * denoise(x, jnp.full(2, t))) / sigma**2
  run = lambda x, keys, **kw: jit(
    lambda: mcmc.langevin(COSINE, denoise, keys, x, t, 1, snr, **kw)
  )()
  delta = 2 * (snr * sigma) ** 2
  z = (run(x, keys(0, 2)) - x - delta * score) / jnp.sqrt(2 * delta)
  norm = lambda y: jnp.linalg.norm(y, axis=1, keepdims=True)
  size = 2 * (snr * norm(z) / norm(score)) ** 2
  found = run(x, keys(0, 2), adaptive=True)
  wanted = x + size * score + jnp.sqrt(2 * size) * z
  np.testing.assert_allclose(found, wanted, rtol=1e-4)
  alone = run(x[:1], keys(0, 2)[:1], adaptive=True)
  np.testing.assert_allclose(alone, found[:1], rtol=1e-6)


def test_adaptive_langevin_leaves_the_distribution():
  t, std = jnp.float32(0.5), 0.5
  alpha, sigma = COSINE(t)
  wide = float(jnp.hypot(alpha * std, sigma))
  x = wide * jax.random.normal(jax.random.key(1), (4, 4096))
  denoise = gaussian_denoiser(COSINE, 0.0, std)
  after = jit(
    lambda: mcmc.langevin(COSINE, denoise, keys(0, 4), x, t, 50, 0.1, True)
  )()
  assert after.std() == pytest.approx(wide, rel=0.02)
  assert abs(np.corrcoef(after.ravel(), x.ravel())[0, 1]) < 0.8


def test_adaptive_langevin_without_a_score_is_finite():
  t, x = jnp.float32(0.5), jnp.ones((2, 3))
  nothing = lambda xt, t: xt  # eps = 0, as of a new network
  run = lambda **kw: jit(
    lambda: mcmc.langevin(VE, nothing, keys(0, 2), x, t, 1, 0.2, **kw)
  )()
  np.testing.assert_allclose(run(adaptive=True), run(), rtol=1e-6)
