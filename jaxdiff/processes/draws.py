"""Draws of categories, in a stated precision.

Two ways. `draw` takes log-probabilities that may differ everywhere and adds
Gumbel noise, of which float32 in jax's default mode has none above 16: what is
as rare as 2^-23 comes too seldom (3 times of 5), and rarer things hardly ever.
In a vocabulary, over a thousand steps each of which lifts few masks, they are
many; the samples look as if drawn at a lower temperature (Zheng et al. 2025,
"Masked diffusion models are secretly time-agnostic masked models", section 4).
mode='high' reaches to 32, probabilities of 1e-14. `fixed` takes one law for all
elements and inverts its distribution function in 32-bit integers: a probability
is right to 2^-32. In both, what has probability 0 never comes.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike


def draw(key: Array, log_probs: Array) -> Array:
  """One category for each element.

  Args:
    key: for all of them.
    log_probs: [..., K], -inf for never; need not be normalised.

  Returns:
    [...] int32.
  """
  return jax.random.categorical(key, log_probs, mode='high').astype(jnp.int32)


def gumbel(key: Array, shape: tuple[int, ...]) -> Array:
  """Standard Gumbel noise in the precision of `draw`."""
  return jax.random.gumbel(key, shape, mode='high')


def fixed(probs: ArrayLike) -> Callable[[Array, tuple[int, ...]], Array]:
  """Builds (key, shape) -> x [*shape], int32, each drawn from one law.

  Args:
    probs: [K], summing to 1.
  """
  probs = np.asarray(probs, np.float64)
  (support,) = np.nonzero(probs)
  # Only what can come is in the table: a rounded bound lets nothing else in.
  bounds = np.cumsum(probs[support])[:-1] / probs.sum()
  bounds = np.minimum(np.round(bounds * 2.0**32), 2.0**32 - 1).astype(np.uint32)
  categories = support.astype(np.int32)

  def draws(key: Array, shape: tuple[int, ...]) -> Array:
    bits = jax.random.bits(key, shape, jnp.uint32)
    index = jnp.searchsorted(jnp.asarray(bounds), bits, side='right')
    return jnp.asarray(categories)[index]

  return draws
