"""Losses of flow maps: shortcut models and MeanFlow.

A flow map takes xt along the probability-flow ODE to s <= t in one step. The
network is told s, `cond['s']` [B], beside t; where it is not told, s = t. Its
output, turned into x0, is the estimate with which DDIM's step from t to s
arrives (`samplers.flow_map`). At s = t that is E[x0 | xt], as in any other
model.

Every schedule is a rectified flow of z = xt / (alpha + sigma) in the time tau =
sigma / (alpha + sigma). There the step is z_s = z_t - (tau_t - tau_s) u, and u,
the average velocity, is eps - x0 of the network's output.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jaxdiff import predictions
from jaxdiff.checks import number, whole
from jaxdiff.losses.regression import (
  Apply,
  Batch,
  Loss,
  LossValue,
  Noisy,
  corruption,
)
from jaxdiff.losses.time_sampling import Times, continuous
from jaxdiff.predictions import Kind
from jaxdiff.samplers.exponential import advance
from jaxdiff.schedules import Schedule


def flow_velocity(schedule: Schedule, t: Array) -> tuple[Array, Array]:
  """The kind eps - x0, the velocity of a rectified flow on any schedule."""
  del schedule
  return -jnp.ones_like(t), jnp.ones_like(t)


def flow_time(schedule: Schedule, t: Array) -> Array:
  """Computes tau = sigma / (alpha + sigma), from 0 to 1."""
  alpha, sigma = schedule(t)
  return sigma / (alpha + sigma)


def average_velocity(
  apply: Apply, schedule: Schedule, kind: Kind
) -> Callable[..., Array]:
  """Builds (params, xt, t, cond, dropout_keys) -> u, with cond['s']. [B, ...]

  The arguments are those of `denoising`.
  """

  def average(params: Any, xt: Array, t: Array, *args: Any) -> Array:
    y = apply(params, xt, t, *args)
    one = lambda y, xt, t: predictions.convert(
      kind, flow_velocity, schedule, y, xt, t
    )
    return jax.vmap(one)(y, xt, t)

  return average


def mean_flow(
  apply: Apply,
  schedule: Schedule,
  kind: Kind,
  times: Times | None = None,
  fraction: float = 0.25,
  power: float = 1.0,
  offset: float = 1e-3,
  improved: bool = False,
) -> Loss:
  """Builds MeanFlow's loss, from the derivative of the average velocity.

    |u - stop_gradient(v - (tau_t - tau_s) du/dtau)|^2,  v = eps - x0,

  with du/dtau along the path, one JVP of the network through (xt, t). At s = t
  it is flow matching. |d|^2, the sum over an example, is divided by
  stop_gradient(|d|^2 + offset)^power, so that no example has a large gradient.

  Args:
    apply: the network, which reads cond['s'].
    schedule, kind: as in `denoising`.
    times: of t and of s, whichever is later being t.
    fraction: of the examples with s < t; the paper has 1/4 for ImageNet and 3/4
      for CIFAR-10.
    power: 0 is the squared error.
    offset: see above.
    improved: the derivative is along the model's own velocity, u at s = t, and
      not along that of one pair (x0, eps), whose variance it has.

  Returns:
    The loss. metrics: 'squared_error', the mean over numbers.

  Source: Geng et al. 2025 (arXiv:2505.13447), algorithm 1 and equation 22;
  `improved`, Geng et al. 2025 (arXiv:2512.02012), without its second head.
  """
  number('fraction', fraction, '[0, 1]')
  number('power', power, '[0, inf)')
  number('offset', offset, '(0, inf)')
  average = average_velocity(apply, schedule, kind)

  def along(velocity: Array, xt: Array, t: Array) -> tuple[Array, Array]:
    """The derivatives of xt and of t by tau."""
    one = jnp.ones_like(t)
    rate = jax.jvp(lambda t: flow_time(schedule, t), (t,), (one,))[1]
    dx = predictions.convert(
      flow_velocity, predictions.velocity, schedule, velocity, xt, t
    )
    return dx / rate, one / rate

  def loss(params: Any, keys: Array, batch: Batch) -> LossValue:
    keys, time_keys, second_keys, which_keys = _split(keys, 4)
    t = _first_times(times, time_keys, batch)
    other = _first_times(times, second_keys, {})
    apart = _draw(which_keys, fraction)
    s = jnp.where(apart, jnp.minimum(t, other), t)
    t = jnp.where(apart, jnp.maximum(t, other), t)
    xt, t, v, dropout_keys = _corrupted(schedule, keys, batch, t)

    def u(xt: Array, t: Array, s: Array = s) -> Array:
      cond = {**batch.get('cond', {}), 's': s}
      return average(params, xt, t, cond, dropout_keys)

    path = jax.lax.stop_gradient(u(xt, t, t)) if improved else v
    value, derivative = jax.jvp(u, (xt, t), jax.vmap(along)(path, xt, t))

    def one(u: Array, du: Array, v: Array, t: Array, s: Array) -> LossValue:
      left = flow_time(schedule, t) - flow_time(schedule, s)
      square = jnp.square(u - jax.lax.stop_gradient(v - left * du))
      total = jnp.sum(square)
      weight = jax.lax.stop_gradient(total + offset) ** -power
      return weight * total, {'squared_error': jnp.mean(square)}

    return jax.vmap(one)(value, derivative, v, t, s)

  return loss


def shortcut(
  apply: Apply,
  schedule: Schedule,
  kind: Kind,
  times: Times | None = None,
  fraction: float = 0.25,
  finest: int = 128,
) -> Loss:
  """Builds the loss of shortcut models: one step is two of half the length.

  A `fraction` of the examples has t and s on a grid of 1, 2, 4, ... finest / 2
  steps, and the target of u is the average velocity of two of the network's own
  steps, without gradient. Steps of length 1 / finest are those at s = t. The
  others have s = t and the target eps - x0.

  Args:
    apply, schedule, kind: as in `mean_flow`.
    times: of t where s = t.
    fraction: see above.
    finest: a power of two.

  Source: Frans et al. 2024 (arXiv:2410.12557), algorithm 1; theirs makes the
  target with averaged weights.
  """
  number('fraction', fraction, '[0, 1]')
  whole('finest', finest, 2)
  if finest & (finest - 1):
    raise ValueError(f'finest must be a power of two, got {finest}')
  average = average_velocity(apply, schedule, kind)

  def on_grid(key: Array) -> tuple[Array, Array]:
    level_key, place_key = jax.random.split(key)
    level = jax.random.randint(level_key, (), 0, finest.bit_length() - 1)
    place = jax.random.randint(place_key, (), 0, 2**level)
    return (place + 1.0) / 2**level, place / 2**level

  def loss(params: Any, keys: Array, batch: Batch) -> LossValue:
    keys, time_keys, grid_keys, which_keys = _split(keys, 4)
    halved = _draw(which_keys, fraction)
    t = _first_times(times, time_keys, batch)
    start, end = jax.vmap(on_grid)(grid_keys)
    s, t = jnp.where(halved, end, t), jnp.where(halved, start, t)
    xt, t, v, dropout_keys = _corrupted(schedule, keys, batch, t)

    def u(x: Array, t: Array, s: Array) -> Array:
      cond = {**batch.get('cond', {}), 's': s}
      return average(params, x, t, cond, dropout_keys)

    def step(x: Array, t: Array, s: Array) -> Array:
      told = jnp.where((t - s) * finest < 1.5, t, s)
      return jax.vmap(move)(x, u(x, t, told), t, s)

    middle = 0.5 * (t + s)
    two = step(step(xt, t, middle), middle, s)

    def one(u, v, xt, xs, t, s):
      length = flow_time(schedule, t) - flow_time(schedule, s)
      z = lambda x, t: x / sum(schedule(t))
      mean = (z(xt, t) - z(xs, s)) / jnp.where(length > 0, length, 1.0)
      target = jax.lax.stop_gradient(jnp.where(length > 0, mean, v))
      return jnp.mean(jnp.square(u - target))

    return jax.vmap(one)(u(xt, t, s), v, xt, two, t, s), {}

  def move(xt: Array, u: Array, t: Array, s: Array) -> Array:
    """One step of an example by the average velocity."""
    x0 = predictions.to_x0(flow_velocity, schedule, u, xt, t)
    return jnp.where(t == s, xt, advance(schedule, xt, x0, t, s))

  return loss


def _first_times(times: Times | None, keys: Array, batch: Batch) -> Array:
  """Draws t, by the batch's positions where it has them. [B]"""
  u = batch['u'] if 'u' in batch else jax.vmap(jax.random.uniform)(keys)
  return (times or continuous())(u)


def _corrupted(
  schedule: Schedule, keys: Array, batch: Batch, t: Array
) -> Noisy:
  """Corrupts a batch to times t; the target is the velocity eps - x0."""
  corrupt = corruption(schedule, flow_velocity, lambda u: t)
  return corrupt(keys, {**batch, 'u': t})


def _draw(keys: Array, fraction: float) -> Array:
  """Draws true for a fraction of the examples. [B]"""
  return jax.vmap(lambda key: jax.random.bernoulli(key, fraction))(keys)


def _split(keys: Array, num: int) -> tuple[Array, ...]:
  # A tuple from inside vmap: slices of one array of keys count as its reuse.
  return jax.vmap(lambda key: tuple(jax.random.split(key, num)))(keys)
