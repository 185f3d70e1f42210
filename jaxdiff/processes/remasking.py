"""Remasking (ReMDM): absorbing noise whose reverse masks some elements again.

The distribution of xt given x0 leaves open how x at two times hang together.
ReMDM's choice is to masks what DDIM's eta is to Gaussian noise: on the way to s
what is written at t is masked with probability rho, and more masks are lifted
instead,

  xt written: xs = MASK with rho, else xt
  xt = MASK:  xs = x0 with (alpha_s - (1 - rho) alpha_t) / sigma_t, else MASK,

so that xs is kept with probability alpha_s all the same, and a model trained on
absorbing noise serves as it is.
"""

from collections.abc import Callable

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from jaxdiff.checks import number
from jaxdiff.processes import draws, transitions
from jaxdiff.processes.categorical import absorbing
from jaxdiff.processes.process import Process
from jaxdiff.processes.transitions import log
from jaxdiff.schedules import Schedule


def remasked(
  schedule: Schedule,
  num_classes: int,
  scale: ArrayLike = 1.0,
  cap: ArrayLike = 1.0,
  when: Callable[[Array], Array] | None = None,
) -> Process:
  """Builds `absorbing` with rho = min(cap, scale rho_max) in its reverse.

  rho_max = sigma_s / alpha_t, at most 1. With `samplers.ancestral` it corrects
  itself: more steps than there are elements go on making it better. rho = 0 is
  `absorbing`. No `terms`: the bound of its model is not that of training.

  Args:
    schedule: one of `schedules.mixing`.
    num_classes: without MASK, which is the category num_classes.
    scale: in [0, 1], the paper's eta_rescale; may be traced.
    cap: in [0, 1], the paper's eta_cap; may be traced.
    when: t -> bool, the times at which anything is masked again; None: all.

  Source: ReMDM (Wang et al. 2025, "Remasking discrete diffusion models with
  inference-time scaling") sections 3 and 4.
  """
  number('scale', scale, '[0, 1]')
  number('cap', cap, '[0, 1]')
  plain = absorbing(schedule, num_classes)

  def posterior(xt: Array, x0: Array, t: Array, s: Array) -> Array:
    (alpha_t, sigma_t), (_, sigma_s) = schedule(t), schedule(s)
    most = jnp.minimum(1.0, sigma_s / jnp.maximum(alpha_t, 1e-9))
    rho = jnp.minimum(cap, scale * most)
    moves = s < t if when is None else (s < t) & when(t)
    rho = jnp.where(moves, rho, 0.0)
    # alpha_s - (1 - rho) alpha_t, without the difference of near numbers.
    lifted = (sigma_t - sigma_s) + rho * alpha_t
    lifted = jnp.clip(lifted / jnp.where(sigma_t == 0, 1.0, sigma_t), 0.0, 1.0)
    # p(x0 | xt): what is written is certain, and MASK is not among it.
    log_p = plain.posterior(xt, x0, t, jnp.zeros_like(t))
    mask = jnp.arange(num_classes + 1) == num_classes
    mask = mask.reshape((1,) * xt.ndim + (-1,))
    masked = (xt == num_classes)[..., None]
    stays = jnp.where(masked, lifted, 1.0 - rho)
    # Either it is MASK at s, or a draw of x0.
    leaves = jnp.where(masked, 1.0 - lifted, rho)
    return transitions.log_add(
      log(stays) + log_p, jnp.where(mask, log(leaves), -jnp.inf)
    )

  def reverse(
    key: Array, xt: Array, estimate: Array, t: Array, s: Array
  ) -> Array:
    return draws.draw(key, posterior(xt, estimate, t, s))

  return Process(plain.prior, plain.corrupt, posterior, reverse)
