"""Draws of categories, in a stated precision.

`draw` takes log-probabilities that may differ everywhere and adds Gumbel noise.
In jax's default mode float32 noise has none above 16: a category of probability
2^-23 comes too rarely (3 times of 5), and rarer ones almost never. Over a
thousand steps that each lift few masks, these are many: the samples look as if
drawn at a lower temperature (Zheng et al. 2025, "Masked diffusion models are
secretly time-agnostic masked models", section 4). mode='high' reaches 32,
probabilities of 1e-14.

`fixed` takes one distribution for all elements and inverts its distribution
function in 32-bit integers: a probability is right to 2^-32. In both, a
category of probability 0 is never drawn.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike


def draw(key: Array, log_probs: Array) -> Array:
  """Draws one category for each element. [...] int32

  log_probs [..., K], -inf for never, need not be normalised.
  """
  return jax.random.categorical(key, log_probs, mode='high').astype(jnp.int32)


def gumbel(key: Array, shape: tuple[int, ...]) -> Array:
  """Draws standard Gumbel noise in the precision of `draw`."""
  return jax.random.gumbel(key, shape, mode='high')


def fixed(probs: ArrayLike) -> Callable[[Array, tuple[int, ...]], Array]:
  """Builds (key, shape) -> x [*shape], int32, drawn from probs [K]."""
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
