"""The functions that a configuration stands for, put together.

What its names stand for is in `choices`.
"""

from jaxdiff.build.categories import Drawn, make_process, of_categories
from jaxdiff.build.diffusion import make_kind, make_loss, make_schedule
from jaxdiff.build.examples import (
  Examples,
  check_symbols,
  load_examples,
  make_prompts,
  preview_conditions,
  with_null,
)
from jaxdiff.build.medium import make_medium
from jaxdiff.build.model import (
  make_apply,
  make_denoiser,
  make_encode,
  make_network,
  takes,
)
from jaxdiff.build.prompts import Prompts
from jaxdiff.build.run import (
  Run,
  check_steps,
  load_run,
  make_optimizer,
  make_task,
)
from jaxdiff.build.sampling import CASCADE, make_cascade, make_sampler, options

__all__ = [
  'CASCADE',
  'Drawn',
  'Examples',
  'Prompts',
  'Run',
  'check_steps',
  'check_symbols',
  'load_examples',
  'load_run',
  'make_apply',
  'make_cascade',
  'make_denoiser',
  'make_encode',
  'make_kind',
  'make_loss',
  'make_medium',
  'make_network',
  'make_optimizer',
  'make_process',
  'make_prompts',
  'make_sampler',
  'make_schedule',
  'make_task',
  'of_categories',
  'options',
  'preview_conditions',
  'takes',
  'with_null',
]
