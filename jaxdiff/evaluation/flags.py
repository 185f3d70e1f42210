"""Groups of flags that several commands have."""

from dataclasses import dataclass
from typing import Literal

import tyro

Flat = tyro.conf.arg(name='')  # the fields of a group, without its name


@dataclass(frozen=True)
class Against:
  """By which features, and against what."""

  # digits, captioned_shapes, tfds:NAME, each with :SPLIT; folder:PATH; DIR;
  # .npz of images or of published statistics. None: what the run was
  # trained on.
  reference: str | None = None
  features: str = 'inception'  # or clip:FOLDER, classifier:WORKDIR
  weights: str | None = None  # of Inception: the published file
  resize: str | None = None  # pytorch-fid, tf1, torchmetrics, clean, ...
  # frechet: FID, sFID and IS. all: also KID, precision, recall, density and
  # coverage, for which the features of the reference are computed every time.
  metrics: Literal['frechet', 'all'] = 'frechet'
  floor: bool = False  # also measure the other split of a named reference
  image_size: int | None = None  # of a named reference; None: as of the run
  data_dir: str | None = None  # of a named reference
  cache: str | None = None  # where statistics of references are kept


@dataclass(frozen=True)
class Drawing:
  """How samples of a WORKDIR are drawn. None: as it was configured."""

  sampler: str | None = None  # ancestral:large has its variance, too
  steps: int | None = None
  scale: float | None = None  # of guidance
  eta: float | None = None  # of ddim
  seed: int = 0
  # Conditions: those of the examples of a split, or each class in turn.
  labels: Literal['train', 'test', 'uniform'] = 'train'
  checkpoint: int | None = None  # a step; None: the newest
  ema: bool = True  # the averaged weights


@dataclass(frozen=True)
class Running:
  """On what; no number depends on it."""

  batch_size: int = 64
  mode: Literal['jit', 'pmap'] = 'jit'
  coordinator: str | None = None  # several hosts: 'auto', or host:port
  num_processes: int | None = None
  process_id: int | None = None
