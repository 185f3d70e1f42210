"""Importance sampling of t: times with large losses are drawn more often.

  E_u[L(u)] = E_{i ~ p}[L_i / (T p_i)],  p_i ~ sqrt(E[L_i^2])

[0, 1) is cut into T parts, one for each step of a table of T. A part is drawn
in proportion to the root mean square of its last losses, and the loss is then
divided by T p_i. The mean of the loss stays what it is. Its variance is nearly
the least that any p has: a thousandth of the draws is uniform, and all are
until each part has ten losses. These are arrays in the training state.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from jaxdiff.checks import number, whole

# Positions stay so far inside their part, as a fraction of it: a part's end may
# round into the next.
_INSIDE = 2.0**-10


class Losses(NamedTuple):
  """History of the losses of each of T parts."""

  values: Array  # [T, history], the newest in place of the oldest
  count: Array  # [T] int32, losses so far


class Importance(NamedTuple):
  """Importance sampler of positions u, from the losses of earlier batches.

  init() -> Losses; draw(losses, u[B]) -> (u[B], weights[B] of the losses);
  update(losses, u[B], values[B]) -> Losses, with the losses at u, unweighted.
  """

  init: Callable[[], Losses]
  draw: Callable[[Losses, Array], tuple[Array, Array]]
  update: Callable[[Losses, Array, Array], Losses]


def second_moment(
  num_steps: int, history: int = 10, uniform: float = 1e-3
) -> Importance:
  """Builds the sampler by the second moment of losses.

  Until each part has `history` losses, all are equally likely.

  Args:
    num_steps: T, the number of parts.
    history: losses that are kept of each part.
    uniform: probability with which the part is drawn evenly, so that none is
      forgotten.

  Source: iDDPM (Nichol & Dhariwal 2021) section 3.3, eq. 18; `uniform` and the
  history are those of `LossSecondMomentResampler` in its code.
  """
  whole('num_steps', num_steps, 1)
  whole('history', history, 1)
  number('uniform', uniform, '(0, 1]')

  def init() -> Losses:
    return Losses(
      jnp.zeros((num_steps, history)), jnp.zeros(num_steps, jnp.int32)
    )

  def draw(losses: Losses, u: Array) -> tuple[Array, Array]:
    sizes = jnp.sqrt(jnp.mean(jnp.square(losses.values), axis=1))
    known = jnp.all(losses.count >= history) & (jnp.sum(sizes) > 0)
    sizes = jnp.where(known, sizes, 1.0)
    p = (1 - uniform) * sizes / jnp.sum(sizes) + uniform / num_steps
    ends = jnp.cumsum(p)
    ends = ends / ends[-1]
    part = jnp.searchsorted(ends, u, side='right')
    part = jnp.minimum(part, num_steps - 1)
    start = jnp.where(part > 0, ends[part - 1], 0.0)
    fraction = (u - start) / (ends[part] - start)
    fraction = jnp.clip(fraction, _INSIDE, 1 - _INSIDE)
    warped = (part + fraction) / num_steps
    weights = 1 / (num_steps * p[part])
    return jnp.where(known, warped, u), jnp.where(known, weights, 1.0)

  def update(losses: Losses, u: Array, values: Array) -> Losses:
    part = jnp.floor(u * num_steps).astype(jnp.int32)
    part = jnp.clip(part, 0, num_steps - 1)
    # Examples of one part take one place after the other. Of more than
    # `history` the last stay.
    same = part[:, None] == part[None]
    before = jnp.sum(jnp.tril(same, -1), axis=1)
    after = jnp.sum(jnp.triu(same, 1), axis=1)
    place = (losses.count[part] + before) % history
    place = jnp.where(after < history, place, history)  # beyond: dropped
    kept = losses.values.at[part, place].set(
      values.astype(jnp.float32), mode='drop'
    )
    return Losses(kept, losses.count.at[part].add(1))

  return Importance(init, draw, update)
