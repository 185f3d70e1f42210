"""Progressive distillation: one step of the student is two of its teacher."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jaxdiff import predictions
from jaxdiff.checks import whole
from jaxdiff.losses.consistency import Teacher
from jaxdiff.losses.regression import (
  Apply,
  Batch,
  Loss,
  LossValue,
  corruption,
  weight,
)
from jaxdiff.losses.time_sampling import grid
from jaxdiff.losses.weightings import Weighting
from jaxdiff.predictions import Kind
from jaxdiff.samplers.exponential import advance, decay
from jaxdiff.schedules import Schedule


def progressive(
  apply: Apply,
  schedule: Schedule,
  kind: Kind,
  teacher: Teacher,
  steps: int,
  substeps: int = 2,
  space: Kind | None = None,
  weighting: Weighting | None = None,
) -> Loss:
  """Builds the loss of a student of N steps of DDIM.

  From t on its grid of N even steps the teacher takes `substeps` steps of DDIM
  to xs, s = t - 1 / N. The target is the x0 with which one step of DDIM arrives
  there,

    x0 = (xs - (sigma_s / sigma_t) xt) / (alpha_s (1 - e^-h)),

  in the place of the data in `denoising`. It is computed as the mean of the
  teacher's estimates that it is, without the difference.

  Args:
    apply, schedule, kind, space, weighting: as in `denoising`. The paper has
      `weightings.truncated_snr` and `weightings.v`.
    teacher: makes a Denoiser of conditions, for steps of 1 / (N substeps).
    steps: N; a student of N is the teacher of one of N / 2.
    substeps: 2 in the paper; more skip students in between.

  Source: Salimans and Ho 2022 (arXiv:2202.00512), algorithm 2.
  """
  whole('steps', steps, 1)
  whole('substeps', substeps, 1)
  corrupt = corruption(schedule, predictions.eps, grid(steps))
  weight_at = weight(schedule, kind, space=space, weighting=weighting)

  def step(
    xs: Array, mean: Array, total: Array, x0: Array, t: Array, s: Array
  ) -> tuple[Array, Array, Array]:
    now, then = schedule(t), schedule(s)
    kept = then.sigma / now.sigma
    gained = then.alpha * (1.0 - decay(now, then))
    xs = advance(schedule, xs, x0, t, s)
    return xs, kept * mean + gained * x0, kept * total + gained

  def loss(params: Any, keys: Array, batch: Batch) -> LossValue:
    xt, t, _, dropout_keys = corrupt(keys, batch)
    cond = batch.get('cond', {})
    # The grid's own numbers: s is 0 exactly in the last step.
    place = jnp.round(t * steps) * substeps
    time = lambda i: (place - i) / (steps * substeps)
    xs, mean, total = xt, jnp.zeros_like(xt), jnp.zeros_like(t)
    denoise = teacher(cond)
    for i in range(substeps):
      x0 = denoise(xs, time(i))
      xs, mean, total = jax.vmap(step)(
        xs, mean, total, x0, time(i), time(i + 1)
      )
    y = apply(params, xt, t, cond, dropout_keys)

    def one(y: Array, xt: Array, mean: Array, total: Array, t: Array) -> Array:
      now, x0 = schedule(t), mean / total
      eps = (xt - now.alpha * x0) / now.sigma
      target = predictions.target(kind, schedule, x0, eps, t)
      return weight_at(t) * jnp.mean(jnp.square(y - target))

    mean = jax.lax.stop_gradient(mean)
    return jax.vmap(one)(y, xt, mean, total, t), {}

  return loss
