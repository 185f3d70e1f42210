"""The configuration of a run: one frozen dataclass of sections."""

import math
from dataclasses import dataclass, field
from typing import Annotated, ClassVar

from jaxdiff import names
from jaxdiff.config import kinds, registry
from jaxdiff.config.diffusion import (
  Autoencoding,
  Categorical,
  Classification,
  Gaussian,
)
from jaxdiff.config.networks import EDM2, AnyNetwork, Lora, Transformer, UNet
from jaxdiff.config.ranges import Name, Section, Seed
from jaxdiff.config.sections import (
  Checkpoint,
  Condition,
  Data,
  Evaluation,
  Latent,
  Optimizer,
  Parallel,
  Sampling,
  Training,
)


@dataclass(frozen=True)
class Config(Section):
  """Train a diffusion model. The flags start from the file of --config.

  That file is Python and is run: use only files that you trust.
  """

  prefix: ClassVar[str] = ''
  config: str = 'configs/digits.py'
  workdir: str = 'runs/digits'
  seed: Seed = 0
  log: Annotated[
    str, Name(registry.TRACKERS, takes=('workdir', 'first', 'settings'))
  ] = 'tensorboard'
  # A workdir from whose averaged weights this run starts; a Stable Diffusion.
  init: str | None = None

  data: Data = field(default_factory=Data)
  latent: Latent = field(default_factory=Latent)
  condition: Condition = field(default_factory=Condition)
  diffusion: Gaussian | Categorical | Classification | Autoencoding = field(
    default_factory=Gaussian
  )
  network: AnyNetwork = field(default_factory=UNet)
  lora: Lora = field(default_factory=Lora)
  optimizer: Optimizer = field(default_factory=Optimizer)
  training: Training = field(default_factory=Training)
  sampling: Sampling = field(default_factory=Sampling)
  evaluation: Evaluation = field(default_factory=Evaluation)
  checkpoint: Checkpoint = field(default_factory=Checkpoint)
  parallel: Parallel = field(default_factory=Parallel)

  def check(self) -> None:
    super().check()
    _check_together(self)


# A run may be continued with other values of anything but these.
FIXED = (
  'seed',
  'spec',
  'data',
  'condition',
  'diffusion',
  'network',
  'lora',
  'optimizer',
)


def _check_together(config: Config) -> None:
  """Raises ValueError for values that contradict one another."""
  if isinstance(config.diffusion, Categorical):
    _check_categorical(config)
  elif isinstance(config.diffusion, Gaussian):
    _check_gaussian(config)
  elif isinstance(config.diffusion, Classification) and (
    config.evaluation.every is not None
  ):
    raise ValueError(
      '--evaluation.every measures samples, and a model of diffusion '
      'Classification draws none'
    )
  if config.latent.autoencoder is not None:
    _check_latent(config)
  if config.data.augment:
    _check_augmentation(config)
  if config.optimizer.unit_weights and not isinstance(config.network, EDM2):
    raise ValueError(
      '--optimizer.unit-weights is for the network EDM2, got '
      f'{type(config.network).__name__}'
    )
  if config.lora.rank is not None and config.init is None:
    raise ValueError(
      '--lora.rank needs --init, the weights beside which factors are trained'
    )
  condition, parallel = config.condition, config.parallel
  if condition.low_res and config.sampling.augment > condition.augment:
    raise ValueError(
      '--sampling.augment must be at most --condition.augment '
      f'{condition.augment}, the largest noise of training, got '
      f'{config.sampling.augment}'
    )
  for text, file in (('clip', 'merges.txt'), ('t5', 'tokenizer.json')):
    if condition.text == text and getattr(condition, text) is None:
      raise ValueError(
        f'--condition.text {text} needs --condition.{text}, a folder with '
        f'model.safetensors, config.json and {file}'
      )
  if parallel.mode == 'pmap' and parallel.fsdp > 1:
    raise ValueError(
      '--parallel.mode pmap keeps a whole copy of the parameters on every '
      'device; use --parallel.mode jit with --parallel.fsdp > 1'
    )


def _check_gaussian(config: Config) -> None:
  c = config.sampling
  flag = '--sampling.sampler'
  trial = lambda: kinds.noise(names.name_of(c.sampler, flag))
  Name(registry.SAMPLERS, trial, kinds.STEP).check(c.sampler, flag)
  for name in ('temperature', 'block'):
    _unused(c, name, 'categories')
  _check_few_steps(config)


def _check_few_steps(config: Config) -> None:
  c = config.sampling
  loss = names.name_of(config.diffusion.loss, '--diffusion.loss')
  sampler = names.name_of(c.sampler, '--sampling.sampler')
  if sampler == 'flow_map' and loss not in registry.TWO_TIMES:
    raise ValueError(
      '--sampling.sampler flow_map needs --diffusion.loss '
      f'{" or ".join(registry.TWO_TIMES)}, got {loss}'
    )
  if loss in registry.CONSISTENCY and sampler != 'lcm':
    raise ValueError(
      f'--diffusion.loss {loss} needs --sampling.sampler lcm, got {sampler}: '
      'its estimate is where the ODE ends'
    )
  if loss in registry.DISTILLING and config.init is None:
    raise ValueError(
      f'--diffusion.loss {loss} needs --init, the workdir of its teacher'
    )
  jumping = 'flow_map' if sampler == 'flow_map' else loss
  if jumping in ('flow_map', *registry.ENDS) and c.scale != 1:
    raise ValueError(
      f'--sampling.scale must be 1 with {jumping}, got {c.scale}: guidance is '
      'for estimates of E[x0 | xt]'
    )
  if sampler == 'flow_map' and c.denoise_last:
    raise ValueError(
      '--sampling.denoise-last is not for --sampling.sampler flow_map, whose '
      'steps have no estimate of x0'
    )
  if sampler == 'flow_map' and c.threshold != 'none':
    raise ValueError(
      '--sampling.threshold must be none with --sampling.sampler flow_map, '
      f'whose steps have no estimate of x0, got {c.threshold}'
    )


def _check_latent(config: Config) -> None:
  if not isinstance(config.diffusion, Gaussian):
    raise ValueError('--latent.autoencoder is for diffusion Gaussian')
  if config.sampling.threshold != 'none':
    raise ValueError(
      '--sampling.threshold must be none with --latent.autoencoder: latents '
      f'have no range, got {config.sampling.threshold}'
    )
  if config.condition.low_res:
    raise ValueError('--condition.low-res is for images, not for latents')
  if config.latent.cache and config.data.flip:
    raise ValueError(
      '--latent.cache keeps the latents of images unflipped: no --data.flip'
    )


def _check_augmentation(config: Config) -> None:
  if not isinstance(config.diffusion, Gaussian):
    raise ValueError('--data.augment is for diffusion Gaussian')
  if config.latent.autoencoder is not None:
    raise ValueError('--data.augment is for images, not for latents')
  if config.data.flip:
    raise ValueError('--data.augment mirrors images itself: no --data.flip')


def _check_categorical(config: Config) -> None:
  c, diffusion = config.sampling, config.diffusion
  sampler = Name(registry.CATEGORICAL_SAMPLERS, kinds.unmasking, kinds.STEP)
  sampler.check(c.sampler, '--sampling.sampler')
  real = 'eta', 'threshold', 'augment', 'rescale', 'guidance', 'denoise_last'
  for name in real:
    _unused(c, name, 'real numbers')
  grid = names.name_of(c.times, '--sampling.times')
  if grid in ('karras', 'log_snr', 'polyexponential'):
    raise ValueError(
      f'--sampling.times {grid} is for Gaussian noise, and this is '
      f'{diffusion.process}'
    )
  if config.condition.low_res:
    raise ValueError('--condition.low-res is for images that are real numbers')
  absorbing = diffusion.process in registry.MASKING
  ratios = diffusion.prediction == 'log_ratios'
  name = names.name_of(c.sampler, '--sampling.sampler')
  if name == 'rate_matrix' and diffusion.process not in registry.REDRAWING:
    fitting = ' or '.join(registry.REDRAWING)
    raise ValueError(f'rate_matrix needs --diffusion.process {fitting}')
  sharp = name == 'greedy_tail'
  if (sharp or c.temperature != 1) and ratios and not absorbing:
    raise ValueError(
      f'--sampling.{"sampler greedy_tail" if sharp else "temperature"} is for '
      'logits, or for log_ratios with absorbing noise'
    )
  network = config.network
  hidden = isinstance(network, Transformer) and not network.time
  if hidden and not absorbing:
    raise ValueError(
      f'--diffusion.process {diffusion.process} does not show its noise level: '
      'its network needs --network.time'
    )
  block = getattr(network, 'block', None)
  if block and c.block not in (None, block):
    raise ValueError(f'--sampling.block must be {block}, as --network.block')
  if block is None and c.block is not None and not (absorbing and hidden):
    raise ValueError(
      '--sampling.block leaves masks to the right, which a network that is '
      'told t has not met in training: it needs --diffusion.process absorbing '
      'and --network.no-time'
    )


def _unused(c: Sampling, field: str, data: str) -> None:
  if getattr(c, field) != getattr(Sampling, field):
    flag = field.replace('_', '-')
    raise ValueError(
      f'--sampling.{flag} is for {data}, got {getattr(c, field)}'
    )


def steps_at_once(config: Config, first: int = 0) -> int:
  """Returns how many steps one program takes, so that events fall between two.

  It is the greatest common divisor of steps_per_execution, of the run's
  intervals and of `first`, the step that it starts from.
  """
  c: Training = config.training
  every = c.log_every, c.preview_every, config.checkpoint.every
  every = *every, config.evaluation.every or c.num_steps
  due = (steps for steps in every if steps < c.num_steps)
  return math.gcd(c.steps_per_execution, c.num_steps, first, *due)
