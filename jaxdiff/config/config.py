"""The configuration of a run: one frozen dataclass of sections."""

from dataclasses import dataclass, field
from typing import ClassVar

from jaxdiff.config import consistency
from jaxdiff.config.diffusion import Categorical, Classification, Gaussian
from jaxdiff.config.networks import AnyNetwork, UNet
from jaxdiff.config.ranges import Section, Seed
from jaxdiff.config.sections import (
  Checkpoint,
  Condition,
  Data,
  Evaluation,
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
  data: Data = field(default_factory=Data)
  condition: Condition = field(default_factory=Condition)
  diffusion: Gaussian | Categorical | Classification = field(
    default_factory=Gaussian
  )
  network: AnyNetwork = field(default_factory=UNet)
  optimizer: Optimizer = field(default_factory=Optimizer)
  training: Training = field(default_factory=Training)
  sampling: Sampling = field(default_factory=Sampling)
  evaluation: Evaluation = field(default_factory=Evaluation)
  checkpoint: Checkpoint = field(default_factory=Checkpoint)
  parallel: Parallel = field(default_factory=Parallel)

  def __post_init__(self) -> None:
    super().__post_init__()
    consistency.check(self)


# A run may be continued with other values of anything but these.
FIXED = (
  'seed',
  'spec',
  'data',
  'condition',
  'diffusion',
  'network',
  'optimizer',
)
