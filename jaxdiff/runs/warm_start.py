"""Warm start: the weights of another run, from which a run starts (--init)."""

from typing import Any

import jax

from jaxdiff import parallel
from jaxdiff.config import Config, Spec, describe, registry
from jaxdiff.runs.config_json import differences, read_config
from jaxdiff.runs.run import digest
from jaxdiff.runs.run import load as load_run
from jaxdiff.runs.store import Checkpoints

# Fields that may differ between the two runs: of training, not of the network.
_FREE = (
  *('spec.data', 'spec.init', 'condition.drop', 'condition.augment'),
  *('network.dtype', 'network.remat', 'network.dropout'),
  *('network.remat_policy', 'network.time_scale'),
  *('diffusion.loss', 'diffusion.space', 'diffusion.times'),
  *('diffusion.positions', 'diffusion.weighting', 'diffusion.per_log_snr'),
  *('diffusion.error', 'diffusion.offset_noise'),
  *('diffusion.perceptual', 'diffusion.perceptual_weight'),
  *('diffusion.adversarial_weight', 'diffusion.adversarial_start'),
)


def load(config: Config, spec: Spec) -> tuple[Spec, Any]:
  """Loads the averaged weights of --init.

  Args:
    config: of the run.
    spec: of its data.

  Returns:
    The spec with the hash of the weights, and the weights; None without --init,
    and for a run that continues and needs no teacher.

  Raises:
    FileNotFoundError: no run there, or no checkpoint yet.
    ValueError: its network, its noise or its data are others.
  """
  if config.init is None:
    return spec, None
  loss = getattr(config.diffusion, 'loss', '')
  taught = loss.partition('(')[0] in registry.DISTILLING
  if Checkpoints(config.workdir).steps() and not taught:
    return spec._replace(init=read_config(config.workdir)[1].init), None
  run = load_run(config.init, parallel.local_mesh())
  found = differences(describe(run.config, run.spec), describe(config, spec))
  for name, (old, new) in found.items():
    section = name.partition('.')[0]
    free = any(name == x or name.startswith(f'{x}.') for x in _FREE)
    free |= name == 'diffusion.adversary' and None in (old, new)
    if section in ('spec', 'condition', 'diffusion', 'network') and not free:
      raise ValueError(
        f'--init {config.init} has {name} {old!r}, and this run has {new!r}'
      )
  return spec._replace(init=digest(run.params)), jax.device_get(run.params)
