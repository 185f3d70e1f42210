"""Learned variance: losses of a network that also predicts a step's variance.

  p(xs | xt) = N(posterior mean at x0_hat, exp(f log large + (1 - f) log small))

The network outputs a pair (y, v): its prediction and, with f = (v + 1) / 2, the
variance (`processes.interpolated_log_variance`). L_simple says nothing of v;
what trains it is the variational bound on a table of T steps,

  L_vlb = sum_i KL(q(x_{i-1} | xi, x0) || p(x_{i-1} | xi)) - log p(x0 | x1),

of which a random term, times T, is an unbiased estimate. (L_T, which no
parameter enters, is left out; `likelihood` has it.)

Sampling is `samplers.ancestral(processes.gaussian(schedule, 'learned'), v)`
with v(xt, t) the second output, over any grid of times.

Source: iDDPM (Nichol & Dhariwal 2021) section 3.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jaxdiff import losses, normal, predictions, processes
from jaxdiff.checks import number
from jaxdiff.losses.regression import Apply, Batch, Loss, LossValue
from jaxdiff.losses.time_sampling import grid
from jaxdiff.predictions import Kind
from jaxdiff.schedules import Schedule


def split_output(apply: Apply) -> Apply:
  """Splits the output of a network with twice the channels into (y, v).

  Args:
    apply: the network, (params, xt, t, cond, ...) -> [B, ..., 2 C].
  """

  def split(*args: Any) -> tuple[Array, Array]:
    return tuple(jnp.split(apply(*args), 2, axis=-1))

  return split


def bound_term(
  kind: Kind, schedule: Schedule, num_steps: int
) -> Callable[..., Array]:
  """Builds (y, v, x0, xt, t) -> the term of L_vlb at t = i / T. One example.

  KL(q(xs | xt, x0) || p(xs | xt)) with s = t - 1 / T; for s = 0, -log p(x0 |
  xt) with the 256 values of a pixel.

  Returns:
    The function; its value is a scalar in bits/dim.
  """
  posterior = processes.gaussian(schedule).posterior

  def term(y: Array, v: Array, x0: Array, xt: Array, t: Array) -> Array:
    # An exact 0 rather than t - 1 / T: it marks the last step.
    s = (jnp.round(t * num_steps) - 1.0) / num_steps
    last = s == 0
    x0_hat = predictions.to_x0(kind, schedule, y, xt, t)
    mean, var = posterior(xt, x0, t, s)
    mean_hat, _ = posterior(xt, x0_hat, t, s)
    log_var = processes.interpolated_log_variance(schedule, v, t, s)
    # Both branches of a where are differentiated: keep the dead one finite.
    var = jnp.where(last, 1.0, var)
    kl = normal.kl(mean, var, mean_hat, jnp.exp(log_var))
    alpha = schedule(0.0).alpha
    std = jnp.exp(0.5 * log_var) / alpha
    decoder = normal.discretized_log_likelihood(x0, mean_hat / alpha, std)
    return jnp.mean(jnp.where(last, -decoder, kl)) / math.log(2.0)

  return term


def hybrid(
  apply: Apply,
  schedule: Schedule,
  kind: Kind,
  num_steps: int,
  *,
  vlb_scale: float = 1e-3,
) -> Loss:
  """Builds L_hybrid = L_simple + vlb_scale L_vlb.

  The gradient of L_vlb reaches v alone: its prediction is stopped. L_simple is
  the mean squared error of `kind`.

  Args:
    apply: the network, (params, xt, t, cond, dropout_keys) -> (y, v); see
      `split_output`.
    kind: what y is.
    num_steps: T, of the bound and of the grid of times.
    vlb_scale: lambda, for L_vlb in bits/dim; times T, of a single term. (The
      official code's 'rescaled' loss is 1e-3; its unrescaled one, 1 / T.)

  Returns:
    A Loss with metrics 'simple' and 'vlb', [B].

  Source: iDDPM eq. 16.
  """
  number('vlb_scale', vlb_scale, '[0, inf)')
  corrupt = losses.corruption(schedule, kind, grid(num_steps))
  term = bound_term(kind, schedule, num_steps)

  def loss(params: Any, keys: Array, batch: Batch) -> LossValue:
    xt, t, target, dropout_keys = corrupt(keys, batch)
    y, v = apply(params, xt, t, batch.get('cond', {}), dropout_keys)
    simple = jnp.mean(jnp.square(y - target), axis=range(1, y.ndim))
    still = jax.lax.stop_gradient(y)
    vlb = num_steps * jax.vmap(term)(still, v, batch['x0'], xt, t)
    return simple + vlb_scale * vlb, {'simple': simple, 'vlb': vlb}

  return loss


def variational(
  apply: Apply, schedule: Schedule, kind: Kind, num_steps: int
) -> Loss:
  """Builds L_vlb alone, in bits/dim, for prediction and variance together.

  Its terms differ by orders of magnitude over t. On a table of betas it is
  `elbo.variational` of `gaussian(schedule, 'learned')`. The arguments are those
  of `hybrid`.
  """
  corrupt = losses.corruption(schedule, kind, grid(num_steps))
  term = bound_term(kind, schedule, num_steps)

  def loss(params: Any, keys: Array, batch: Batch) -> LossValue:
    xt, t, _, dropout_keys = corrupt(keys, batch)
    y, v = apply(params, xt, t, batch.get('cond', {}), dropout_keys)
    return num_steps * jax.vmap(term)(y, v, batch['x0'], xt, t), {}

  return loss
