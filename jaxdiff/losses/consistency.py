"""Losses of consistency models: training, and distillation of a teacher.

A consistency model takes every xt of a path of the probability-flow ODE to its
end, x0. It is the network's prediction, turned into x0, which at t = 0 is xt
itself for every prediction but x0; `samplers.lcm` draws from it.
"""

from collections.abc import Callable, Mapping
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
  clean_apply,
  corruption,
)
from jaxdiff.losses.time_sampling import Times, log_normal
from jaxdiff.predictions import Kind
from jaxdiff.samplers import Denoiser
from jaxdiff.samplers.exponential import advance
from jaxdiff.schedules import Schedule, inverse

Teacher = Callable[[Mapping[str, Array]], Denoiser]  # cond -> Denoiser
MOST_NOISE = 1e4  # sigma / alpha, which is infinite at the end of a flow


def consistency(
  apply: Apply,
  schedule: Schedule,
  kind: Kind,
  times: Times | None = None,
  every: int = 1000,
  stages: int = 8,
  q: float = 2.0,
  k: float = 8.0,
  b: float = 1.0,
  delta: float | None = None,
) -> Loss:
  """Builds the loss of consistency training.

  With rho = sigma / alpha and d the difference of the estimates at xt and, with
  the same noise, at the less noisy xs, the latter without gradient,

    (sqrt(|d|^2 + delta^2) - delta) / (rho_t - rho_s)
    rho_s = rho_t max(0, 1 - q^-(stage + 1) (1 + k sigmoid(-b rho_t))).

  The stage goes up by one in `every` steps of batch['step']; the first ones
  have s = 0 nearly everywhere, where this is denoising.

  Args:
    apply, schedule, kind: as in `denoising`.
    times: None is `log_normal(schedule, -1.1, 2)`.
    every: see above.
    stages: the last one stays.
    q, k, b: see above.
    delta: None is 0.00054 sqrt(D), D the numbers in an example.

  Raises:
    ValueError: a network that predicts x0, which is not xt at t = 0.

  Source: ECT (Geng et al. 2024, arXiv:2406.14548), section 4, with the times of
  its code; delta, iCT (Song and Dhariwal 2023, arXiv:2310.14189), section 3.3.
  """

  def one(x0: Array, eps: Array, s: Array) -> Array:
    alpha, sigma = schedule(s)
    return alpha * x0 + sigma * eps

  def less_noisy(
    batch: Batch, xt: Array, eps: Array, t: Array, s: Array
  ) -> Array:
    del xt, t
    return jax.vmap(one)(batch['x0'], eps, s)

  return _loss(
    *(apply, schedule, kind, times, less_noisy),
    *(every, stages, q, k, b, delta),
  )


def distillation(
  apply: Apply,
  schedule: Schedule,
  kind: Kind,
  teacher: Teacher,
  times: Times | None = None,
  every: int = 1000,
  stages: int = 8,
  q: float = 2.0,
  k: float = 8.0,
  b: float = 1.0,
  delta: float | None = None,
) -> Loss:
  """Builds `consistency` with xs by a step of DDIM from xt.

  Args:
    teacher: makes the Denoiser of that step of conditions.

  Source: Song et al. 2023 (arXiv:2303.01469), algorithm 2, without averaged
  weights and with the step of LCM (Luo et al. 2023, arXiv:2310.04378).
  """

  def step(xt: Array, x0: Array, t: Array, s: Array) -> Array:
    return advance(schedule, xt, x0, t, s)

  def less_noisy(
    batch: Batch, xt: Array, eps: Array, t: Array, s: Array
  ) -> Array:
    del eps
    return jax.vmap(step)(xt, teacher(batch.get('cond', {}))(xt, t), t, s)

  return _loss(
    *(apply, schedule, kind, times, less_noisy),
    *(every, stages, q, k, b, delta),
  )


def _loss(
  apply: Apply,
  schedule: Schedule,
  kind: Kind,
  times: Times | None,
  less_noisy: Callable[..., Array],  # (batch, xt, eps, t, s) -> xs
  every: int,
  stages: int,
  q: float,
  k: float,
  b: float,
  delta: float | None,
) -> Loss:
  whole('every', every, 1)
  whole('stages', stages, 1)
  number('q', q, '(1, inf)')
  number('k', k, '[0, inf)')
  number('b', b, '(0, inf)')
  if delta is not None:
    number('delta', delta, '(0, inf)')
  if kind is predictions.x0:
    raise ValueError('the estimate at t = 0 must be xt, and with x0 it is not')
  corrupt = corruption(
    schedule, predictions.eps, times or log_normal(schedule, -1.1, 2.0)
  )
  clean = clean_apply(apply, kind, schedule)

  def noise(t: Array) -> Array:
    alpha, sigma = schedule(t)
    return sigma / jnp.maximum(alpha, sigma / MOST_NOISE)

  def earlier(t: Array, step: Array) -> Array:
    stage = jnp.minimum(step // every, stages - 1)
    rho = noise(t)
    near = 1.0 - q ** -(stage + 1.0) * (1.0 + k * jax.nn.sigmoid(-b * rho))
    return inverse(schedule, -2.0 * jnp.log(rho * jnp.maximum(near, 0.0)))

  def loss(params: Any, keys: Array, batch: Batch) -> LossValue:
    xt, t, eps, dropout_keys = corrupt(keys, batch)
    cond = batch.get('cond', {})
    last = jnp.full(t.shape, every * stages)
    s = jax.vmap(earlier)(t, batch.get('step', last))
    xs = less_noisy(batch, xt, eps, t, s)
    target = jax.lax.stop_gradient(clean(params, xs, s, cond, dropout_keys))
    x0 = clean(params, xt, t, cond, dropout_keys)

    def one(x0: Array, target: Array, t: Array, s: Array) -> Array:
      size = 0.00054 * x0.size**0.5 if delta is None else delta
      square = jnp.sum(jnp.square(x0 - target))
      # The difference of the roots, without cancellation.
      error = square / (jnp.sqrt(square + size**2) + size)
      # Both are the last level of a schedule that is cut off.
      return error / jnp.maximum(noise(t) - noise(s), 1e-6)

    return jax.vmap(one)(x0, target, t, s), {}

  return loss
