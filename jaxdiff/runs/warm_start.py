"""Warm start: the weights of another run, from which a run starts (--init)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import jax

from jaxdiff import files, parallel
from jaxdiff.config import Config, Spec, describe, registry
from jaxdiff.models.model import Params
from jaxdiff.runs.config_json import differences, read_config
from jaxdiff.runs.run import digest
from jaxdiff.runs.run import load as load_run
from jaxdiff.runs.store import Checkpoints

if TYPE_CHECKING:
  from jaxdiff.runs.stable_diffusion import Described

# Fields that may differ between the two runs: of training, not of the network.
_FREE = (
  *('spec.data', 'spec.init', 'spec.latents.sha256'),
  *('condition.drop', 'condition.augment', 'condition.sizes'),
  *('network.dtype', 'network.remat', 'network.dropout'),
  *('network.remat_policy', 'network.time_scale'),
  *('diffusion.loss', 'diffusion.space', 'diffusion.times'),
  *('diffusion.positions', 'diffusion.weighting', 'diffusion.per_log_snr'),
  *('diffusion.error', 'diffusion.offset_noise'),
  *('diffusion.perceptual', 'diffusion.perceptual_weight'),
  *('diffusion.adversarial_weight', 'diffusion.adversarial_start'),
)
_COMPARED = 'spec', 'condition', 'diffusion', 'network'
_SECTIONS = 'latent', 'condition', 'diffusion', 'network', 'sampling'


def published(config: Config, prediction: str | None) -> Config:
  """Takes the model of a published --init, which no file of configs/ describes.

  That is a Stable Diffusion, or a run that was imported and has no data.

  Args:
    config: of a file, with --init.
    prediction: of a single file of Stable Diffusion 2, which does not say.
  """
  if config.init is None:
    return config
  from jaxdiff import hub
  from jaxdiff.runs import stable_diffusion  # which most runs have not

  if stable_diffusion.is_one(config.init):
    base = _stable_diffusion(config, config.data.image_size, prediction).config
  else:
    if config.init.startswith(hub.SCHEME):
      raise ValueError(f'--init {config.init} is no Stable Diffusion')
    if not (files.as_path(config.init) / 'config.json').exists():
      return config  # a run that continues may need it no more; see `load`
    base, spec = read_config(config.init)
    if spec.data is not None:
      return config
  if getattr(base.network, 'beside', 0):
    raise ValueError(f'{config.init} fills in, and is not trained further here')
  return replace(config, **{x: getattr(base, x) for x in _SECTIONS})


def load(config: Config, spec: Spec) -> tuple[Config, Spec, Params]:
  """Loads the averaged weights of --init.

  Args:
    config: of the run.
    spec: of its data.

  Returns:
    The configuration, its network for images of the data's size; the spec with
    the hash of the weights, and the latents of --init; and the weights: None
    without --init, and for a run that continues and needs them no more.

  Raises:
    FileNotFoundError: no run there, or no checkpoint yet.
    ValueError: its network, its noise or its data are others, or a run that
      continues began with other weights.
  """
  if config.init is None:
    return config, spec, None
  from jaxdiff.runs import stable_diffusion

  if _place(config.init) == _place(config.workdir):
    raise ValueError(f'--init {config.init} is the --workdir itself')
  loss = _loss_of(config)
  taught = loss in registry.DISTILLING
  continues = bool(Checkpoints(config.workdir).steps())
  before, saved = _beginning(config.workdir) if continues else (None, None)
  moved = _place(config.init) != before
  if stable_diffusion.is_one(config.init):
    found = _stable_diffusion(
      config, spec.shape[0], config.diffusion.prediction
    )
    config = _fitted(config, found.config)
  if continues and not (moved or taught) and config.lora.rank is None:
    return config, spec._replace(init=saved), None
  if not stable_diffusion.is_one(config.init):
    run = load_run(config.init, parallel.local_mesh())
    found = stable_diffusion.Described(run.config, run.spec, lambda: run.params)
  if config.latent.autoencoder is not None and spec.latents is None:
    spec = spec._replace(latents=found.spec.latents)
  changed = differences(
    describe(found.config, found.spec), describe(config, spec)
  )
  for name, (old, new) in changed.items():
    section = name.partition('.')[0]
    free = any(name == x or name.startswith(f'{x}.') for x in _FREE)
    free |= name == 'diffusion.adversary' and None in (old, new)
    unread = name == 'spec.num_classes' and not config.condition.label
    if section in _COMPARED and not (free or unread):
      raise ValueError(
        f'--init {config.init} has {name} {old!r}, and this run has {new!r}'
      )
  augmented = bool(found.config.data.augment)
  if augmented != bool(config.data.augment):
    raise ValueError(
      f'--init {config.init} was trained {"with" if augmented else "without"} '
      '--data.augment, of which its network is told: give this run the same'
    )
  # The student of fewer steps alone may be taught by one of more.
  kept = 'progressive' if loss == 'progressive' else None
  teacher = _loss_of(found.config)
  if taught and teacher in registry.ENDS and teacher != kept:
    raise ValueError(
      f'--init {config.init} was trained by {teacher}: it estimates where the '
      f'ODE ends, and the teacher of {loss} must estimate E[x0 | xt]'
    )
  params = jax.device_get(found.params())
  sha256 = digest(params)
  if continues and sha256 != saved:
    raise ValueError(
      f'{config.workdir} began with other weights than those of --init '
      f'{config.init}, and continues from its own: give another --workdir'
    )
  return config, spec._replace(init=sha256), params


def _beginning(workdir: str) -> tuple[str | None, str | None]:
  """Returns the place of the --init of a run, and the hash of its weights."""
  config, spec = read_config(workdir)
  return config.init and _place(config.init), spec.init


def _place(name: str) -> str:
  from jaxdiff import hub

  hosted = name.startswith(hub.SCHEME)
  return name if hosted else str(files.absolute(name))


def _loss_of(config: Config) -> str:
  return getattr(config.diffusion, 'loss', '').partition('(')[0]


def _stable_diffusion(
  config: Config, size: int | None, prediction: str | None
) -> Described:
  from jaxdiff.runs import stable_diffusion

  try:
    return stable_diffusion.read(config.init, size, prediction=prediction)
  except ValueError as error:
    message = str(error).replace('--size', '--data.image-size')
    raise ValueError(message) from error


def _fitted(config: Config, base: Config) -> Config:
  """Moves the attention of a network to the heights of the data's size."""
  native = published(config, config.diffusion.prediction).network
  if config.network.attention_resolutions != native.attention_resolutions:
    return config
  heights = base.network.attention_resolutions
  network = replace(config.network, attention_resolutions=heights)
  return replace(config, network=network)
