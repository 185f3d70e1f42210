"""Flags that several evaluation commands have."""

from dataclasses import dataclass
from typing import Annotated, Literal

import tyro

from jaxdiff.config import Section
from jaxdiff.config.ranges import In, Seed, Size
from jaxdiff.generation.flags import SamplerFlags

Flat = tyro.conf.arg(name='')  # the fields of a group, without its name
Batch = Annotated[int, In('[1, 1048576]')]


@dataclass(frozen=True)
class Against(Section):
  """The features, and the reference that samples are measured against."""

  # A data set of `data.load` or NAME:SPLIT; a folder of images; an .npz of
  # images or of published statistics. None: the training set of the run.
  reference: str | None = None
  features: str = 'inception'  # or clip:FOLDER, classifier:WORKDIR
  weights: str | None = None  # of Inception: the published file
  resize: str | None = None  # pytorch-fid, tf1, torchmetrics, clean, ...
  # frechet: FID, sFID and IS. all: also KID, precision, recall, density and
  # coverage, for which the features of the reference are computed every time.
  metrics: Literal['frechet', 'all'] = 'frechet'
  floor: bool = False  # also measure the other split of the reference
  image_size: Size | None = None  # of a data set; None: as of the run
  data_dir: str | None = None  # of a data set
  cache: str | None = None  # where statistics of references are kept


@dataclass(frozen=True)
class Drawing(SamplerFlags):
  """How samples of a WORKDIR are drawn. None: as it was configured."""

  seed: Seed = 0
  # Conditions: those of the examples of a split, or each class in turn.
  labels: Literal['train', 'test', 'uniform'] = 'train'


@dataclass(frozen=True)
class Running(Section):
  """The devices; no number depends on them."""

  batch_size: Batch = 64
  mode: Literal['jit', 'pmap'] = 'jit'
  coordinator: str | None = None  # several hosts: 'auto', or host:port
  num_processes: Size | None = None
  process_id: Annotated[int, In('[0, 65535]')] | None = None
