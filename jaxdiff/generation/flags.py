"""Flags of sampling, shared by sample.py and the evaluation commands."""

import dataclasses
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple

import tyro

from jaxdiff import files
from jaxdiff.config import Config, Section, registry
from jaxdiff.config.ranges import (
  Count,
  Fraction,
  In,
  Seed,
  Size,
  Std,
  Steps,
  Temperature,
)
from jaxdiff.config.sections import Sampling

Scale = Annotated[float, In('[-1000, 1000]')]
Momentum = Annotated[float, In('(-1, 1)')]
Checkpoint = Annotated[int, In('[0, 2147483647]')]


class Needs(NamedTuple):
  """The flags of an edit: images that it needs, numbers and their defaults."""

  images: tuple[str, ...]
  numbers: dict[str, float] = {}


EDITS = {
  'img2img': Needs(('image',), {'strength': 0.6}),
  'inpaint': Needs(('image', 'mask'), {'jump': 5, 'repeats': 5}),
  'interpolate': Needs(('image', 'other')),
}


@dataclass(frozen=True)
class Weights(Section):
  """The weights of a run that a command reads."""

  checkpoint: Checkpoint | None = None  # a step; None: the newest
  ema: bool = True  # the averaged weights
  ema_std: Std | None = None  # or the average of this width, made afterwards

  @property
  def average(self) -> bool | float:
    """The weights, as `runs.load` takes them."""
    return self.ema if self.ema_std is None else self.ema_std

  def check(self) -> None:
    super().check()
    if self.ema_std is not None and not self.ema:
      raise ValueError('give --no-ema or --ema-std, not both')


@dataclass(frozen=True)
class SamplerFlags(Weights):
  """Settings of a sampler. None: the setting of the run."""

  dtype: Literal['float32', 'bfloat16'] | None = None  # of the network
  lora: str | None = None  # Stable Diffusion: pytorch_lora_weights.safetensors
  lora_scale: Scale | None = None  # multiplies the factors of a LoRA (1)
  size: Size | None = None  # Stable Diffusion: the side length of images
  # SDXL: height, width, top, left, height, width of an image before it was
  # cropped, of what was cut off, and after.
  sizes: tuple[Annotated[int, In('[0, 65536]')], ...] = ()
  # Stable Diffusion 2 in a single file: what its network predicts.
  prediction: Literal['eps', 'v'] | None = None
  sampler: str | None = None  # ancestral:large has its variance, too
  steps: Steps | None = None
  eta: Fraction | None = None  # ddim: 0 deterministic, 1 ancestral
  times: str | None = None
  threshold: str | None = None
  denoise_last: bool | None = None  # end with E[x0 | xt] at the last time
  scale: Scale | None = None  # guidance; 1: none
  guidance: str | None = None  # apg: adaptive projected guidance
  momentum: Momentum | None = None  # of apg
  guide: str | None = None  # a workdir: guidance leads away from its estimate
  classifier: str | None = None  # its workdir: guidance leads to --labels
  temperature: Temperature | None = None  # text and graphs
  block: Size | None = None  # text: left to right, so many at a time

  @property
  def guides(self) -> dict[str, str]:
    """The workdirs of the models that guide, by their flags."""
    named = {'guide': self.guide, 'classifier': self.classifier}
    return {name: workdir for name, workdir in named.items() if workdir}

  def check(self) -> None:
    super().check()
    if self.guide and self.classifier:
      raise ValueError('give --guide or --classifier, not both')


@dataclass(frozen=True)
class Flags(SamplerFlags):
  """Draw samples from the run in WORKDIR. None: as the run was configured."""

  workdir: Annotated[str, tyro.conf.Positional] = dataclasses.field(
    kw_only=True
  )
  # None: 64, one above 256x256 pixels, and as many of each label or prompt.
  num: Count | None = None
  seed: Seed | None = None  # None: 0
  seeds: str | None = None  # 1,2,3: instead, one for each label or prompt
  label: Annotated[int, In('[0, 2147483647]')] | None = None
  labels: str | None = None  # 0,1,2
  prompt: str | None = None
  prompts: str | None = None  # a file, one a line
  negative_prompt: str | None = None
  base: str | None = None  # a workdir: its images are enlarged
  base_checkpoint: Checkpoint | None = None  # of that; None: the newest
  out: str | None = None  # a folder, or all in one file: .png .npz .txt .json
  batch_size: Annotated[int, In('[1, 1048576]')] | None = None  # as num
  mode: Literal['jit', 'pmap'] = 'jit'
  edit: Literal['img2img', 'inpaint', 'interpolate'] | None = None
  image: str | None = None  # the image to edit, or to enlarge
  mask: str | None = None  # inpaint: white is filled
  other: str | None = None  # interpolate: the image at the end
  strength: Fraction | None = None  # img2img: the time t it is noised to (0.6)
  repeats: Size | None = None  # inpaint: of each stretch, RePaint (5)
  jump: Size | None = None  # inpaint: steps in a stretch (5)
  infill: str | None = None  # a text, to be completed where it is blank
  infills: str | None = None  # a file of them, one a line
  blank: str | None = None  # the character to be written over (_)
  show: bool = False  # print texts as they are unmasked
  animate: str | None = (
    None  # FILE.gif or FILE.webp: the way from noise to data
  )

  def check(self) -> None:
    super().check()
    for name in ('label', 'seed', 'prompt', 'infill'):
      if None not in (getattr(self, name), getattr(self, f'{name}s')):
        raise ValueError(f'give --{name} or --{name}s, not both')
    for edit, needs in EDITS.items():
      for name in (*needs.images[1:], *needs.numbers):
        if getattr(self, name) is not None and self.edit != edit:
          raise ValueError(f'--{name} needs --edit {edit}')
    if self.base_checkpoint is not None and self.base is None:
      raise ValueError('--base-checkpoint needs --base')
    if self.blank is not None and (self.infill or self.infills) is None:
      raise ValueError('--blank needs --infill or --infills')
    if self.blank is not None and len(self.blank) != 1:
      raise ValueError(f'--blank must be one character, got {self.blank!r}')
    if self.animate is not None:
      for name in ('edit', 'base'):
        if getattr(self, name) is not None:
          raise ValueError(f'--animate is not for --{name}')
      if files.as_path(self.animate).suffix not in ('.gif', '.webp'):
        raise ValueError(
          f'--animate must end in .gif or .webp, got {self.animate!r}'
        )
      files.check_target(self.animate)
    if self.edit == 'interpolate':
      if self.sampler not in (None, 'ddim') or self.eta:
        raise ValueError('--edit interpolate has --sampler ddim and --eta 0')
      if (self.seed, self.seeds) != (None, None):
        raise ValueError(
          '--edit interpolate has no noise: --seed has no effect'
        )
      if self.num == 1:
        raise ValueError('--edit interpolate shows both ends: --num 2 or more')
    for name in EDITS[self.edit].images if self.edit else ():
      if getattr(self, name) is None:
        raise ValueError(f'--edit {self.edit} needs --{name}')


def configure(config: Config, flags: SamplerFlags) -> Config:
  """Returns the configuration of a run with the flags over its sampling.

  Raises:
    ValueError: A flag that is out of range, or has no effect on this run.
  """
  fields = {field.name for field in dataclasses.fields(Sampling)} - {'num'}
  chosen = {k: x for k, x in changed(flags).items() if k in fields}
  c = config.condition
  guided = flags.guide or flags.classifier or c.label or c.text
  for name in ('scale', 'guidance', 'momentum'):
    if getattr(flags, name) is not None and not guided:
      raise ValueError(
        f'--{name} is for guidance, and this model has no condition'
      )
  diffusion, network = config.diffusion, config.network
  if flags.sizes:
    if not c.sizes or len(flags.sizes) != 6:
      raise ValueError(
        f'--sizes must be six numbers, for SDXL, got {flags.sizes}'
      )
    c = dataclasses.replace(c, sizes=flags.sizes)
  if flags.dtype is not None:
    network = dataclasses.replace(network, dtype=flags.dtype)
  sampler, _, variance = (flags.sampler or '').partition(':')
  if sampler in registry.WITH_VARIANCE and variance:
    if variance not in ('small', 'large'):
      raise ValueError(
        f'--sampler {flags.sampler}: the variance must be small or large'
      )
    if getattr(diffusion, 'variance', None) not in ('small', 'large'):
      raise ValueError(
        f'--sampler {flags.sampler} needs a model with Gaussian noise and a '
        'variance that is not learned'
      )
    diffusion = dataclasses.replace(diffusion, variance=variance)
    chosen['sampler'] = sampler
  try:
    sampling = dataclasses.replace(config.sampling, **chosen)
    config = dataclasses.replace(
      config,
      sampling=sampling,
      diffusion=diffusion,
      network=network,
      condition=c,
    )
  except ValueError as error:
    raise ValueError(str(error).replace('--sampling.', '--')) from error
  if flags.eta is not None:
    registry.check_eta('--eta', sampling.sampler)
  if (c.label or c.text) and c.drop == 0 and sampling.scale != 1:
    raise ValueError(
      f'--scale {sampling.scale:g} needs a model that met no condition in '
      'training, and this one was trained with condition.drop=0; use --scale 1'
    )
  return config


def changed(flags: Any, *except_for: str) -> dict[str, Any]:
  """Returns the flags of a command and its groups that are not the default."""
  found = {}
  for field in dataclasses.fields(flags):
    value = getattr(flags, field.name)
    if dataclasses.is_dataclass(value):
      found |= changed(value, *except_for)
    elif value != field.default and field.name not in except_for:
      found[field.name] = value
  return found


def of_network(flags: SamplerFlags) -> dict[str, Any]:
  """Returns the changed flags on which samples depend by the network alone.

  The weights, the sampler and the guides have their own fields of metadata.
  """
  names = 'dtype', 'size', 'sizes', 'prediction'
  return {k: x for k, x in changed(flags).items() if k in names}


def suffix(flags: Any, *except_for: str, content: Any = None) -> str:
  """Names the changed flags in a file name: numbers, and a hash of the rest.

  Args:
    flags: Of a command.
    *except_for: Flags that are not named.
    content: Hashed instead of the rest, if it is more than the flags say.
  """
  values = changed(flags, *except_for)
  number = lambda x: isinstance(x, int | float) and not isinstance(x, bool)
  # All digits where %g would name two values alike.
  short = lambda x: f'{x:g}' if float(f'{x:g}') == x else str(x)
  parts = [f'_{k}{short(v)}' for k, v in values.items() if number(v)]
  rest = {k: v for k, v in values.items() if not number(v)}
  if rest:
    parts.append(f'_{files.json_hash(content or rest)[:6]}')
  return ''.join(parts)
