"""Configurations: a file of configs/, the command line, config.json.

  from jaxdiff import config as c

  config = c.Config(data=c.Data(name='digits'), diffusion=c.Gaussian(), ...)

A file of `configs/` defines one, the command line changes it field by field,
`workdir/config.json` keeps it. Every value is checked when it is built
(`ranges`). The names in it are those of `registry`. Only models/, runs/ and
generation/ read a configuration: the rest of the library is given functions.
"""

from jaxdiff.config.config import FIXED, Config, steps_at_once
from jaxdiff.config.diffusion import (
  Autoencoding,
  Categorical,
  Classification,
  Gaussian,
)
from jaxdiff.config.files import (
  Spec,
  describe,
  from_dict,
  load_file,
  parse,
  to_dict,
  undescribe,
)
from jaxdiff.config.networks import (
  EDM2,
  MLP,
  Autoencoder,
  ConvNet,
  Custom,
  DiT,
  GraphTransformer,
  Lora,
  Transformer,
  UNet,
)
from jaxdiff.config.ranges import Section, parse_flags
from jaxdiff.config.sections import (
  Checkpoint,
  Condition,
  Data,
  Evaluation,
  Latent,
  Optimizer,
  Parallel,
  Processes,
  Sampling,
  Training,
)

__all__ = [
  'EDM2',
  'FIXED',
  'MLP',
  'Autoencoder',
  'Autoencoding',
  'Categorical',
  'Checkpoint',
  'Classification',
  'Condition',
  'Config',
  'ConvNet',
  'Custom',
  'Data',
  'DiT',
  'Evaluation',
  'Gaussian',
  'GraphTransformer',
  'Latent',
  'Lora',
  'Optimizer',
  'Parallel',
  'Processes',
  'Sampling',
  'Section',
  'Spec',
  'Training',
  'Transformer',
  'UNet',
  'describe',
  'from_dict',
  'load_file',
  'parse',
  'parse_flags',
  'steps_at_once',
  'to_dict',
  'undescribe',
]
