"""Configuration sections: data, conditions, optimizer, training, sampling, ...

The process is in `diffusion`, the network in `networks`.
"""

import inspect
import re
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from jaxdiff import names
from jaxdiff.config import kinds, registry
from jaxdiff.config.ranges import (
  Count,
  Fraction,
  In,
  Name,
  Positive,
  Rate,
  Section,
  Size,
  Std,
  Steps,
  Temperature,
)

_DENOISER = kinds.function('a denoiser', 'xt', 't')
_RATE = kinds.numbers('a function of the step that returns a rate', 1, 0)


@dataclass(frozen=True)
class Data(Section):
  """The data set."""

  prefix: ClassVar[str] = 'data.'
  name: str = 'digits'  # see `data.load`: tfds:NAME, folder:PATH, ...
  image_size: Size | None = None  # images of a folder are cropped to this side
  # The filter that makes them smaller; halved: means of 2x2, then bicubic.
  downsampling: Literal['bicubic', 'halved'] = 'bicubic'
  flip: bool = False  # mirror half of the images
  # Probability of each geometric augmentation of EDM; the network is told.
  augment: Fraction = 0.0
  length: Size | None = None  # characters or tokens in an example of text
  tokenizer: str | None = None  # a tokenizer.json for text; None: characters
  data_dir: str | None = None  # where prepared sets are


@dataclass(frozen=True)
class Latent(Section):
  """Latents of images, which are diffused in their place."""

  prefix: ClassVar[str] = 'latent.'
  # A run of an autoencoder, or a folder with one as diffusers has it.
  autoencoder: str | None = None
  num: Count = 4096  # images of which shift and scale are measured
  # A folder in which latents are kept; None: images are encoded in every step.
  cache: str | None = None


@dataclass(frozen=True)
class Condition(Section):
  """The conditions of the network, beside the noisy data."""

  prefix: ClassVar[str] = 'condition.'
  label: bool = False  # the classes of the data set
  text: Literal['bytes', 'bpe', 'clip', 't5'] | None = None  # its captions
  low_res: Size | None = None  # side length of a small image to be enlarged
  drop: Fraction = 0.1  # probability of training without label and text
  augment: Fraction = 0.5  # low_res: the largest noise level in training
  # For text:
  length: Annotated[int, In('[2, 65536]')] = 96  # tokens with both ends
  vocab_size: Annotated[int, In('[2, 1000000]')] = 512  # bpe
  width: Size = 128  # of the encoder, trained with the denoiser
  depth: Annotated[int, In('[0, 1024]')] = 2
  num_heads: Size = 4
  clip: str | None = None  # clip: a folder with the weights of the encoder
  pooled: bool = True  # clip: the text as one vector, beside its tokens
  t5: str | None = None  # t5: the same of T5 v1.1 or umT5
  # clip, two encoders of SDXL: height, width, top, left, height, width of the
  # image before it was cropped, of what was cut off, and after.
  sizes: tuple[Annotated[int, In('[0, 65536]')], ...] = ()
  sizes_dim: Annotated[int, In('[4, 4096]')] = 256  # waves of each


@dataclass(frozen=True)
class Optimizer(Section):
  """Gradient clipping by global norm, optax's optimizer, a learning rate."""

  prefix: ClassVar[str] = 'optimizer.'
  name: Annotated[str, Name(registry.OPTIMIZERS, kinds.rate)] = 'adam'
  learning_rate: Rate = 2e-4
  schedule: Annotated[str, Name(registry.LEARNING_RATES, kinds.rate, _RATE)] = (
    'constant'
  )
  warmup_steps: Annotated[int, In('[0, 2147483647]')] = 0
  clip_norm: Positive | None = 1.0  # None: gradients are not clipped
  b1: Annotated[float, In('[0, 1)')] = 0.9
  b2: Annotated[float, In('[0, 1)')] = 0.999
  eps: Annotated[float, In('(0, 1]')] = 1e-8
  weight_decay: Annotated[float, In('[0, 10]')] = 0.0
  unit_weights: bool = False  # of EDM2: norm its kernels after every step

  def check(self) -> None:
    super().check()
    call = names.parse(self.name, '--optimizer.name')
    optimizer = names.find(registry.OPTIMIZERS, call.name, '--optimizer.name')
    taken = inspect.signature(optimizer).parameters
    if call.args:
      raise ValueError(
        f'--optimizer.name={self.name}: give its arguments by name'
      )
    if 'peak' in names.parse(self.schedule, '--optimizer.schedule').kwargs:
      raise ValueError(
        f'--optimizer.schedule={self.schedule}: use --optimizer.learning-rate'
      )
    for field in ('learning_rate', 'b1', 'b2', 'eps', 'weight_decay'):
      flag, value = (
        f'--optimizer.{field.replace("_", "-")}',
        getattr(self, field),
      )
      if field in call.kwargs:
        raise ValueError(f'--optimizer.name={self.name}: use {flag}')
      if field not in taken and value != getattr(Optimizer, field):
        raise ValueError(
          f'{flag} {value} is no setting of {call.name}, which takes '
          f'{sorted(taken)}'
        )


@dataclass(frozen=True)
class Training(Section):
  """The length of training, the batch, and the intervals."""

  prefix: ClassVar[str] = 'training.'
  num_steps: Count = 1000
  batch_size: Annotated[int, In('[1, 1048576]')] = 128  # over all devices
  accumulate: Annotated[int, In('[1, 65536]')] = 1  # microbatches in a step
  steps_per_execution: Annotated[int, In('[1, 65536]')] = 1  # in one program
  ema_decay: Annotated[float, In('[0, 0.99999]')] = 0.9999  # float32's most
  # The largest half-life of the average, as a fraction of the steps so far.
  ema_rampup: Annotated[float, In('(0, 1]')] | None = None
  ema_stds: tuple[Std, ...] = ()  # widths of more averages: see `averages`
  log_every: Count = 50
  preview_every: Count = 500
  # START:STOP: what devices do from step START to STOP goes to WORKDIR/profile.
  profile: str | None = None

  def check(self) -> None:
    super().check()
    if self.profile is not None:
      found = re.fullmatch(r'(\d{1,9}):(\d{1,9})', self.profile)
      if not found or int(found[1]) >= int(found[2]):
        raise ValueError(
          f'--training.profile must be like 100:110, got {self.profile!r}'
        )
      if int(found[1]) >= self.num_steps:
        raise ValueError(
          f'--training.profile {self.profile} begins after the run'
        )

  @property
  def profiled(self) -> tuple[int, int] | None:
    """The steps START and STOP of `profile`."""
    if self.profile is None:
      return None
    start, stop = map(int, self.profile.split(':'))
    return start, stop


@dataclass(frozen=True)
class Sampling(Section):
  """The sampler of the previews, and of sample.py without other flags."""

  prefix: ClassVar[str] = 'sampling.'
  sampler: Annotated[
    str, Name({**registry.CATEGORICAL_SAMPLERS, **registry.SAMPLERS})
  ] = 'ddim'
  steps: Steps = 50
  eta: Fraction = 0.0  # ddim: 0 deterministic, 1 ancestral
  times: Annotated[str, Name(registry.GRIDS, kinds.noise)] = 'uniform'
  threshold: Annotated[
    str, Name(registry.THRESHOLDS, kinds.denoisers, _DENOISER)
  ] = 'clip'
  scale: Annotated[float, In('[-1000, 1000]')] = 1.0  # guidance; 1: none
  guidance: Annotated[
    str, Name(registry.GUIDANCE, kinds.denoisers, _DENOISER)
  ] = 'classifier_free'
  momentum: Annotated[float, In('(-1, 1)')] = 0.0  # of apg, see `guidance`
  interval: tuple[Fraction, Fraction] = (0.0, 1.0)  # the t that are guided
  rescale: Fraction = 0.0  # phi of `guidance.rescaled`
  augment: Fraction = 0.1  # low_res: the noise level of the small image
  temperature: Temperature = 1.0  # divides logits; below 1 sharpens them
  block: Size | None = None  # text: left to right, so many at a time
  denoise_last: bool = False  # end with E[x0 | xt] at the last time
  num: Count = 64

  def check(self) -> None:
    super().check()
    guidance = names.parse(self.guidance, '--sampling.guidance').name
    if self.momentum and guidance != 'apg':
      raise ValueError(
        '--sampling.momentum is for --sampling.guidance apg, got '
        f'{self.guidance}'
      )
    low, high = self.interval
    if not low < high:
      raise ValueError(
        '--sampling.interval must be two increasing times in [0, 1], got '
        f'{self.interval}'
      )


@dataclass(frozen=True)
class Evaluation(Section):
  """Measurements during training, into WORKDIR/evaluation/STEP.json."""

  prefix: ClassVar[str] = 'evaluation.'
  every: Count | None = None
  # inception:FILE, dinov2:PATH, clip:FOLDER, classifier:WORKDIR
  features: tuple[str, ...] | str = 'inception'
  weights: str | None = None  # of inception: the published file
  resize: str | None = None  # inception: None is pytorch-fid's rule
  num: Annotated[int, In('[2, 10000000]')] = 1000


@dataclass(frozen=True)
class Checkpoint(Section):
  """The interval of saves, and which of them stay."""

  prefix: ClassVar[str] = 'checkpoint.'
  every: Count = 500
  max_to_keep: Count = 3
  keep_every: Count | None = None


@dataclass(frozen=True)
class Processes(Section):
  """The processes of a job."""

  # 'auto' where jax finds them by itself (TPU pods, SLURM, ...), or host:port
  # of process 0.
  coordinator: str | None = None

  num_processes: Size | None = None
  process_id: Annotated[int, In('[0, 65535]')] | None = None
  # Seconds to wait for a process that is not there or falls silent.
  timeout: Annotated[float, In('[1, 86400]')] = 300.0

  def check(self) -> None:
    super().check()
    flag = f'--{self.prefix}'
    ids = f'{flag}num-processes and {flag}process-id'
    num, index = self.num_processes, self.process_id
    host, _, port = (self.coordinator or '').rpartition(':')
    if self.coordinator in (None, 'auto'):
      if (num, index) != (None, None):
        raise ValueError(f'{ids} need {flag}coordinator host:port of process 0')
    elif not (host and port.isdecimal() and 0 < int(port) < 65536):
      raise ValueError(
        f"{flag}coordinator must be 'auto' or host:port of process 0, got "
        f'{self.coordinator!r}'
      )
    elif num is None or index is None:
      raise ValueError(f'{flag}coordinator {self.coordinator} needs {ids}')
    elif index >= num:
      raise ValueError(
        f'{flag}process-id must be below {flag}num-processes {num}, got {index}'
      )


@dataclass(frozen=True)
class Parallel(Processes):
  """The devices and hosts."""

  prefix: ClassVar[str] = 'parallel.'
  mode: Literal['jit', 'pmap'] = 'jit'
  fsdp: Size = 1  # devices over which each parameter is divided
  # PATTERN=DIMENSION or PATTERN=none: how, instead of the largest dimension.
  rules: tuple[str, ...] = ()

  def check(self) -> None:
    super().check()
    for rule in self.rules:
      pattern, _, dim = rule.rpartition('=')
      try:
        fits = pattern and re.fullmatch('none|[0-9]', dim)
        re.compile(pattern if fits else '(')
      except re.error as error:
        raise ValueError(
          '--parallel.rules must be like attention/.*kernel=0 or norm=none, '
          f'got {rule!r}'
        ) from error
