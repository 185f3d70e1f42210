"""The public functions with their types: mypy checks this file, in CI."""

import jax
import jax.numpy as jnp
from jax import Array

from jaxdiff import (
  config,
  editing,
  guidance,
  losses,
  models,
  parallel,
  predictions,
  processes,
  runs,
  samplers,
  schedules,
  training,
)
from jaxdiff.generation.from_flags import draw
from jaxdiff.losses import Loss
from jaxdiff.models import Model
from jaxdiff.predictions import Kind
from jaxdiff.processes import Process
from jaxdiff.samplers import Denoiser, Solver, Step
from jaxdiff.schedules import NoiseLevel, Schedule


def own_schedule(t: Array) -> NoiseLevel:
  return NoiseLevel(1 - t, t)


def mathematics(params: float) -> Array:
  schedule: Schedule = schedules.cosine()
  process: Process = processes.gaussian(schedule)
  kind: Kind = predictions.eps

  def apply(params: float, xt: Array, t: Array, cond: object) -> Array:
    return params * xt

  denoiser: Denoiser = samplers.denoiser(apply, kind, schedule, params=params)
  denoiser = guidance.clip(denoiser)
  prior_keys, keys = samplers.sample_keys(seed=0, index=jnp.arange(4))
  x = jax.vmap(lambda key: process.prior(key, (8, 8, 1)))(prior_keys)
  step: Step = samplers.ddim(schedule, eta=0.0)
  solver: Solver = samplers.unipc(schedule)
  times = samplers.uniform_times(20)
  first: Array = samplers.sample(step, denoiser, keys, x, times)
  second: Array = samplers.sample(solver, denoiser, keys, x, times)
  loss: Loss = losses.denoising(apply, schedule, kind)
  per_example, metrics = loss(params, keys, {'x0': first})
  return second + per_example.mean() + metrics.get('loss', jnp.zeros(()))


def from_a_run(workdir: str) -> list[object]:
  run = runs.load(workdir, parallel.local_mesh())
  model: Model = models.make(run.config, run.spec)
  assert model.process is not None
  print(config.describe(run.config, run.spec), training, editing)
  return draw(workdir, num=4, seed=0)
