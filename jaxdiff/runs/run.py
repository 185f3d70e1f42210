"""A run on disk: the model that a workdir holds."""

import hashlib
import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from jaxdiff import averages, files, models, parallel
from jaxdiff.config import Autoencoding, Config, Spec
from jaxdiff.models import Model
from jaxdiff.runs.config_json import read_config
from jaxdiff.runs.store import Checkpoints


class Run(NamedTuple):
  """The configuration, the model and the weights of a workdir."""

  workdir: Path
  config: Config
  spec: Spec
  model: Model
  step: int
  params: Any

  @property
  def small_shape(self) -> tuple[int, ...]:
    """The shape of the images that the model enlarges."""
    size = self.config.condition.low_res
    return (size, size, self.spec.shape[-1])


def load(
  workdir: str | Path,
  mesh: Mesh,
  *,
  checkpoint: int | None = None,
  ema: bool | float = True,
) -> Run:
  """Loads a trained model; only the weights asked for are read.

  Args:
    workdir: of train.py.
    mesh: from `parallel.make_mesh`; the weights go to each of its devices.
    checkpoint: the step; None for the newest good one.
    ema: the averaged weights; or the width of an average that is made of those
      of `training.ema_stds` in all checkpoints up to this one, see `averages`.

  Raises:
    FileNotFoundError: no run there, or no checkpoint yet.
    ValueError: config.json is damaged, or no average of that width can be made.
    DamagedCheckpointError: no checkpoint can be trusted.
  """
  config, spec = read_config(workdir)
  if isinstance(config.diffusion, Autoencoding):
    # Features that its loss compares are for training alone.
    own = replace(config.diffusion, perceptual=None, perceptual_weight=1.0)
    config = replace(config, diffusion=own)
  model = models.make(config, spec)
  everywhere = parallel.replicated(mesh)
  model = model._replace(frozen=jax.device_put(model.frozen, everywhere))
  checkpoints = Checkpoints(workdir)
  params = jax.eval_shape(model.init, jax.random.key(0))

  def read(state: dict[str, Any], step: int | None) -> tuple[int, Any]:
    sharding = parallel.state_sharding(state, mesh)
    placed = parallel.placed(state, sharding)
    restored = checkpoints.restore(placed, step, partial=True)
    if restored is None:
      raise FileNotFoundError(f'{workdir} holds no checkpoint yet: train first')
    return restored

  if isinstance(ema, bool):
    name = 'ema_params' if ema else 'params'
    step, state = read({name: params}, checkpoint)
    return Run(files.as_path(workdir), config, spec, model, step, state[name])
  stds = config.training.ema_stds
  if not stds:
    raise ValueError(
      f'--ema-std needs a run that was trained with --training.ema-stds, and '
      f'{workdir} was not'
    )
  state = {'averages': (params,) * len(stds)}
  step, newest = read(state, checkpoint)
  steps = [n for n in checkpoints.steps() if n < step]
  kept = itertools.chain(
    *(read(state, n)[1]['averages'] for n in steps), newest['averages']
  )
  try:
    weights = averages.weights(
      np.repeat([*steps, step], len(stds)), stds * (len(steps) + 1), step, ema
    )
  except ValueError as error:
    raise ValueError(
      f'--ema-std: {error} (--checkpoint.keep-every in training)'
    ) from error
  made = averages.combined(kept, weights)
  sharding = parallel.state_sharding(params, mesh)
  made = jax.tree.map(jax.device_put, made, sharding)
  return Run(files.as_path(workdir), config, spec, model, step, made)


def digest(params: Any) -> str:
  """Computes the SHA-256 of weights: their names, shapes and values."""
  sha256 = hashlib.sha256()
  for path, x in jax.tree_util.tree_leaves_with_path(params):
    name = jax.tree_util.keystr(path)
    array = np.ascontiguousarray(jax.device_get(x))
    sha256.update(f'{name} {array.dtype} {array.shape}'.encode())
    sha256.update(array.tobytes())
  return sha256.hexdigest()
