"""Gaussian noise: xt = alpha x0 + sigma eps."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.stats import norm
from jax.typing import ArrayLike

from jaxdiff import normal
from jaxdiff.checks import whole
from jaxdiff.processes.process import Process, Terms
from jaxdiff.schedules import Schedule


def gaussian(
  schedule: Schedule, variance: str = 'small', bins: int | None = 256
) -> Process:
  """Builds the process of Gaussian noise, for any schedule and any s <= t.

  xt = alpha x0 + sigma eps. With r = SNR(t) / SNR(s), q(xs | xt, x0) is normal
  with

    mean = (alpha_t / alpha_s) (sigma_s / sigma_t)^2 xt + alpha_s (1 - r) x0
    variance = sigma_s^2 (1 - r).

  `posterior` returns this (mean, variance). `estimate` is E[x0 | xt], [...],
  and for a learned variance the pair (E[x0 | xt], v).

  The decoder, the step to s = 0 of the bound, is N(x0_hat, variance). The
  variance is (sigma_t / alpha_t)^2, what xt alone says of x0, or the learned
  one. On a table the former is DDPM's beta_1 to a part in 1 - beta_1.

  Args:
    variance: of `reverse`: 'small' is the posterior's (DDPM's beta tilde);
      'large' is that of q(xt | xs), sigma_t^2 (1 - r) (DDPM's beta); 'learned'
      is between the two, see `interpolated_log_variance`. The last step, to s =
      0, adds no more than the posterior does.
    bins: number of values of a datum in [-1, 1]: 256 makes the decoder a
      probability of 8-bit data, None a density.

  Raises:
    ValueError: variance is none of these, or bins < 2.

  Example:
    >>> import jax, jax.numpy as jnp
    >>> from jaxdiff import processes, schedules
    >>> process = processes.gaussian(schedules.cosine())
    >>> x0 = jnp.zeros((8, 8, 1))
    >>> process.corrupt(jax.random.key(0), x0, 0.5).shape
    (8, 8, 1)

  Source: DDPM (Ho et al. 2020) eq. 4-7, 13 and algorithm 2; for any s < t, and
  in continuous time, VDM (Kingma et al. 2021) appendix A, eq. 11-18.
  """
  if variance not in ('small', 'large', 'learned'):
    raise ValueError(
      f"variance must be 'small', 'large' or 'learned', got {variance!r}"
    )
  if bins is not None:
    whole('bins', bins, 2)
  learned = variance == 'learned'
  split = lambda estimate: estimate if learned else (estimate, None)

  def prior(key: Array, shape: tuple[int, ...]) -> Array:
    return schedule(1.0).sigma * jax.random.normal(key, shape)

  def corrupt(key: Array, x0: Array, t: Array) -> Array:
    alpha, sigma = schedule(t)
    return alpha * x0 + sigma * jax.random.normal(key, x0.shape)

  def posterior(
    xt: Array, x0: Array, t: Array, s: Array
  ) -> tuple[Array, Array]:
    alpha_s, sigma_s = schedule(s)
    scale, ratio = _ratios(schedule, t, s)
    removed = 1.0 - (scale * ratio) ** 2
    mean = scale * ratio**2 * xt + alpha_s * removed * x0
    return mean, sigma_s**2 * removed

  def wide(v: Array | None, t: Array, s: Array) -> Array:
    """Variance of p(xs | xt) where it is not the posterior's."""
    if learned:
      return jnp.exp(interpolated_log_variance(schedule, v, t, s))
    return forward_variance(schedule, t, s)

  def reverse(
    key: Array, xt: Array, estimate: Any, t: Array, s: Array
  ) -> Array:
    x0, v = split(estimate)
    mean, var = posterior(xt, x0, t, s)
    if variance != 'small':
      var = jnp.where((0 < s) & (s < t), wide(v, t, s), var)
    # At s = t rounding may leave the variance below 0.
    std = jnp.sqrt(jnp.maximum(var, 0.0))
    return mean + std * jax.random.normal(key, xt.shape)

  def prior_term(x0: Array, t: ArrayLike = 1.0) -> Array:
    alpha, sigma = schedule(t)
    return normal.kl(alpha * x0, sigma**2, 0.0, sigma**2)

  def model(
    xt: Array, estimate: Any, t: Array, s: Array
  ) -> tuple[Array, Array]:
    """Mean and variance of p(xs | xt); at s = 0 those of the decoder."""
    x0, v = split(estimate)
    mean, var = posterior(xt, x0, t, s)
    if variance != 'small':
      var = wide(v, t, s)
    if not learned:
      alpha, sigma = schedule(t)
      # At alpha = 0, in a chain of one step, xt says nothing of x0.
      decoder = jnp.square(sigma / jnp.maximum(alpha, 1e-3))
      var = jnp.where(s == 0, decoder, var)
    mean = jnp.where(s == 0, x0, mean)
    return mean, jnp.broadcast_to(var, mean.shape)

  def step(xt: Array, x0: Array, estimate: Any, t: Array, s: Array) -> Array:
    return normal.kl(*posterior(xt, x0, t, s), *model(xt, estimate, t, s))

  def decode(xt: Array, x0: Array, estimate: Any, t: Array) -> Array:
    mean, var = model(xt, estimate, t, jnp.zeros_like(t))
    return -_log_decoder(x0, mean, jnp.sqrt(var), bins)

  def rate(xt: Array, x0: Array, estimate: Any, t: Array) -> Array:
    del xt, t
    return jnp.square(x0 - split(estimate)[0])

  every = lambda x0: jnp.ones(x0.shape, bool)
  # The log-SNR may be infinite at t = 0 and 1.
  ends = 1e-5, 1 - 1e-5
  terms = Terms(prior_term, step, rate, every, decode, schedule, ends)
  return Process(prior, corrupt, posterior, reverse, terms)


def _log_decoder(x0: Array, mean: Array, std: Array, bins: int | None) -> Array:
  if bins is None:
    return norm.logpdf(x0, mean, std)
  return normal.discretized_log_likelihood(x0, mean, std, bins)


def _ratio(a: Array, b: Array) -> Array:
  # Both branches of a where are differentiated: keep the dead one finite.
  return a / jnp.where(b == 0, 1.0, b)


def snr_ratio(schedule: Schedule, t: Array, s: Array) -> Array:
  """Computes r = SNR(t) / SNR(s); 1 where s = t is all there is. [...]"""
  scale, ratio = _ratios(schedule, t, s)
  return (scale * ratio) ** 2


def _ratios(schedule: Schedule, t: Array, s: Array) -> tuple[Array, Array]:
  """alpha_t / alpha_s and sigma_s / sigma_t."""
  (alpha_t, sigma_t), (alpha_s, sigma_s) = schedule(t), schedule(s)
  # At alpha_s = 0, as at sigma_t = 0, there is nowhere to go: s = t.
  scale = jnp.where(alpha_s == 0, 1.0, _ratio(alpha_t, alpha_s))
  ratio = jnp.where(sigma_t == 0, 1.0, _ratio(sigma_s, sigma_t))
  return scale, ratio


def forward_variance(schedule: Schedule, t: Array, s: Array) -> Array:
  """Computes the variance of q(xt | xs).

  sigma_t^2 - (alpha_t / alpha_s sigma_s)^2. On a table, for neighbours, it is
  beta_t.
  """
  scale, _ = _ratios(schedule, t, s)
  return schedule(t).sigma ** 2 - (scale * schedule(s).sigma) ** 2


def interpolated_log_variance(
  schedule: Schedule, v: Array, t: Array, s: Array
) -> Array:
  """Computes a learned variance of the step from t to s, in the logarithm.

  f log large + (1 - f) log small, f = (v + 1) / 2. 'small' is the variance of
  q(xs | xt, x0) and 'large' that of q(xt | xs), which are right for data of no
  and of unit variance. Where the small one is 0, in the step to clean data,
  that of the step before, from 2t to t, replaces it.

  Args:
    v: [...] the network's second output; between the two for v in [-1, 1], but
      it is not clipped.
    t, s: scalars, s < t.

  Returns:
    [...] nats.

  Source: iDDPM (Nichol & Dhariwal 2021) eq. 15.
  """
  small = lambda t, s: (
    schedule(s).sigma ** 2
    * forward_variance(schedule, t, s)
    / schedule(t).sigma ** 2
  )
  first = schedule(s).sigma == 0
  before = small(jnp.minimum(2 * t, 1.0), t)
  # With a single step from t = 1 there is no step before.
  low = jnp.maximum(jnp.where(first, before, small(t, s)), 1e-20)
  high = jnp.maximum(forward_variance(schedule, t, s), 1e-20)
  part = 0.5 * (v + 1.0)
  return part * jnp.log(high) + (1.0 - part) * jnp.log(low)
