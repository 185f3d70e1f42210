"""Losses from the variational bound (ELBO) of any process with terms.

For categories (text, graphs, pixels as categories) and for Gaussian noise
alike. `batch` is {'x0': [B, ...] or a tree, 'cond': {name: [B, ...]}} and may
hold

  'mask'  bool, a tree like x0: true where an element exists. The others are
          neither noised nor counted, whatever x0 holds there; `apply` finds the
          mask in cond['mask'].
  'u'     [B] positions from which the times are made; see `losses.regression`.

A loss is in nats per element: the sum over an example's existing elements,
divided by their number or by the constant `length`. A constant gives each
element of a batch the same weight whatever the length of its example. Bits are
nats / log 2.

The network outputs what `process.reverse` takes: logits [B, ..., K] or E[x0 |
xt] (`losses.clean_apply`), for a learned variance (E[x0 | xt], v).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxdiff.checks import number, whole
from jaxdiff.losses.regression import Apply, Batch, Loss, LossValue
from jaxdiff.losses.time_sampling import Times, continuous, grid
from jaxdiff.processes import (
  Process,
  any_step,
  decoder,
  rate_in_time,
  tally,
)


class Seen(NamedTuple):
  """A corrupted batch and the network's estimate for it."""

  xt: Any  # [B, ...]
  x0: Any  # [B, ...]
  mask: Any  # like x0, or None
  t: Array  # [B]
  estimate: Any  # [B, ..., K]


def nelbo(
  apply: Apply,
  process: Process,
  times: Times | None = None,
  length: int | None = None,
) -> Loss:
  """Builds the negative ELBO in continuous time: the rate at a random time.

    -log p(x0) <= prior term + E_t rate(xt, x0, t) + decoder,  t uniform

  The prior and the decoder are left out; `likelihood.continuous_bound` has
  them. Gaussian: -1/2 SNR'(t) |x0 - x0_hat|^2, VDM's loss. Absorbing: alpha' /
  (1 - alpha) times log p(x0 | xt), over masked elements (MDLM, MD4). Uniform
  and marginal: the bound of UDLM, but with x0 marginalised out where UDLM puts
  its mean in the place of x0, so that here, too, the best network is p(x0 |
  xt). On log-ratios: the denoising score entropy of SEDD.

  Args:
    apply: the network, (params, xt, t[B], cond, dropout_keys).
    process: one with terms.
    times: u[B] -> t[B], uniform or nearly so; None is uniform over (0, 1], for
      Gaussian noise over (1e-5, 1]. A t_min above 0 leaves out what is below.
    length: see the module's first lines.

  Source: VDM (Kingma et al. 2021) eq. 17; MDLM (Sahoo et al. 2024) eq. 10; MD4
  (Shi et al. 2024) section 2; UDLM (Schiff et al. 2025, "Simple guidance
  mechanisms for discrete diffusion models") section 4; SEDD (Lou et al. 2024)
  theorem 3.6.
  """
  _check_terms(process)
  times = times or continuous(process.terms.ends[0])
  rate = rate_in_time(process.terms)
  one = lambda seen: rate(seen.xt, seen.x0, seen.estimate, seen.t)
  return _loss(apply, process, times, length, one)


def variational(
  apply: Apply,
  process: Process,
  num_steps: int,
  cross_entropy_weight: float = 0.0,
  length: int | None = None,
) -> Loss:
  """Builds the bound of T steps as a loss: T times a random term of it.

    T KL(q(xs | xt, x0) || p(xs | xt)) - weight log p(x0 | xt),  s = t - 1 / T

  whose mean over t is the bound without its prior term. The first step's term,
  at s = 0, is the decoder's -log p(x0 | xt) alone.

  Args:
    apply, process, length: see `nelbo`.
    cross_entropy_weight: D3PM's lambda (0.001 for text, 0.01 for images), here
      beside a bound over T steps, not over one: lambda T of theirs.

  Source: DDPM (Ho et al. 2020) eq. 5; D3PM (Austin et al. 2021) eq. 1, 5.
  """
  _check_terms(process)
  whole('num_steps', num_steps, 1)
  number('cross_entropy_weight', cross_entropy_weight, '[0, inf)')
  step, decode = any_step(process.terms), decoder(process.terms)

  def one(seen: Seen) -> Any:
    xt, x0, _, t, estimate = seen
    # The grid's own numbers: s is 0 exactly in the first step.
    s = (jnp.round(t * num_steps) - 1.0) / num_steps
    bound = step(xt, x0, estimate, t, s)
    # Not even evaluated without a weight: inf x 0 is nan.
    if cross_entropy_weight == 0:
      return jax.tree.map(lambda b: num_steps * b, bound)
    error = decode(xt, x0, estimate, t)
    return jax.tree.map(
      lambda b, e: num_steps * b + cross_entropy_weight * e, bound, error
    )

  return _loss(apply, process, grid(num_steps), length, one)


def cross_entropy(
  apply: Apply,
  process: Process,
  times: Times | None = None,
  weights: Any = None,
  length: int | None = None,
) -> Loss:
  """Builds the cross-entropy -log p(x0 | xt), all times weighted alike.

  Not a bound, but the same minimum. Under absorbing noise what is not masked
  costs nothing.

  Args:
    apply, process, times, length: see `nelbo`.
    weights: a tree of numbers like x0, e.g. {'nodes': 1.0, 'edges': 5.0}.

  Source: DiGress (Vignac et al. 2023) eq. 2.
  """
  _check_terms(process)
  for weight in jax.tree.leaves(weights):
    number('weights', weight, '[0, inf)')
  decode = decoder(process.terms)

  def one(seen: Seen) -> Any:
    error = decode(seen.xt, seen.x0, seen.estimate, seen.t)
    if weights is None:
      return error
    return jax.tree.map(lambda w, e: w * e, weights, error)

  return _loss(apply, process, times or continuous(), length, one)


def corrupted(
  process: Process, keys: Array, x0: Any, mask: Any, t: Array
) -> Any:
  """Corrupts a batch to xt [B, ...]; elements outside the mask stay as is."""
  xt = jax.vmap(process.corrupt)(keys, x0, t)
  if mask is None:
    return xt
  return jax.tree.map(jnp.where, mask, xt, x0)


def real(mask: Any, x: Any) -> Any:
  """Puts 0 where no element exists.

  Terms are evaluated everywhere, and the category -1 would be a nan in the
  gradient.
  """
  if mask is None:
    return x
  return jax.tree.map(lambda on, x: jnp.where(on, x, 0), mask, x)


def _check_terms(process: Process) -> None:
  if process.terms is None:
    raise ValueError(
      'this loss needs a process with terms: gaussian, categorical, ordinal, '
      'or joint and symmetric of these'
    )


def _loss(
  apply: Apply,
  process: Process,
  times: Times,
  length: int | None,
  one: Callable[[Seen], Any],
) -> Loss:
  if length is not None:
    whole('length', length, 1)

  def nats(seen: Seen) -> tuple[Array, Array]:
    return tally(process, one(seen), seen.x0, seen.mask)

  def loss(params: Any, keys: Array, batch: Batch) -> LossValue:
    split = lambda key: tuple(jax.random.split(key, 3))
    time_keys, noise_keys, dropout_keys = jax.vmap(split)(keys)
    u = batch['u'] if 'u' in batch else jax.vmap(jax.random.uniform)(time_keys)
    t, x0, mask = times(u), batch['x0'], batch.get('mask')
    xt = corrupted(process, noise_keys, x0, mask, t)
    cond = batch.get('cond', {})
    if mask is not None:
      cond = {**cond, 'mask': mask}
    estimate = apply(params, xt, t, cond, dropout_keys)
    seen = Seen(real(mask, xt), real(mask, x0), mask, t, estimate)
    total, count = jax.vmap(nats)(seen)
    return total / (length or jnp.maximum(count, 1)), {}

  return loss
