"""One function eager, under jit and under pmap: chex runs each of them."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
from exact import SCHEDULES, gaussian_denoiser, keys

from jaxdiff import losses, predictions, processes, samplers

SCHEDULE = SCHEDULES['cosine']
# The chex variant for pmap feeds each device the same and compares.
VARIANTS = {'with_jit': True, 'without_jit': True, 'with_pmap': True}


class Variants(chex.TestCase):
  @chex.variants(**VARIANTS)
  def test_posterior(self):
    posterior = processes.gaussian(SCHEDULE).posterior
    fn = self.variant(lambda xt, x0: posterior(xt, x0, 0.6, 0.2))
    mean, variance = fn(jnp.ones((2, 3)), jnp.full((2, 3), 0.5))
    want = posterior(jnp.float32(1), jnp.float32(0.5), 0.6, 0.2)
    np.testing.assert_allclose(mean, jnp.full((2, 3), want[0]), rtol=1e-5)
    np.testing.assert_allclose(variance, want[1], rtol=1e-5)

  @chex.variants(**VARIANTS)
  def test_sample(self):
    denoise = gaussian_denoiser(SCHEDULE, 0.3, 0.2)
    step = samplers.ddim(SCHEDULE, 0.5)
    run = lambda x: samplers.sample(
      step, denoise, keys(0, 4), x, samplers.uniform_times(5)
    )
    x = jnp.linspace(-1, 1, 8).reshape(4, 2)
    np.testing.assert_allclose(self.variant(run)(x), run(x), atol=1e-5)

  @chex.variants(**VARIANTS)
  def test_loss(self):
    apply = lambda params, xt, t, cond, dropout_key=None: params * xt
    loss = losses.denoising(apply, SCHEDULE, predictions.eps)
    batch = {'x0': jnp.linspace(-1, 1, 8).reshape(4, 2), 'cond': {}}
    run = lambda params: loss(params, keys(1, 4), batch)[0]
    got = self.variant(run)(jnp.float32(0.7))
    np.testing.assert_allclose(got, run(0.7), rtol=1e-5)


def test_a_network_of_the_wrong_shape_is_refused():
  # (B,) beside (B, 2) would broadcast.
  apply = lambda params, xt, t, cond, dropout_key=None: xt[..., :1]
  batch = {'x0': jnp.ones((4, 2)), 'cond': {}}
  loss = losses.denoising(apply, SCHEDULE, predictions.eps)
  with np.testing.assert_raises_regex(AssertionError, r'\(4, 1\)'):
    loss(0.0, keys(0, 4), batch)
  denoise = samplers.denoiser(apply, predictions.eps, SCHEDULE, 0.0)
  with np.testing.assert_raises_regex(AssertionError, r'\(4, 1\)'):
    denoise(jnp.ones((4, 2)), jnp.full(4, 0.5))
  with np.testing.assert_raises_regex(AssertionError, 'shape'):
    samplers.sample(
      samplers.ddim(SCHEDULE),
      gaussian_denoiser(SCHEDULE, 0.0, 1.0),
      jax.random.split(jax.random.key(0), 3),
      jnp.ones((4, 2)),
      samplers.uniform_times(2),
    )
