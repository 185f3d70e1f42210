"""Configurations, and the functions they stand for.

A configuration is a frozen dataclass of numbers and names. This is the only
module that knows it: the rest of the library is given functions. A name is
looked up in one of the dictionaries below; a new schedule or sampler is one
new line in one of them.
"""

import argparse
import dataclasses
import json
import runpy
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import optax
import tyro
from jax import Array

from jaxdiff import (
  guidance,
  losses,
  predictions,
  processes,
  samplers,
  schedules,
  times,
  training,
)
from jaxdiff.networks.unet import UNet
from jaxdiff.schedules import Schedule


@dataclass(frozen=True)
class Data:
  """What to train on."""

  name: str = 'digits'  # digits | tfds:<name> | folder:<path>
  image_size: int | None = None  # a folder's images are cut to this
  flip: bool = False  # mirror half of the images
  data_dir: str | None = None  # where prepared sets lie


@dataclass(frozen=True)
class Diffusion:
  """The process, what the network predicts, and the loss."""

  schedule: str = 'cosine'
  num_steps: int = 1000  # T, of the schedules that are tables of betas
  prediction: str = 'v'
  loss: str | None = None  # the error is measured in this; None: prediction
  times: Literal['continuous', 'grid'] = 'continuous'
  positions: Literal['independent', 'stratified', 'antithetic'] = 'stratified'
  variance: Literal['small', 'large'] = 'small'


@dataclass(frozen=True)
class Network:
  """The U-Net."""

  channels: int = 128
  channel_mults: tuple[int, ...] = (1, 2, 2, 2)
  num_res_blocks: int = 2
  attention_resolutions: tuple[int, ...] = (16,)
  num_heads: int = 1
  head_channels: int | None = None
  dropout: float = 0.0
  scale_shift_norm: bool = False
  resblock_updown: bool = False
  dtype: Literal['float32', 'bfloat16'] = 'float32'
  remat: bool = False


@dataclass(frozen=True)
class Optimizer:
  """An optax chain: clip by global norm, Adam, learning-rate schedule."""

  name: Literal['adam', 'adamw'] = 'adam'
  learning_rate: float = 2e-4
  schedule: Literal['constant', 'cosine', 'linear'] = 'constant'
  warmup_steps: int = 0
  clip_norm: float | None = 1.0
  b1: float = 0.9
  b2: float = 0.999
  eps: float = 1e-8
  weight_decay: float = 0.0


@dataclass(frozen=True)
class Training:
  num_steps: int = 1000
  batch_size: int = 128  # over all devices and hosts
  accumulate: int = 1  # microbatches a step is cut into
  ema_decay: float = 0.9999
  log_every: int = 50
  preview_every: int = 500


@dataclass(frozen=True)
class Sampling:
  """How train.py draws its pictures, and what sample.py does unless told."""

  sampler: str = 'ddim'
  steps: int = 50
  eta: float = 0.0  # ddim: 0 deterministic, 1 ancestral
  times: str = 'uniform'
  threshold: str = 'clip'  # of the denoised estimate
  num: int = 64


@dataclass(frozen=True)
class Checkpoint:
  every: int = 500
  max_to_keep: int = 3
  keep_every: int | None = None


@dataclass(frozen=True)
class Parallel:
  mode: Literal['jit', 'pmap'] = 'jit'
  fsdp: int = 1  # devices each parameter is divided over
  coordinator: str | None = None  # several hosts: 'auto', or host:port
  num_processes: int | None = None
  process_id: int | None = None


@dataclass(frozen=True)
class Config:
  """Train a diffusion model. The flags start from the file of --config."""

  config: str = 'configs/digits.py'
  workdir: str = 'runs/digits'
  seed: int = 0
  data: Data = field(default_factory=Data)
  diffusion: Diffusion = field(default_factory=Diffusion)
  network: Network = field(default_factory=Network)
  optimizer: Optimizer = field(default_factory=Optimizer)
  training: Training = field(default_factory=Training)
  sampling: Sampling = field(default_factory=Sampling)
  checkpoint: Checkpoint = field(default_factory=Checkpoint)
  parallel: Parallel = field(default_factory=Parallel)


# A run may be continued with other values of anything but these.
FIXED = ('seed', 'data', 'diffusion', 'network', 'optimizer')

SCHEDULES: dict[str, Callable[[int], Schedule]] = {
  'cosine': lambda num_steps: schedules.cosine(),
  'linear_vp': lambda num_steps: schedules.linear_vp(),
  'linear_betas': lambda num_steps: schedules.from_betas(
    schedules.linear_betas(num_steps)
  ),
  'scaled_linear_betas': lambda num_steps: schedules.from_betas(
    schedules.scaled_linear_betas(num_steps)
  ),
  'cosine_betas': lambda num_steps: schedules.from_betas(
    schedules.cosine_betas(num_steps)
  ),
  'sigmoid_betas': lambda num_steps: schedules.from_betas(
    schedules.sigmoid_betas(num_steps)
  ),
}

PREDICTIONS: dict[str, predictions.Kind] = {
  'x0': predictions.x0,
  'eps': predictions.eps,
  'v': predictions.v,
  'velocity': predictions.velocity,
  'score': predictions.score,
  'edm': predictions.edm(),
}

# (schedule, variance, eta) -> Step
SAMPLERS: dict[str, Callable[..., samplers.Step]] = {
  'ancestral': lambda schedule, variance, eta: samplers.ancestral(
    processes.gaussian(schedule, variance)
  ),
  'ddim': lambda schedule, variance, eta: samplers.ddim(schedule, eta),
}

TIMES: dict[str, Callable[[int], Any]] = {
  'uniform': samplers.uniform_times,
  'quadratic': samplers.quadratic_times,
}

POSITIONS: dict[str, times.Positions] = {
  'independent': times.independent,
  'stratified': times.stratified,
  'antithetic': times.antithetic,
}

THRESHOLDS: dict[str, Callable[[samplers.Denoiser], samplers.Denoiser]] = {
  'none': lambda denoiser: denoiser,
  'clip': guidance.clip,
  'dynamic': guidance.dynamic_threshold,
}


def pick(choices: Mapping[str, Any], name: str, what: str) -> Any:
  """choices[name], or a ValueError that lists them."""
  if name not in choices:
    raise ValueError(f'{what} must be one of {sorted(choices)}, got {name!r}')
  return choices[name]


def make_schedule(config: Config) -> Schedule:
  """The noise levels of the diffusion."""
  make = pick(SCHEDULES, config.diffusion.schedule, 'diffusion.schedule')
  return make(config.diffusion.num_steps)


def make_network(config: Config, image_shape: Sequence[int]) -> UNet:
  """The denoising network for images [H, W, C]."""
  return UNet(
    out_channels=image_shape[-1],
    **{
      **dataclasses.asdict(config.network),
      'dtype': jnp.dtype(config.network.dtype),
    },
  )


def make_apply(network: UNet) -> losses.Apply:
  """(params, xt, t, cond, dropout_key=None) -> prediction."""

  def apply(
    params: Any, xt: Array, t: Array, cond: Any, dropout_key: Any = None
  ) -> Array:
    train = dropout_key is not None
    # Data may have labels that the network has no use for.
    cond = None if network.num_classes is None else cond
    rngs = {'dropout': dropout_key} if train else None
    return network.apply(
      {'params': params}, xt, t, cond, train=train, rngs=rngs
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
  config: Config, image_shape: Sequence[int], *, trajectory: bool = False
) -> Callable[..., Array]:
  """draw(params, options, index[B]) -> images [B, H, W, C] in [-1, 1].

  options: {'seed', 'eta'}, traced. Image i depends on (seed, i) alone. With
  `trajectory`, all the xt on the way: [B, steps + 1, H, W, C].
  """
  c = config.sampling
  schedule = make_schedule(config)
  kind = pick(PREDICTIONS, config.diffusion.prediction, 'diffusion.prediction')
  grid = pick(TIMES, c.times, 'sampling.times')(c.steps)
  threshold = pick(THRESHOLDS, c.threshold, 'sampling.threshold')
  make_step = pick(SAMPLERS, c.sampler, 'sampling.sampler')
  apply = make_apply(make_network(config, image_shape))
  prior = partial(processes.gaussian(schedule).prior, shape=tuple(image_shape))

  def draw(
    params: Any, options: Mapping[str, Array], index: Array, axis_name=None
  ) -> Array:
    del axis_name  # each sample is its own
    prior_keys, step_keys = samplers.sample_keys(options['seed'], index)
    denoiser = samplers.denoiser(apply, kind, schedule, params)
    step = make_step(schedule, config.diffusion.variance, options['eta'])
    x = samplers.sample(
      step,
      threshold(denoiser),
      step_keys,
      jax.vmap(prior)(prior_keys),
      grid,
      trajectory=trajectory,
    )
    return jnp.moveaxis(x, 1, 0) if trajectory else x

  return draw


def make_task(config: Config, image_shape: Sequence[int]) -> training.Task:
  """Everything train.py needs, for images [H, W, C]."""
  c, network = config.diffusion, make_network(config, image_shape)
  optimizer = make_optimizer(config)
  kind = pick(PREDICTIONS, c.prediction, 'diffusion.prediction')
  sample_times = {
    'continuous': times.continuous(),
    'grid': times.grid(c.num_steps),
  }[c.times]
  loss = losses.denoising(
    make_apply(network),
    make_schedule(config),
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


def describe(config: Config, image_shape: Sequence[int]) -> dict[str, Any]:
  """What `workdir/config.json` holds: all that sampling needs to know."""
  return {**to_dict(config), 'image_shape': list(image_shape)}


def load_file(path: str) -> Config:
  """The `config` that a file of configs/ defines."""
  file = Path(path)
  if not file.exists():
    beside = file.parent if file.parent.is_dir() else Path('configs')
    known = sorted(str(p) for p in beside.glob('*.py'))
    raise ValueError(f'--config {path} does not exist; there are {known}')
  config = runpy.run_path(str(file)).get('config')
  if not isinstance(config, Config):
    raise ValueError(f'{path} must define `config`, a jaxdiff.config.Config')
  return dataclasses.replace(config, config=path)


def parse(argv: Sequence[str] | None = None) -> Config:
  """The command line: the file of --config, with every flag given over it."""
  first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
  first.add_argument('--config', default=Config.config)
  default = load_file(first.parse_known_args(argv)[0].config)
  return tyro.cli(Config, default=default, args=argv)


def from_dict(
  values: Mapping[str, Any], kind: Any = Config, at: str = ''
) -> Any:
  """The inverse of `dataclasses.asdict`, for what JSON made of it.

  Raises:
    ValueError: unknown fields, each with the nearest known one.
  """
  types = typing.get_type_hints(kind)
  for name in values:
    if name not in types:
      near = get_close_matches(name, types, 1)
      hint = f', did you mean {at}{near[0]}?' if near else ''
      raise ValueError(f'unknown field {at}{name}{hint}')

  def value(name: str, x: Any) -> Any:
    if dataclasses.is_dataclass(types[name]):
      return from_dict(x, types[name], f'{at}{name}.')
    return tuple(x) if isinstance(x, list) else x

  return kind(**{name: value(name, x) for name, x in values.items()})


def to_dict(config: Config) -> dict[str, Any]:
  """As JSON holds it: tuples are lists."""
  return json.loads(json.dumps(dataclasses.asdict(config)))
