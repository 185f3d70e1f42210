"""Groups of flags that several commands share."""

import dataclasses
from dataclasses import dataclass
from typing import Annotated, Literal

import tyro

from jaxdiff.config import Processes, Section
from jaxdiff.config.ranges import In, Seed, Size
from jaxdiff.generation.flags import SamplerFlags

Flat = tyro.conf.arg(name='')  # the fields of a group, without its name
Num = Annotated[int, In('[1, 10000000]')]
Batch = Annotated[int, In('[1, 1048576]')]
# Flags on which no number depends.
MACHINE = (
  *('batch_size', 'mode', 'data_name'),
  *('coordinator', 'num_processes', 'process_id', 'timeout'),
)


@dataclass(frozen=True)
class Against(Section):
  """The features and the reference of a distance."""

  # digits, captioned_shapes, tfds:NAME, each with :SPLIT; folder:PATH; DIR;
  # .npz of images or of published statistics. None: the training set of the
  # run.
  reference: str | None = None
  # inception:FILE, dinov2:PATH, clip:FOLDER, classifier:WORKDIR; of several,
  # each sees every image in the same pass.
  features: tuple[str, ...] = ('inception',)
  weights: str | None = None  # of inception: the published file
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
  # The conditions: of the examples of a split (train), or each class in turn.
  labels: Literal['train', 'test', 'uniform'] | None = None
  data_name: str | None = None  # where the data of the run are now


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
  data_name: str | None = None  # where the data of the run are now


@dataclass(frozen=True)
class Running(Processes):
  """The devices; no number depends on them."""

  batch_size: Batch = 64
  mode: Literal['jit', 'pmap'] = 'jit'
