"""Processes: how data is corrupted, and how one step of that is undone.

A process is four functions of ONE example (t is a scalar beside x; `jax.vmap`
makes the batch):

  prior(key, shape) -> x1               a draw at t = 1
  corrupt(key, x0, t) -> xt             q(xt | x0)
  posterior(xt, x0, t, s) -> params     q(xs | xt, x0), s <= t
  reverse(key, xt, estimate, t, s)      a draw of xs, x0 replaced by its
                                        estimate
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxdiff.schedules import Schedule


class Process(NamedTuple):
  """Functions of one example; see the module's first lines."""

  prior: Callable[[Array, tuple[int, ...]], Any]
  corrupt: Callable[[Array, Any, Array], Any]
  posterior: Callable[[Any, Any, Array, Array], Any]
  reverse: Callable[[Array, Any, Any, Array, Array], Any]


def gaussian(schedule: Schedule, variance: str = 'small') -> Process:
  """xt = alpha x0 + sigma eps, for any schedule and any pair s <= t.

  With r = SNR(t) / SNR(s), q(xs | xt, x0) is normal with

    mean = (alpha_t / alpha_s) (sigma_s / sigma_t)^2 xt + alpha_s (1 - r) x0
    variance = sigma_s^2 (1 - r).

  `posterior` returns this (mean, variance); `estimate` is E[x0 | xt], [...].

  Args:
    schedule: the noise levels.
    variance: of `reverse`: 'small' is the posterior's (DDPM's beta tilde);
      'large' is that of q(xt | xs), sigma_t^2 (1 - r), except that the step
      to t = 0 adds no more than the posterior does (DDPM's beta).

  Raises:
    ValueError: variance is neither.

  Source: DDPM (Ho et al. 2020) eq. 4, 6, 7 and algorithm 2; for any s < t,
  VDM (Kingma et al. 2021) appendix A.
  """
  if variance not in ('small', 'large'):
    raise ValueError(f"variance must be 'small' or 'large', got {variance!r}")

  def prior(key: Array, shape: tuple[int, ...]) -> Array:
    return schedule(1.0).sigma * jax.random.normal(key, shape)

  def corrupt(key: Array, x0: Array, t: Array) -> Array:
    alpha, sigma = schedule(t)
    return alpha * x0 + sigma * jax.random.normal(key, x0.shape)

  def posterior(
    xt: Array, x0: Array, t: Array, s: Array
  ) -> tuple[Array, Array]:
    (alpha_t, sigma_t), (alpha_s, sigma_s) = schedule(t), schedule(s)
    scale = alpha_t / alpha_s
    # At sigma_t = 0 there is nowhere left to go: s = t, and q is a point.
    ratio = jnp.where(
      sigma_t == 0, 1.0, sigma_s / jnp.where(sigma_t == 0, 1.0, sigma_t)
    )
    removed = 1.0 - (scale * ratio) ** 2
    mean = scale * ratio**2 * xt + alpha_s * removed * x0
    return mean, sigma_s**2 * removed

  def reverse(
    key: Array, xt: Array, estimate: Array, t: Array, s: Array
  ) -> Array:
    mean, var = posterior(xt, estimate, t, s)
    if variance == 'large':
      (alpha_t, sigma_t), (alpha_s, sigma_s) = schedule(t), schedule(s)
      large = sigma_t**2 - (alpha_t / alpha_s * sigma_s) ** 2
      var = jnp.where(s > 0, large, var)
    # Rounding may leave the variance a hair below 0 at s = t.
    std = jnp.sqrt(jnp.maximum(var, 0.0))
    return mean + std * jax.random.normal(key, xt.shape)

  return Process(prior, corrupt, posterior, reverse)
