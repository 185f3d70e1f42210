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

  in the place of the data in `denoising`.

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
  step = jax.vmap(lambda *args: advance(schedule, *args))

  def loss(params: Any, keys: Array, batch: Batch) -> LossValue:
    xt, t, _, dropout_keys = corrupt(keys, batch)
    cond = batch.get('cond', {})
    # The grid's own numbers: s is 0 exactly in the last step.
    place = jnp.round(t * steps) * substeps
    time = lambda i: (place - i) / (steps * substeps)
    xs, denoise = xt, teacher(cond)
    for i in range(substeps):
      xs = step(xs, denoise(xs, time(i)), time(i), time(i + 1))
    y = apply(params, xt, t, cond, dropout_keys)

    def one(y: Array, xt: Array, xs: Array, t: Array, s: Array) -> Array:
      now, then = schedule(t), schedule(s)
      gained = then.alpha * (1.0 - decay(now, then))
      x0 = (xs - then.sigma / now.sigma * xt) / gained
      eps = (xt - now.alpha * x0) / now.sigma
      target = predictions.target(kind, schedule, x0, eps, t)
      return weight_at(t) * jnp.mean(jnp.square(y - target))

    target_of = jax.lax.stop_gradient(xs)
    return jax.vmap(one)(y, xt, target_of, t, time(substeps)), {}

  return loss
