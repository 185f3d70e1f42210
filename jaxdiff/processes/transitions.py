"""Transitions of categories, and the process that Bayes' rule makes of them.

With q(xs | x0) and q(xt | xs), for any two times s < t,

  q(xs = j | xt, x0) = q(xt | xs = j) q(xs = j | x0) / q(xt | x0)
  p(xs = j | xt) = sum_k p(x0 = k | xt) q(xs = j | xt, x0 = k)
                 = q(xt | j) sum_k w_k q(j | k),  w_k = p(k | xt) / q(xt | k)

The second is the model's reverse, x0 marginalised out of D3PM's posterior. It
is exact where p(x0 | xt) is; D3PM's own eq. 4 weighs by q(xt | k) once more,
which makes a difference for all but absorbing noise. A k that cannot have
become xt has no weight. All is in logarithms, so that what is impossible stays
so and what is unlikely keeps its digits.

In continuous time an element jumps to i from j at a rate beta F_ji, beta = -d
log(alpha) / dt, and the bound's rate is

  beta sum_{j != i} F_ji (r_j' - r_j + r_j log(r_j / r_j')),  i = xt,

r_j = q(xt -> j | x0) / q(xt | x0) the truth, r' = sum_k w_k q(j | k) the
model's (Campbell et al. 2022, proposition 2, in the form of SEDD, Lou et al.
2024, theorem 3.6). For absorbing noise this is MDLM's weighted cross-entropy.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from jaxdiff.processes import draws
from jaxdiff.processes.process import Process, Terms
from jaxdiff.schedules import NoiseLevel, Schedule


class Transition(NamedTuple):
  """q(xt | xs) for one pair of times; logarithms throughout."""

  to: Callable[[Array], Array]  # x [...] -> log q(xt = x | xs = j), [..., K]
  push: Callable[[Array], Array]  # log w [..., K] -> log sum_k w_k q(j | k)


class Kernel(NamedTuple):
  """A family of transitions; a level is a schedule's.

  between(level_s, level_t) -> Transition
  corrupt(key, x0, level) -> xt     a draw of q(xt | x0)
  inflow(x) -> F[..., K]            the rate from j to x; any number at j = x
  prior(key, shape) -> x1           a draw of the limit at alpha = 0
  log_prior, is_data                [K] its log-probabilities; can x0 be it?
  """

  between: Callable[[NoiseLevel, NoiseLevel], Transition]
  corrupt: Callable[[Array, Array, NoiseLevel], Array]
  inflow: Callable[[Array], Array]
  prior: Callable[[Array, tuple[int, ...]], Array]
  log_prior: Array
  is_data: Array


# log w [..., K] of an estimate: (x, estimate [..., K], level, log q(x | k)).
Weights = Callable[[Array, Array, NoiseLevel, Array], Array]


def process(
  schedule: Schedule,
  kernel: Kernel,
  weights: Weights | None = None,
) -> Process:
  """Builds the process of a kernel.

  Args:
    schedule: alpha + sigma = 1, exactly (1, 0) at t = 0.
    kernel: its transitions.
    weights: None where an estimate is logits of p(x0 | xt). Otherwise it is log
      r', see above, and this makes log w of it.

  Raises:
    ValueError: the schedule is not of `schedules.mixing`'s kind.
  """
  check(schedule)
  num_classes = len(kernel.log_prior)
  has_ratios = weights is not None
  weights = weights or _of_logits(kernel.is_data)
  clean = NoiseLevel(jnp.float32(1.0), jnp.float32(0.0))

  def certain(x0: Array) -> Array:
    return jnp.where(x0[..., None] == _classes(x0, num_classes), 0.0, -jnp.inf)

  def log_weights(xt: Array, x0: Array, level: NoiseLevel) -> Array:
    log_q = kernel.between(clean, level).to(xt)
    if jnp.issubdtype(x0.dtype, jnp.integer):
      return _of_truth(certain(x0), log_q)
    if x0.shape != (*xt.shape, num_classes):
      raise ValueError(
        f'the estimate must be logits {(*xt.shape, num_classes)}, one for each '
        f'of the {num_classes} categories, got {x0.shape}'
      )
    return weights(xt, x0.astype(jnp.float32), level, log_q)

  def posterior(xt: Array, x0: Array, t: Array, s: Array) -> Array:
    level_t, level_s = schedule(t), schedule(s)
    log_w = log_weights(xt, x0, level_t)
    back = kernel.between(level_s, level_t).to(xt)
    log_p = back + kernel.between(clean, level_s).push(log_w)
    return log_p - jax.nn.logsumexp(log_p, axis=-1, keepdims=True)

  def step(xt: Array, x0: Array, estimate: Array, t: Array, s: Array) -> Array:
    truth, model = posterior(xt, x0, t, s), posterior(xt, estimate, t, s)
    return jnp.sum(_divergence(truth, model), axis=-1)

  def rate(xt: Array, x0: Array, estimate: Array, t: Array) -> Array:
    t = jnp.asarray(t, jnp.float32)
    slope = jax.jvp(schedule, (t,), (jnp.ones_like(t),))[1].alpha
    alpha, sigma = schedule(t)
    # At alpha = 0 the rate is the limit of inf x 0; 1e-9 is lost in rounding
    # everywhere else.
    level = NoiseLevel(jnp.maximum(alpha, 1e-9), sigma)
    ratios = lambda x0: kernel.between(clean, level).push(
      log_weights(xt, x0, level)
    )
    model = estimate if has_ratios else ratios(estimate)
    terms = _divergence(ratios(x0), model)
    other = xt[..., None] != _classes(xt, num_classes)
    flow = -slope / level.alpha * kernel.inflow(xt)
    return jnp.sum(jnp.where(other & (flow > 0), flow * terms, 0.0), axis=-1)

  def prior_term(x0: Array, t: ArrayLike = 1.0) -> Array:
    last = kernel.between(clean, schedule(t))
    log_q = last.push(certain(x0))
    target = jnp.broadcast_to(kernel.log_prior, log_q.shape)
    return jnp.sum(_divergence(log_q, target), axis=-1)

  return Process(
    prior=kernel.prior,
    corrupt=lambda key, x0, t: kernel.corrupt(key, x0, schedule(t)),
    posterior=posterior,
    reverse=lambda key, xt, estimate, t, s: draws.draw(
      key, posterior(xt, estimate, t, s)
    ),
    terms=Terms(prior_term, step, rate, lambda x0: jnp.ones(x0.shape, bool)),
  )


def check(schedule: Schedule) -> None:
  """Raises ValueError unless alpha + sigma = 1, and (1, 0) at t = 0."""
  # Numbers even where the caller is being traced.
  with jax.ensure_compile_time_eval():
    alpha, sigma = schedule(jnp.linspace(0.0, 1.0, 9))
    mixes = bool(jnp.allclose(alpha + sigma, 1.0, atol=1e-5))
    starts = bool((alpha[0] == 1) & (sigma[0] == 0))
  if not (mixes and starts):
    raise ValueError(
      'a categorical process needs a schedule with alpha + sigma = 1 that is '
      'exactly (1, 0) at t = 0, one of schedules.mixing; got alpha = '
      f'{alpha[0]:g}, sigma = {sigma[0]:g} at 0 and alpha = {alpha[4]:g}, '
      f'sigma = {sigma[4]:g} at 0.5'
    )


def log(x: Array) -> Array:
  """Computes log x, -inf at 0 with a gradient of 0 there."""
  return jnp.where(x > 0, jnp.log(jnp.where(x > 0, x, 1.0)), -jnp.inf)


def log_add(a: Array, b: Array) -> Array:
  """Computes log(e^a + e^b), gradients finite where either is -inf."""
  top = jax.lax.stop_gradient(jnp.maximum(a, b))
  top = jnp.where(jnp.isfinite(top), top, 0.0)
  return top + log(jnp.exp(a - top) + jnp.exp(b - top))


def _classes(x: Array, num_classes: int) -> Array:
  return jnp.arange(num_classes).reshape((1,) * x.ndim + (-1,))


def _of_truth(log_p: Array, log_q: Array) -> Array:
  # Where q is 0 so must p be; -inf + inf would be nan.
  return jnp.where(jnp.isfinite(log_q), log_p - log_q, -jnp.inf)


def _of_logits(is_data: Array) -> Weights:
  def weights(
    xt: Array, logits: Array, level: NoiseLevel, log_q: Array
  ) -> Array:
    del xt, level
    possible = jnp.isfinite(log_q) & jnp.reshape(
      is_data, (1,) * (log_q.ndim - 1) + (-1,)
    )
    # An x that nothing can have become is padding: its estimate is not used,
    # but a nan would live on in the gradient.
    nothing = ~jnp.any(possible, axis=-1, keepdims=True)
    possible, log_q = possible | nothing, jnp.where(nothing, 0.0, log_q)
    log_p = jax.nn.log_softmax(jnp.where(possible, logits, -jnp.inf))
    return _of_truth(jnp.where(possible, log_p, -jnp.inf), log_q)

  return weights


def _divergence(truth: Array, model: Array) -> Array:
  """p' - p + p log(p / p') of measures given as logarithms: never negative.

  Summed over normalised distributions it is KL(p || p').
  """
  known = jnp.isfinite(truth)
  p = jnp.exp(truth)
  d = jnp.where(known, model - jnp.where(known, truth, 0.0), 0.0)
  # e^d - 1 - d, by expm1 where the two are close and the rest would cancel.
  small = jnp.minimum(d, 1.0)
  close = p * (jnp.expm1(small) - small)
  far = jnp.exp(model) - p - p * d
  return jnp.where(known, jnp.where(d < 1, close, far), jnp.exp(model))
