"""Unmasking by confidence (MaskGIT): the surest elements first.

Absorbing noise lifts masks at random, and what it lifts at once is drawn
independently. A step may instead propose x0 for all masks and keep only the
proposals with the highest score; the others are masked as before. The number
left is the schedule's fraction sigma_s / sigma_t of the masks there are, so any
start will do, partly written or of any length. It is rounded, and what that
leaves out is carried to the next step: all the way, the number of masks is
within one of the schedule's. On `mixing.linear` with as many even steps as
there are masks it is one at a time.

Scores, of log p(x0 | xt) [..., K] and the proposals [...]:

  probability      log p of the proposal        MaskGIT's confidence
  margin           the two likeliest apart      Kim et al. 2025
  certainty        minus the entropy
  left_to_right    minus the position

The choice depends on what was drawn, so these do not sample the model's joint
distribution, even with an exact p(x0 | xt) (`left_to_right` one at a time
does).
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from jaxdiff.checks import number, whole
from jaxdiff.processes import draws
from jaxdiff.samplers.sampling import Denoiser, Solver
from jaxdiff.schedules import Schedule

Score = Callable[[Array, Array], Array]


def probability(log_probs: Array, x0: Array) -> Array:
  """Computes log p(proposal). (MaskGIT, Chang et al. 2022, section 3.2.)"""
  return jnp.take_along_axis(log_probs, x0[..., None], axis=-1)[..., 0]


def margin(log_probs: Array, x0: Array) -> Array:
  """Computes the difference in probability of the two likeliest categories.

  Source: Kim et al. 2025, "Train for the worst, plan for the best", section 4.
  """
  del x0
  top = jax.lax.top_k(jnp.exp(log_probs), 2)[0]
  return top[..., 0] - top[..., 1]


def certainty(log_probs: Array, x0: Array) -> Array:
  """Computes minus the entropy of p(x0 | xt), in nats."""
  del x0
  p = jnp.exp(log_probs)
  return jnp.sum(p * jnp.where(p > 0, log_probs, 0.0), axis=-1)


def left_to_right(log_probs: Array, x0: Array) -> Array:
  """Computes minus the position, in the order of memory."""
  del log_probs
  return -jnp.arange(x0.size, dtype=jnp.float32).reshape(x0.shape)


def surest_first(
  schedule: Schedule,
  num_classes: int,
  score: Score = probability,
  noise: ArrayLike = 0.0,
) -> Solver:
  """Builds a step that lifts the masks whose proposals have the highest score.

  Args:
    schedule: one of `schedules.mixing`; `cosine` is MaskGIT's.
    num_classes: without MASK, which is the category num_classes.
    score: one of the above.
    noise: Gumbel noise of size noise t on the score: the more, the more varied
      the samples; MaskGIT's choice temperature, 4.5 in its code. May be traced.

  Source: MaskGIT (Chang et al. 2022) section 3.2.
  """
  whole('num_classes', num_classes, 1)
  number('noise', noise, '[0, inf)')

  def one(
    key: Array, xt: Array, logits: Array, t: Array, s: Array, carry: Array
  ) -> tuple[Array, Array]:
    draw_key, noise_key = jax.random.split(key)
    is_mask = jnp.arange(num_classes + 1) == num_classes
    is_mask = is_mask.reshape((1,) * xt.ndim + (-1,))
    log_probs = jax.nn.log_softmax(jnp.where(is_mask, -jnp.inf, logits))
    x0 = draws.draw(draw_key, log_probs)
    value = score(log_probs, x0)
    value += noise * t * draws.gumbel(noise_key, x0.shape)

    masked = xt == num_classes
    num, sigma_t = jnp.sum(masked), schedule(t).sigma
    fraction = schedule(s).sigma / jnp.where(sigma_t == 0, 1.0, sigma_t)
    wanted = fraction * (num + carry)
    left = jnp.clip(jnp.round(wanted), 0, num)
    # What is masked first, by falling score; equal scores in their order.
    order = jnp.argsort(jnp.where(masked, -value, jnp.inf).reshape(-1))
    rank = jnp.argsort(order).reshape(xt.shape)
    lifted = masked & (rank < num - left)
    return jnp.where(lifted, x0, xt), wanted - left

  def step(
    denoiser: Denoiser, keys: Array, xt: Array, t: Array, s: Array, carry: Array
  ) -> tuple[Array, Array]:
    logits = denoiser(xt, jnp.broadcast_to(t, keys.shape))
    over = jax.vmap(one, in_axes=(0, 0, 0, None, None, 0))
    return over(keys, xt, logits, t, s, carry)

  return Solver(lambda x: jnp.zeros(len(x)), step)
