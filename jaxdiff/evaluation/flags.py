"""Groups of flags that several commands share, and names made of flags."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import tyro

from jaxdiff.config import Section
from jaxdiff.config.ranges import In, Seed, Size
from jaxdiff.evaluation import cache
from jaxdiff.generation.flags import SamplerFlags

Flat = tyro.conf.arg(name='')  # the fields of a group, without its name
Num = Annotated[int, In('[1, 10000000]')]
Batch = Annotated[int, In('[1, 1048576]')]
# Flags on which no number depends.
MACHINE = ('batch_size', 'mode', 'coordinator', 'num_processes', 'process_id')


@dataclass(frozen=True)
class Against(Section):
  """The features and the reference of a distance."""

  # digits, captioned_shapes, tfds:NAME, each with :SPLIT; folder:PATH; DIR;
  # .npz of images or of published statistics. None: the training set of the
  # run.
  reference: str | None = None
  features: str = 'inception'  # or clip:FOLDER, classifier:WORKDIR
  weights: str | None = None  # inception: the published file
  resize: str | None = None  # pytorch-fid, tf1, torchmetrics, clean, ...
  # frechet: FID, sFID and IS. all: also KID, precision, recall, density and
  # coverage, for which the features of the reference are computed every time.
  metrics: Literal['frechet', 'all'] = 'frechet'
  floor: bool = False  # also measure the other split of a named reference
  image_size: Size | None = None  # of the reference; None: as in the run
  data_dir: str | None = None  # of a named reference
  cache: str | None = None  # folder of the statistics of references


@dataclass(frozen=True)
class Drawing(SamplerFlags):
  """Sampler, seed and conditions of the samples of a WORKDIR."""

  seed: Seed = 0
  # The conditions: of the examples of a split, or each class in turn.
  labels: Literal['train', 'test', 'uniform'] = 'train'


@dataclass(frozen=True)
class Kept(SamplerFlags):
  """Samples that are drawn as by sample.py and kept in WORKDIR/evaluation."""

  workdir: Annotated[str, tyro.conf.Positional] = dataclasses.field(
    kw_only=True
  )
  num: Num | None = None
  seed: Seed = 0
  batch_size: Batch = 64
  mode: Literal['jit', 'pmap'] = 'jit'


@dataclass(frozen=True)
class Running(Section):
  """The devices; no number depends on them."""

  batch_size: Batch = 64
  mode: Literal['jit', 'pmap'] = 'jit'
  coordinator: str | None = None  # several hosts: 'auto', or host:port
  num_processes: Size | None = None
  process_id: Annotated[int, In('[0, 65535]')] | None = None


def changed(flags: Any, *except_for: str) -> dict[str, Any]:
  """Returns the flags of a command, with its groups, that are no defaults."""
  found = {}
  for field in dataclasses.fields(flags):
    value = getattr(flags, field.name)
    if dataclasses.is_dataclass(value):
      found |= changed(value, *except_for)
    elif value != field.default and field.name not in except_for:
      found[field.name] = value
  return found


def suffix(flags: Mapping[str, Any]) -> str:
  """Names flags in a file name: numbers as they are, the others by a hash."""
  number = lambda x: isinstance(x, int | float) and not isinstance(x, bool)
  parts = [f'_{k}{v:g}' for k, v in flags.items() if number(v)]
  rest = {k: v for k, v in flags.items() if not number(v)}
  return ''.join(parts) + (f'_{cache.key(rest)[:6]}' if rest else '')
