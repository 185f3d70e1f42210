"""Data whose diffusion is known in closed form: the truth to test against."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from jaxdiff import schedules
from jaxdiff.schedules import NoiseLevel

SCHEDULES = {
  'cosine': schedules.cosine(),
  'linear_vp': schedules.linear_vp(),
  'ddpm': schedules.from_betas(schedules.linear_betas()),
  'iddpm': schedules.from_betas(schedules.cosine_betas()),
  'scaled_linear': schedules.from_betas(schedules.scaled_linear_betas()),
  'sigmoid': schedules.from_betas(schedules.sigmoid_betas()),
}


def gaussian_denoiser(schedule, mean, std):
  """E[x0 | xt] for x0 ~ N(mean, std^2), elementwise."""

  def denoise(xt, t):
    alpha, sigma = (
      x.reshape(x.shape + (1,) * (xt.ndim - 1)) for x in schedule(t)
    )
    gain = alpha * std**2 / ((alpha * std) ** 2 + sigma**2)
    return mean + gain * (xt - alpha * mean)

  return denoise


@functools.partial(jax.jit, static_argnums=1)
def keys(seed, num):
  return jax.vmap(lambda i: jax.random.fold_in(jax.random.key(seed), i))(
    jnp.arange(num)
  )


def mixture_denoiser(schedule, means, std):
  """E[x0 | xt] for x0 an even mixture of N(mean, std^2) over means."""

  def denoise(xt, t):
    alpha, sigma = (x.reshape(x.shape + (1,) * xt.ndim) for x in schedule(t))
    x, mean = xt[..., None], jnp.asarray(means).reshape((1,) * xt.ndim + (-1,))
    var = (alpha * std) ** 2 + sigma**2
    logits = -0.5 * (x - alpha * mean) ** 2 / var
    each = mean + alpha * std**2 / var * (x - alpha * mean)
    return jnp.sum(jax.nn.softmax(logits) * each, axis=-1)

  return denoise


def flow_map(schedule, mean, std, x, t, s):
  """The probability-flow ODE of N(mean, std^2): x from t to s, exactly."""
  (alpha_t, sigma_t), (alpha_s, sigma_s) = schedule(t), schedule(s)
  start = (x - alpha_t * mean) / jnp.hypot(alpha_t * std, sigma_t)
  return alpha_s * mean + start * jnp.hypot(alpha_s * std, sigma_s)


def cosine_64(t):
  """A smooth schedule, log-SNR from -6 to 6, in the precision of t."""
  end = np.arctan(np.exp(-3.0))
  angle = end + (np.pi / 2 - 2 * end) * t
  return NoiseLevel(jnp.cos(angle), jnp.sin(angle))
