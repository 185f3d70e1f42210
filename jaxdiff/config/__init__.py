"""Configurations.

A file of `configs/` defines one, the command line changes it field by field,
`workdir/config.json` keeps it. What the names stand for is in `build`. The
rest of the library never sees a configuration: it is given functions.
"""

from jaxdiff.config.fields import (
  FIXED,
  Checkpoint,
  Condition,
  Config,
  Data,
  Diffusion,
  DiT,
  Evaluation,
  GraphTransformer,
  Network,
  Optimizer,
  Parallel,
  Sampling,
  Training,
  Transformer,
  UNet,
)
from jaxdiff.config.files import from_dict, load_file, parse, to_dict
from jaxdiff.config.spec import Spec, describe, undescribe

__all__ = [
  'Checkpoint',
  'Condition',
  'Config',
  'Data',
  'DiT',
  'Diffusion',
  'Evaluation',
  'FIXED',
  'GraphTransformer',
  'Network',
  'Optimizer',
  'Parallel',
  'Sampling',
  'Spec',
  'Training',
  'Transformer',
  'UNet',
  'describe',
  'from_dict',
  'load_file',
  'parse',
  'to_dict',
  'undescribe',
]
