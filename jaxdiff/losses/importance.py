"""Times drawn more often where the loss is larger, without bias.

  p_b ~ sqrt(E[loss^2 | u in bin b]),   weight = 1 / (bins p_b)

[0, 1) is cut into equal bins; the state remembers the second moment of the loss
in each. `warp` moves a position u to where the loss is large and gives the
weight that undoes it: E[weight loss(warped u)] = E[loss(u)] whatever the state.
With bins = T and `times.grid(T)` it is iDDPM's resampler; there the moment is a
mean over the last 10 losses of a step, here an exponential mean with rate 1/10,
which does not depend on the order within a batch.

Source: iDDPM (Nichol & Dhariwal 2021) eq. 18.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array


class Importance(NamedTuple):
  """What is known of the loss over [0, 1): arrays, to keep in a checkpoint."""

  second_moment: Array  # [bins]
  count: Array  # [bins] int32, losses seen


def init(bins: int) -> Importance:
  """Nothing seen."""
  if bins < 1:
    raise ValueError(f'bins must be at least 1, got {bins}')
  return Importance(jnp.zeros(bins), jnp.zeros(bins, jnp.int32))


def update(
  state: Importance, u: Array, loss: Array, rate: float = 0.1
) -> Importance:
  """The state after a batch.

  Args:
    state: before.
    u: [B] warped positions; over devices, those of the global batch.
    loss: [B] at them, before the weight of `warp`.
    rate: weight of one new loss in its bin's mean.
  """
  bins = len(state.count)
  bin_of = _bin(u, bins)
  # Gradients must not reach the state through the loss.
  squares = jnp.square(jax.lax.stop_gradient(loss))
  new = jnp.zeros(bins, jnp.int32).at[bin_of].add(1)
  total = jnp.zeros(bins).at[bin_of].add(squares)
  mean = total / jnp.maximum(new, 1)
  # The first losses of a bin replace the zero it began with.
  keep = jnp.where(state.count == 0, 0.0, (1.0 - rate) ** new)
  moment = jnp.where(
    new > 0, keep * state.second_moment + (1 - keep) * mean, state.second_moment
  )
  return Importance(moment, state.count + new)


def probabilities(
  state: Importance, uniform: float = 1e-3, warm_up: int = 10
) -> Array:
  """How often each bin is drawn. [bins], sums to 1.

  Args:
    state: the moments.
    uniform: part drawn evenly, so that no bin is forgotten nor any weight
      exceeds 1 / uniform.
    warm_up: losses every bin must have seen; until then all are equal.
  """
  bins = len(state.count)
  size = jnp.sqrt(state.second_moment)
  total = jnp.sum(size)
  ready = (jnp.min(state.count) >= warm_up) & (total > 0)
  p = jnp.where(ready, size / jnp.where(ready, total, 1.0), 1.0 / bins)
  return (1.0 - uniform) * p + uniform / bins


def warp(
  state: Importance, u: Array, uniform: float = 1e-3, warm_up: int = 10
) -> tuple[Array, Array]:
  """Uniform positions to positions that follow the loss.

  Args:
    state: the moments.
    u: [B] in [0, 1); if stratified, they remain so.
    uniform, warm_up: see `probabilities`.

  Returns:
    (u [B] in [0, 1), weight [B], of mean 1).
  """
  p = probabilities(state, uniform, warm_up)
  bins = len(p)
  ends = jnp.cumsum(p)
  which = jnp.minimum(jnp.searchsorted(ends, u, side='right'), bins - 1)
  within = 1.0 - (ends[which] - u) / p[which]
  # Rounding of the sum must not carry a position out of its bin.
  within = jnp.clip(within, 0.0, 1.0 - 1e-6)
  position = jnp.clip((which + within) / bins, 0.0, 1.0 - 1e-7)
  return position, 1.0 / (bins * p[_bin(position, bins)])


def _bin(u: Array, bins: int) -> Array:
  return jnp.clip(jnp.floor(u * bins), 0, bins - 1).astype(int)
