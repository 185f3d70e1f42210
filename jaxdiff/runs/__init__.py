"""A run on disk: its configuration, examples, checkpoints and logs."""

from jaxdiff.runs.config_json import check_continues, read_config, start
from jaxdiff.runs.run import Run, digest, load, load_stable_diffusion
from jaxdiff.runs.store import Checkpoints, DamagedCheckpointError

__all__ = [
  'Checkpoints',
  'DamagedCheckpointError',
  'Run',
  'check_continues',
  'digest',
  'load',
  'load_stable_diffusion',
  'read_config',
  'start',
]
