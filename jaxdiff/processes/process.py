"""Process and the terms of its bound; processes over dicts and over graphs."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxdiff.checks import whole
from jaxdiff.schedules import Schedule


class Terms(NamedTuple):
  """Terms of the variational bound, in nats, one for each element.

  `estimate` is what `reverse` takes; p is the model with it in place of x0.

    prior(x0, t=1)                   KL(q(xt | x0) || prior)
    step(xt, x0, estimate, t, s)     KL(q(xs | xt, x0) || p(xs | xt))
    decode(xt, x0, estimate, t)      -log p(x0 | xt) of the last step, to s = 0;
                                     None where it is `step` at s = 0
    rate(xt, x0, estimate, t)        limit of step / (t - s) as s -> t; with a
                                     `schedule`, of 2 step / (SNR(s) - SNR(t))
    free(x0)                         bool: elements that are drawn; the others
                                     follow from them and are not counted
    schedule                         noise levels, where the SNR is the natural
                                     clock of `rate`: Gaussian noise
    ends                             times between which the continuous bound
                                     integrates the rate; what is left out at
                                     t > 0 is the decoder's

  `rate_in_time` makes any rate one per unit of t.
  """

  prior: Callable[..., Any]
  step: Callable[[Any, Any, Any, Array, Array], Any]
  rate: Callable[[Any, Any, Any, Array], Any]
  free: Callable[[Any], Any]
  decode: Callable[[Any, Any, Any, Array], Any] | None = None
  schedule: Schedule | None = None
  ends: tuple[float, float] = (0.0, 1.0)


def decoder(terms: Terms) -> Callable[[Any, Any, Any, Array], Any]:
  """Returns (xt, x0, estimate, t) -> the term of the step to s = 0."""
  if terms.decode is not None:
    return terms.decode
  return lambda xt, x0, estimate, t: terms.step(
    xt, x0, estimate, t, jnp.zeros_like(t)
  )


def any_step(terms: Terms) -> Callable[[Any, Any, Any, Array, Array], Any]:
  """Returns (xt, x0, estimate, t, s) -> the term of a step, also to s = 0."""
  if terms.decode is None:
    return terms.step

  def step(xt: Any, x0: Any, estimate: Any, t: Array, s: Array) -> Any:
    last = s == 0
    # Both branches of a where are differentiated: keep the dead one finite.
    inside = jnp.where(last, 0.5 * t, s)
    return jax.tree.map(
      lambda end, kl: jnp.where(last, end, kl),
      terms.decode(xt, x0, estimate, t),
      terms.step(xt, x0, estimate, t, inside),
    )

  return step


def rate_in_time(terms: Terms) -> Callable[[Any, Any, Any, Array], Any]:
  """Builds (xt, x0, estimate, t) -> the limit of step / (t - s) as s -> t."""
  if terms.schedule is None:
    return terms.rate

  def snr(t: Array) -> Array:
    alpha, sigma = terms.schedule(t)
    return jnp.square(alpha / sigma)

  def rate(xt: Any, x0: Any, estimate: Any, t: Array) -> Any:
    t = jnp.asarray(t, jnp.float32)
    slope = jax.jvp(snr, (t,), (jnp.ones_like(t),))[1]
    return -0.5 * slope * terms.rate(xt, x0, estimate, t)

  return rate


class Process(NamedTuple):
  """Functions of one example; see the first lines of the package."""

  prior: Callable[[Array, Any], Any]
  corrupt: Callable[[Array, Any, Array], Any]
  posterior: Callable[[Any, Any, Array, Array], Any]
  reverse: Callable[[Array, Any, Any, Array, Array], Any]
  terms: Terms | None = None  # None: no bound in closed form


def joint(parts: Mapping[str, Process]) -> Process:
  """Builds a process over a dict of data, each part with its own noise.

  What a network makes of one part may depend on all of them, which ties them
  together. Shapes, x, estimates and terms are dicts with these keys; a part may
  itself be joint.

  Args:
    parts: e.g. {'nodes': categorical(..), 'edges': symmetric(categorical(..))}.

  Raises:
    ValueError: no parts.

  Source: DiGress (Vignac et al. 2023) section 3.1, for graphs.
  """
  if not parts:
    raise ValueError('joint needs one or more parts, got none')

  def keys(key: Array) -> dict[str, Array]:
    # By name, in an order that is not the caller's.
    names = sorted(parts)
    return dict(zip(names, jax.random.split(key, len(names)), strict=True))

  def prior(key: Array, shape: Mapping[str, Any]) -> dict[str, Any]:
    key = keys(key)
    return {n: part.prior(key[n], shape[n]) for n, part in parts.items()}

  def corrupt(key: Array, x0: Mapping[str, Any], t: Array) -> dict[str, Any]:
    key = keys(key)
    return {n: part.corrupt(key[n], x0[n], t) for n, part in parts.items()}

  def posterior(
    xt: Mapping[str, Any], x0: Mapping[str, Any], t: Array, s: Array
  ) -> dict[str, Any]:
    return {n: part.posterior(xt[n], x0[n], t, s) for n, part in parts.items()}

  def reverse(
    key: Array,
    xt: Mapping[str, Any],
    estimate: Mapping[str, Any],
    t: Array,
    s: Array,
  ) -> dict[str, Any]:
    key = keys(key)
    return {
      n: part.reverse(key[n], xt[n], estimate[n], t, s)
      for n, part in parts.items()
    }

  if any(part.terms is None for part in parts.values()):
    return Process(prior, corrupt, posterior, reverse)
  each = {n: part.terms for n, part in parts.items()}
  steps = {n: any_step(term) for n, term in each.items()}
  rates = {n: rate_in_time(term) for n, term in each.items()}
  first, last = zip(*(term.ends for term in each.values()), strict=True)
  terms = Terms(
    lambda x0, t=1.0: {n: term.prior(x0[n], t) for n, term in each.items()},
    lambda xt, x0, estimate, t, s: {
      n: step(xt[n], x0[n], estimate[n], t, s) for n, step in steps.items()
    },
    lambda xt, x0, estimate, t: {
      n: rate(xt[n], x0[n], estimate[n], t) for n, rate in rates.items()
    },
    lambda x0: {n: term.free(x0[n]) for n, term in each.items()},
    ends=(max(first), min(last)),
  )
  return Process(prior, corrupt, posterior, reverse, terms)


def symmetric(process: Process, empty: int = 0) -> Process:
  """Builds a process over [N, N, ...] that stays symmetric, its diagonal empty.

  The elements above the diagonal are the process's; those below are copies, and
  the diagonal holds the category `empty`, "no edge". Estimates, too, are read
  only above the diagonal: a network's logits should be symmetric.

  Source: DiGress (Vignac et al. 2023) section 3.1.
  """
  whole('empty', empty, 0)

  def upper(x: Array) -> Array:
    shape = x.shape[:2]
    if shape[0] != shape[1]:
      raise ValueError(f'symmetric needs [N, N, ...], got {x.shape}')
    return jnp.triu(jnp.ones(shape, bool), 1)

  def mirrored(x: Array, diagonal: Array | int) -> Array:
    above = upper(x)
    below = above.T
    if x.ndim == 3:
      above, below = above[..., None], below[..., None]
    copied = jnp.where(below, jnp.swapaxes(x, 0, 1), diagonal)
    return jnp.where(above, x, copied)

  def prior(key: Array, shape: tuple[int, ...]) -> Array:
    return mirrored(process.prior(key, shape), empty)

  def corrupt(key: Array, x0: Array, t: Array) -> Array:
    return mirrored(process.corrupt(key, x0, t), empty)

  def posterior(xt: Array, x0: Array, t: Array, s: Array) -> Array:
    log_probs = process.posterior(xt, x0, t, s)
    certain = jnp.arange(log_probs.shape[-1]) == empty
    certain = jnp.where(certain, 0.0, -jnp.inf)[None, None]
    return mirrored(log_probs, certain)

  def reverse(
    key: Array, xt: Array, estimate: Array, t: Array, s: Array
  ) -> Array:
    return mirrored(process.reverse(key, xt, estimate, t, s), empty)

  if process.terms is None:
    return Process(prior, corrupt, posterior, reverse)
  terms = process.terms._replace(
    free=lambda x0: process.terms.free(x0) & upper(x0)
  )
  return Process(prior, corrupt, posterior, reverse, terms)


def tally(
  process: Process, nats: Any, x0: Any, mask: Any = None
) -> tuple[Array, Array]:
  """Sums the nats of one example, and counts the elements they are for.

  Args:
    nats: the terms, a tree like x0.
    mask: bool, a tree like x0: true where an element exists; None is all.

  Returns:
    (nats [], elements []), over those elements that exist and are free.
  """
  free = process.terms.free(x0)
  if mask is not None:
    free = jax.tree.map(jnp.logical_and, free, mask)
  # Where, not a product: what is left out may be infinite.
  kept = jax.tree.map(lambda v, on: jnp.sum(jnp.where(on, v, 0.0)), nats, free)
  count = jax.tree.map(lambda on: jnp.sum(on), free)
  return sum(jax.tree.leaves(kept)), sum(jax.tree.leaves(count))
