"""Normal distributions: KL divergence, and the likelihood of discretised data.

Everything is elementwise, in nats.
"""

import jax.numpy as jnp
from jax import Array
from jax.scipy.stats import norm
from jax.typing import ArrayLike


def kl(
  mean1: ArrayLike, var1: ArrayLike, mean2: ArrayLike, var2: ArrayLike
) -> Array:
  """Computes KL(N(mean1, var1) || N(mean2, var2)), elementwise. [...] nats

  = (r - 1 - log r + (mean1 - mean2)^2 / var2) / 2 with r = var1 / var2.
  """
  # Near equal variances r - 1 - log r cancels; in x = r - 1 it is x - log1p(x).
  # Far below, 1 + x would lose r.
  x = (var1 - var2) / var2
  log_ratio = jnp.where(x > -0.5, jnp.log1p(x), jnp.log(var1 / var2))
  return 0.5 * (x - log_ratio + jnp.square(mean1 - mean2) / var2)


def kl_to_standard(mean: Array, log_variance: Array) -> Array:
  """Computes KL(N(mean, variance) || N(0, 1)), elementwise. [...] nats

  = (mean^2 + variance - 1 - log variance) / 2.
  """
  # expm1 keeps the digits of a variance near 1.
  return 0.5 * (jnp.square(mean) + jnp.expm1(log_variance) - log_variance)


def discretized_log_likelihood(
  x: ArrayLike, mean: ArrayLike, std: ArrayLike, bins: int = 256
) -> Array:
  """Computes log P(x), P being N(mean, std^2) gathered into bins of [-1, 1].

  Bin k of equal width is centred on -1 + 2 k / (bins - 1), so that uint8 pixels
  scaled to [-1, 1] are the centres. The first and last bins are open to
  infinity, so that the probabilities of all bins sum to 1. A value between two
  centres is taken as the centre of a bin of its own.

  Returns:
    [...] nats, at most 0.

  Source: DDPM (Ho et al. 2020) eq. 13.
  """
  half = 1.0 / (bins - 1)
  # Half a bin of tolerance tells an edge bin from its neighbour.
  first, last = x < -1 + half, x > 1 - half
  # By symmetry, look at the bin from below the mean, where log_cdf keeps its
  # digits: log(Phi(b) - Phi(a)) = log Phi(b) + log(1 - exp(log Phi(a) - ..)).
  above = x > mean
  upper = jnp.where(above, mean - x + half, x - mean + half) / std
  lower = jnp.where(above, mean - x - half, x - mean - half) / std
  open_above = jnp.where(above, first, last)
  open_below = jnp.where(above, last, first)
  # Both branches of a where are differentiated: keep the dead ones finite.
  log_upper = norm.logcdf(upper)
  log_lower = norm.logcdf(lower)
  width = jnp.maximum(log_upper - log_lower, jnp.finfo(jnp.float32).tiny)
  inside = log_upper + jnp.log(-jnp.expm1(-width))
  one_sided = jnp.where(open_below, log_upper, norm.logcdf(-lower))
  return jnp.where(open_above | open_below, one_sided, inside)
