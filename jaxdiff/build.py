"""The functions that a configuration stands for, put together.

What its names stand for is in `choices`.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jax.sharding import Mesh

from jaxdiff import config as configs
from jaxdiff import (
  edits,
  losses,
  parallel,
  predictions,
  processes,
  samplers,
  training,
)
from jaxdiff.checkpoints import Checkpoints, run_config
from jaxdiff.choices import (
  POSITIONS,
  PREDICTIONS,
  SAMPLERS,
  SCHEDULES,
  THRESHOLDS,
  TIMES,
  pick,
)
from jaxdiff.config import Config
from jaxdiff.losses import times
from jaxdiff.networks.unet import UNet
from jaxdiff.schedules import Schedule


def make_schedule(config: Config) -> Schedule:
  """The noise levels of the diffusion."""
  make = pick(SCHEDULES, config.diffusion.schedule, 'diffusion.schedule')
  return make(config.diffusion.num_steps)


def make_kind(config: Config) -> predictions.Kind:
  """What the network predicts.

  Raises:
    ValueError: unknown, or it says nothing of x0 where the schedule ends.
  """
  name = config.diffusion.prediction
  kind = pick(PREDICTIONS, name, 'diffusion.prediction')
  schedule = make_schedule(config)
  (a, b), (alpha, sigma) = kind(schedule, 1.0), schedule(1.0)
  if alpha * b == sigma * a:
    raise ValueError(
      f'diffusion.prediction={name} says nothing of the data at t = 1 of '
      f'diffusion.schedule={config.diffusion.schedule}, where no signal is '
      'left: use v, velocity or x0'
    )
  return kind


def make_network(config: Config, image_shape: Sequence[int]) -> UNet:
  """The denoising network for images [H, W, C]."""
  return UNet(
    out_channels=image_shape[-1],
    **{
      **dataclasses.asdict(config.network),
      'dtype': jnp.dtype(config.network.dtype),
    },
  )


def make_apply(network: UNet, schedule: Schedule) -> losses.Apply:
  """(params, xt, t, cond, dropout_key=None) -> prediction.

  The network is given xt / sqrt(alpha^2 + sigma^2), of about unit size on
  every schedule, and xt itself where variance is preserved. (EDM, Karras et
  al. 2022, c_in, for data of unit size.)
  """

  def apply(
    params: Any, xt: Array, t: Array, cond: Any, dropout_key: Any = None
  ) -> Array:
    train = dropout_key is not None
    rngs = {'dropout': dropout_key} if train else None
    # Data may have labels that the network has no use for.
    cond = None if network.num_classes is None else cond
    size = jnp.hypot(*schedule(t)).reshape(-1, *[1] * (xt.ndim - 1))
    return network.apply(
      {'params': params}, xt / size, t, cond, train=train, rngs=rngs
    )

  return apply


def make_optimizer(config: Config) -> optax.GradientTransformation:
  """Clip, Adam or AdamW, warm-up and decay over training.num_steps."""
  c, total = config.optimizer, config.training.num_steps
  if total < 1:
    raise ValueError(f'training.num_steps must be at least 1, got {total}')
  if c.warmup_steps >= total:
    raise ValueError(
      f'optimizer.warmup_steps={c.warmup_steps} leaves nothing of '
      f'training.num_steps={total}'
    )
  decay_steps = total - c.warmup_steps
  rate = {
    'constant': optax.constant_schedule(c.learning_rate),
    'cosine': optax.cosine_decay_schedule(c.learning_rate, decay_steps),
    'linear': optax.linear_schedule(c.learning_rate, 0.0, decay_steps),
  }[c.schedule]
  if c.warmup_steps:
    warmup = optax.linear_schedule(0.0, c.learning_rate, c.warmup_steps)
    rate = optax.join_schedules([warmup, rate], [c.warmup_steps])
  clip = optax.clip_by_global_norm(c.clip_norm) if c.clip_norm else None
  adam = {
    'adam': optax.adam(rate, c.b1, c.b2, c.eps),
    'adamw': optax.adamw(rate, c.b1, c.b2, c.eps, weight_decay=c.weight_decay),
  }[c.name]
  return optax.chain(clip, adam) if clip else adam


def make_sampler(
  config: Config,
  image_shape: Sequence[int],
  *,
  edit: edits.Edit | None = None,
  trajectory: bool = False,
) -> Callable[..., Array]:
  """draw(params, options, index[B]) -> images [B, H, W, C] in [-1, 1].

  options: {'seed', 'eta'} and the images of an edit, traced. Image i depends
  on these and on i alone. With `trajectory`, all the xt on the way:
  [B, steps + 1, H, W, C]; not of an edit.
  """
  c = config.sampling
  schedule = make_schedule(config)
  kind = make_kind(config)
  process = processes.gaussian(schedule)
  grid = pick(TIMES, c.times, 'sampling.times')(c.steps, schedule)
  threshold = pick(THRESHOLDS, c.threshold, 'sampling.threshold')
  make_step = pick(SAMPLERS, c.sampler, 'sampling.sampler')
  apply = make_apply(make_network(config, image_shape), schedule)
  prior = partial(process.prior, shape=tuple(image_shape))

  def draw(
    params: Any, options: Mapping[str, Array], index: Array, axis_name=None
  ) -> Array:
    del axis_name  # each sample is its own
    prior_keys, step_keys = samplers.sample_keys(options['seed'], index)
    denoiser = threshold(samplers.denoiser(apply, kind, schedule, params))
    step = make_step(
      schedule, config.diffusion.variance, options['eta'], c.steps
    )
    if edit:
      parts = edits.Parts(
        schedule, process, step, denoiser, grid, prior_keys, step_keys
      )
      return edit(parts, options, index)
    x_init = jax.vmap(prior)(prior_keys)
    x = samplers.sample(
      step, denoiser, step_keys, x_init, grid, trajectory=trajectory
    )
    return jnp.moveaxis(x, 1, 0) if trajectory else x

  return draw


def make_task(config: Config, image_shape: Sequence[int]) -> training.Task:
  """Everything train.py needs, for images [H, W, C]."""
  c, schedule = config.diffusion, make_schedule(config)
  network = make_network(config, image_shape)
  optimizer = make_optimizer(config)
  kind = make_kind(config)
  sample_times = {
    'continuous': times.continuous(),
    'grid': times.grid(c.num_steps),
  }[c.times]
  loss = losses.denoising(
    make_apply(network, schedule),
    schedule,
    kind,
    space=pick(PREDICTIONS, c.loss, 'diffusion.loss') if c.loss else None,
    times=sample_times,
  )
  step = training.make_train_step(
    loss,
    optimizer,
    decay=config.training.ema_decay,
    accumulate=config.training.accumulate,
    positions=POSITIONS[c.positions],
  )

  def init(key: Array) -> training.TrainState:
    init_key, key = jax.random.split(key)
    xt, t = jnp.zeros((1, *image_shape)), jnp.zeros(1)
    params = network.init(init_key, xt, t)['params']
    return training.init_state(params, optimizer, key)

  return training.Task(init, step, make_sampler(config, image_shape))


def options(config: Config) -> dict[str, Any]:
  """What a sampler takes as traced values: changing one never recompiles."""
  return {'seed': config.seed, 'eta': config.sampling.eta}


class Run(NamedTuple):
  """What a workdir holds."""

  config: Config
  image_shape: tuple[int, ...]
  step: int
  params: Any


def load_run(
  workdir: str | Path,
  mesh: Mesh,
  *,
  checkpoint: int | None = None,
  ema: bool = True,
) -> Run:
  """A trained model, its weights on every device of the mesh.

  Args:
    workdir: of train.py.
    mesh: from `parallel.make_mesh`.
    checkpoint: the step; None for the newest good one.
    ema: the averaged weights.

  Raises:
    FileNotFoundError: no run there, or no checkpoint yet.
    DamagedCheckpointError: none that can be trusted.
  """
  config, image_shape = configs.undescribe(run_config.load_config(workdir))
  task = make_task(config, image_shape)
  abstract = jax.eval_shape(task.init, jax.random.key(0))
  sharding = parallel.state_sharding(abstract, mesh)
  restored = Checkpoints(workdir).restore(
    parallel.placed(abstract, sharding), checkpoint
  )
  if restored is None:
    raise FileNotFoundError(f'{workdir} holds no checkpoint yet: train first')
  step, state = restored
  params = state.ema_params if ema else state.params
  return Run(config, image_shape, step, params)
