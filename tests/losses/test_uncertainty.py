"""The learned uncertainty of each noise level."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tiny
from exact import gaussian_denoiser, keys

from jaxdiff import losses, models, predictions, schedules

STD = 0.5


def test_uncertainty_becomes_the_log_of_the_loss():
  # Of E[x0 | xt] the squared error is 1 / (1 / STD^2 + SNR).
  schedule = schedules.cosine(-6.0, 6.0)
  first, uncertainty = losses.learned_uncertainty(schedule, 32)
  denoise = gaussian_denoiser(schedule, 0.0, STD)
  loss = losses.denoising(
    lambda params, xt, t, cond, dropout_keys: denoise(xt, t),
    schedule,
    predictions.x0,
    uncertainty=uncertainty,
  )
  optimizer = optax.adam(0.02)

  def step(carry, key):
    params, state = carry
    each = jax.random.split(key, 257)
    batch = {'x0': STD * jax.random.normal(each[0], (256, 16))}
    mean = lambda p: loss(p, each[1:], batch)[0].mean()
    updates, state = optimizer.update(jax.grad(mean)(params), state)
    return (optax.apply_updates(params, updates), state), None

  @jax.jit
  def fit(params):
    start = params, optimizer.init(params)
    (params, _), _ = jax.lax.scan(step, start, keys(0, 400))
    t = jnp.linspace(0.05, 0.95, 7)
    return uncertainty(params, t), schedules.log_snr(schedule, t)

  found, log_snr = fit(first)
  want = -np.log(1 / STD**2 + np.exp(log_snr))
  np.testing.assert_allclose(found, want, atol=0.25)


def test_uncertainty_has_parameters_of_its_own():
  config = tiny.changed(tiny.config, diffusion={'uncertainty': True})
  plain, learned = map(tiny.abstract_params, (tiny.config, config))
  assert set(learned) - set(plain) == {'uncertainty'}
  params = tiny.random_params(config)
  batch = tiny.batch(config, tiny.SPEC, 2)
  loss = jax.jit(models.make(config, tiny.SPEC).loss)
  value, metrics = loss(params, keys(0, 2), batch)
  # At zero it is the loss itself.
  params['uncertainty'] = {'weight': np.zeros(128, np.float32)}
  start, _ = loss(params, keys(0, 2), batch)
  np.testing.assert_allclose(start, metrics['error'], rtol=1e-5)
  assert not np.allclose(value, start)
