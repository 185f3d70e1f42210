"""Rate matrix of DeFoG: categories jump by Euler steps of a flow.

The distribution of xt given x0 leaves open how x at two times hang together.
`categorical` takes Bayes' rule; here x jumps from i to j, given x0, at a rate
per unit of alpha of

  R(i, j) = (max(0, d(j) - d(i)) + omega [j = x0]) / (Z q(i)) + eta q(j),
  d(j) = [j = x0] - pi_j,  q(j) = alpha [j = x0] + sigma pi_j,

Z the number of categories that q allows. The first term carries q at t to q at
s, exactly as long as no probability exceeds 1. omega, target guidance, adds to
what is x0. eta, stochasticity, goes both ways alike: it changes no marginal,
and later jumps can mend earlier ones. A model trained on
`categorical` serves as it is.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from jaxdiff.checks import number
from jaxdiff.processes import draws
from jaxdiff.processes.categorical import categorical
from jaxdiff.processes.process import Process
from jaxdiff.processes.transitions import log
from jaxdiff.schedules import Schedule


def rate_matrix(
  schedule: Schedule,
  probs: ArrayLike,
  estimate: str = 'logits',
  omega: ArrayLike = 0.0,
  eta: ArrayLike = 0.0,
) -> Process:
  """Builds `categorical` with the jumps of R in its reverse.

  A step from t to s has probabilities (alpha_s - alpha_t) R(i, j), the last one
  draws x0. On `mixing.linear`, where alpha_s - alpha_t is t - s, these are the
  paper's; on other schedules a jump depends on the levels alone. Under
  absorbing noise with omega = eta = 0 it is `categorical`'s. No `terms`: the
  bound of its model is not that of training.

  Args:
    schedule, probs, estimate: as in `categorical`.
    omega: target guidance, 0 or more; the paper's are 0 to 2. May be traced.
    eta: stochasticity, 0 or more; the paper's are 0 to 300. May be traced.

  Source: DeFoG (Qin et al. 2025, arXiv:2410.04263) section 3.2; the first term:
  Campbell et al. 2024 (arXiv:2402.04997), proposition 3.1.
  """
  number('omega', omega, '[0, inf)')
  number('eta', eta, '[0, inf)')
  plain = categorical(schedule, probs, estimate)
  pi = jnp.asarray(np.asarray(probs) / np.sum(probs), jnp.float32)
  classes = jnp.arange(len(pi))

  def jumps(xt: Array, x0: Array, t: Array, s: Array) -> Array:
    """Computes the probabilities of xs given xt and x0, [..., K]."""
    (alpha, sigma), step = schedule(t), schedule(s).alpha - schedule(t).alpha
    beside = lambda x: jnp.reshape(x, (1,) * xt.ndim + (-1,))
    at = lambda x: jnp.take_along_axis(x, xt[..., None], axis=-1)
    target = (x0[..., None] == beside(classes)).astype(jnp.float32)
    change, q = target - beside(pi), alpha * target + sigma * beside(pi)
    possible = (target > 0) | (beside(pi) > 0)
    inflow = jnp.maximum(change - at(change), 0.0) + omega * target
    scale = jnp.sum(possible, axis=-1, keepdims=True) * at(q)
    # An xt that q does not allow stays where it is.
    inflow = jnp.where(scale > 0, inflow / jnp.where(scale > 0, scale, 1.0), 0)
    back = jnp.where(scale > 0, eta * q, 0.0)
    here = xt[..., None] == beside(classes)
    move = jnp.where(here | ~possible, 0.0, step * (inflow + back))
    move = jnp.minimum(move, 1.0)
    total = jnp.sum(move, axis=-1, keepdims=True)
    stay = jnp.where(here, jnp.maximum(1.0 - total, 0.0), 0.0)
    return (move + stay) / jnp.maximum(total, 1.0)

  def posterior(xt: Array, x0: Array, t: Array, s: Array) -> Array:
    ended = plain.posterior(xt, x0, t, jnp.zeros_like(t))
    of_each = lambda k: jumps(xt, jnp.full_like(xt, k), t, s)
    every = jax.vmap(of_each, out_axes=-2)(classes)
    moved = log(jnp.sum(jnp.exp(ended)[..., None] * every, axis=-2))
    return jnp.where(s == 0, ended, moved)

  def reverse(
    key: Array, xt: Array, estimate: Array, t: Array, s: Array
  ) -> Array:
    x0_key, jump_key = jax.random.split(key)
    # A draw of x0, then of xs: K numbers an element, `posterior` needs K^2.
    ended = plain.posterior(xt, estimate, t, jnp.zeros_like(t))
    x0 = draws.draw(x0_key, ended)
    xs = draws.draw(jump_key, log(jumps(xt, x0, t, s)))
    return jnp.where(s == 0, x0, xs)

  return Process(plain.prior, plain.corrupt, posterior, reverse)
