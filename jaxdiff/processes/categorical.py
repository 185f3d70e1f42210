"""Categorical noise, xt ~ Cat(alpha x0 + sigma pi): absorbing, uniform, others.

An element is kept or redrawn from pi. Over any two times q(xt | xs) has the
same form,

  a delta(xs) + (1 - a) pi,  a = alpha_t / alpha_s,

so no matrix is ever made, whatever the number of categories. pi decides the
kind of noise: one-hot on MASK it is absorbing (masked diffusion), flat it is
uniform, and with the data's frequencies it is DiGress's marginal noise.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from jaxdiff.checks import whole
from jaxdiff.processes import draws, transitions
from jaxdiff.processes.process import Process
from jaxdiff.processes.transitions import (
  Kernel,
  Transition,
  Weights,
  log,
  log_add,
)
from jaxdiff.schedules import NoiseLevel, Schedule


def categorical(
  schedule: Schedule, probs: ArrayLike, estimate: str = 'logits'
) -> Process:
  """Builds the process of categories 0 .. K - 1 that are redrawn from pi.

  x is int [...]. `posterior` returns log-probabilities [..., K], for x0 an int
  [...] or, given an estimate, with x0 marginalised out; see `transitions`. Its
  identities hold exactly: s = t leaves xt alone, and s = 0 draws x0 from the
  estimate. An xt that pi cannot have made is x0 itself, whatever the estimate
  says: under absorbing noise what is not masked is carried over.

  If pi is one-hot, its category is MASK and no x0 is ever drawn to be it, as if
  its logit were -inf. Any other category can be data.

  Args:
    schedule: one of `schedules.mixing`: alpha + sigma = 1.
    probs: [K] pi.
    estimate: 'logits' of p(x0 | xt), [..., K]; or 'log_ratios', the logarithms
      of p_t(x with its element made j) / p_t(x), [..., K], what the score is to
      categories (the entry at j = x is not read). Like eps they say nothing of
      x0 where alpha is exactly 0: take `mixing.log_linear`. For absorbing noise
      they scale with alpha / sigma, which the network need not learn.

  Returns:
    The process; with 'log_ratios' its terms are SEDD's score entropy.

  Raises:
    ValueError: probs is no distribution, estimate is neither, or the schedule
      does not mix.

  Source: D3PM (Austin et al. 2021) section 3 and appendix A; DiGress (Vignac et
  al. 2023) section 4; MDLM (Sahoo et al. 2024) section 3; log-ratios: SEDD (Lou
  et al. 2024) theorems 3.6 and 4.2.
  """
  probs = np.asarray(probs, np.float64)
  if probs.ndim != 1 or (probs < 0).any() or not abs(probs.sum() - 1) <= 1e-5:
    raise ValueError(
      'probs must be a distribution over K categories, [K], summing to 1; got '
      f'shape {probs.shape} and sum {probs.sum():g}'
    )
  if estimate not in ('logits', 'log_ratios'):
    raise ValueError(
      f"estimate must be 'logits' or 'log_ratios', got {estimate!r}"
    )
  probs = probs / probs.sum()
  redraw = draws.fixed(probs)
  with np.errstate(divide='ignore'):
    log_probs = np.log(probs).astype(np.float32)
  pi, num_classes = probs.astype(np.float32), len(probs)

  def beside(probs: np.ndarray, ndim: int) -> Array:
    return jnp.reshape(jnp.asarray(probs), (1,) * ndim + (-1,))

  def between(level_s: NoiseLevel, level_t: NoiseLevel) -> Transition:
    # At alpha_s = 0 there is nowhere to go: s = t.
    over = jnp.where(level_s.alpha == 0, 1.0, level_s.alpha)
    keep = jnp.where(level_s.alpha == 0, 1.0, level_t.alpha / over)
    lose = (level_t.sigma - level_s.sigma) / over
    # At s = t exactly 0; rounding may leave it below.
    lose = jnp.where(level_s.alpha == 0, 0.0, jnp.maximum(lose, 0.0))

    def to(x: Array) -> Array:
      same = x[..., None] == beside(np.arange(num_classes), x.ndim)
      arrive = lose * jnp.asarray(pi)[x][..., None]
      return log(jnp.where(same, keep, 0.0) + arrive)

    def push(log_w: Array) -> Array:
      total = jax.nn.logsumexp(log_w, axis=-1, keepdims=True)
      redrawn = log(lose) + total + beside(log_probs, log_w.ndim - 1)
      return log_add(log(keep) + log_w, redrawn)

    return Transition(to, push)

  def corrupt(key: Array, x0: Array, level: NoiseLevel) -> Array:
    which_key, value_key = jax.random.split(key)
    # In the default mode a probability below 2^-23 would be 0.
    redrawn = jax.random.bernoulli(
      which_key, level.sigma, x0.shape, mode='high'
    )
    return jnp.where(redrawn, redraw(value_key, x0.shape), x0)

  def inflow(x: Array) -> Array:
    arrive = jnp.asarray(pi)[x][..., None]
    return jnp.broadcast_to(arrive, (*x.shape, num_classes))

  is_data = probs == 0 if (probs > 0).sum() == 1 else probs >= 0
  kernel = Kernel(
    between,
    corrupt,
    inflow,
    redraw,
    jnp.asarray(log_probs),
    jnp.asarray(is_data),
  )
  weights = None
  if estimate == 'log_ratios':
    weights = _of_log_ratios(pi, is_data)
  return transitions.process(schedule, kernel, weights)


def absorbing(schedule: Schedule, num_classes: int) -> Process:
  """Builds absorbing noise, with MASK as one more category, the last.

  A network takes x in 0 .. num_classes and gives num_classes + 1 logits, of
  which the last is not read.
  """
  whole('num_classes', num_classes, 1)
  return categorical(schedule, np.eye(num_classes + 1)[-1])


def uniform(schedule: Schedule, num_classes: int) -> Process:
  """Builds uniform noise: elements are redrawn from all categories alike."""
  whole('num_classes', num_classes, 1)
  return categorical(schedule, np.full(num_classes, 1 / num_classes))


def _of_log_ratios(pi: np.ndarray, is_data: np.ndarray) -> Weights:
  """w of r_j = sum_k w_k q(j | k) = alpha w_j + sigma pi_j sum(w).

  As sum(w) = sum(r), w = (r - sigma pi sum(r)) / alpha. A network's r need not
  be that of any distribution: what would be negative is 0.
  """

  def weights(
    xt: Array, log_ratios: Array, level: NoiseLevel, log_q: Array
  ) -> Array:
    beside = lambda probs: jnp.reshape(probs, (1,) * xt.ndim + (-1,))
    same = xt[..., None] == beside(np.arange(len(pi)))
    log_r = jnp.where(same, 0.0, log_ratios)
    # Only what can have become xt has a ratio; under absorbing noise that is
    # everything where xt is MASK, and xt itself elsewhere.
    log_r = jnp.where(jnp.isfinite(log_q), log_r, -jnp.inf)
    top = jax.lax.stop_gradient(jnp.max(log_r, axis=-1, keepdims=True))
    r = jnp.exp(log_r - top)
    total = jnp.sum(r, axis=-1, keepdims=True)
    w = r - level.sigma * total * beside(pi)
    w = jnp.where(beside(is_data), jnp.maximum(w, 0.0), 0.0)
    # w is normalised later, so a scale does not matter, nor at alpha = 0.
    return top + log(w)

  return weights
