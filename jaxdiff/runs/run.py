"""A run on disk: the model that a workdir holds."""

import hashlib
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from jaxdiff import averages, files, models, parallel
from jaxdiff.config import Config, Spec
from jaxdiff.models import Model
from jaxdiff.models.model import Params
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
  lora_scale: float | None = 1.0,
) -> Run:
  """Loads a trained model; only the weights asked for are read.

  Args:
    workdir: of train.py.
    mesh: from `parallel.make_mesh`; the weights go to each of its devices.
    checkpoint: the step; None for the newest good one.
    ema: the averaged weights; or the width of an average that is made of those
      of `training.ema_stds` in all checkpoints up to this one, see `averages`.
    lora_scale: multiplies the factors of a run with lora.rank, which are merged
      into the weights that they were trained beside; None for the factors.

  Raises:
    FileNotFoundError: no run there, or no checkpoint yet.
    ValueError: config.json is damaged, no average of that width can be made, or
      the weights of --init are others.
    DamagedCheckpointError: no checkpoint can be trusted.
  """
  config, spec = read_config(workdir)
  # Features that a loss compares are for training alone.
  config = models.without_features(config)
  try:
    model = models.make(config, spec)
  except ValueError as error:
    raise ValueError(f'{workdir}/config.json: {error}') from error
  everywhere = parallel.replicated(mesh)
  model = model._replace(frozen=jax.device_put(model.frozen, everywhere))
  checkpoints = Checkpoints(workdir)
  key = jax.random.key(0)
  whole = jax.eval_shape(model.init, key)
  params = jax.eval_shape(models.trained(config, model, whole).init, key)

  def made(params: Any) -> Run:
    if config.lora.rank is not None and lora_scale is not None:
      from jaxdiff import lora

      base = base_params(config, spec, mesh)
      scale = lora_scale * models.lora_scale(config)
      params = jax.jit(lora.merged)(base, params, scale)
    return Run(files.as_path(workdir), config, spec, model, step, params)

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
    return made(state[name])
  stds = config.training.ema_stds
  if not stds:
    raise ValueError(
      f'--ema-std needs a run that was trained with --training.ema-stds, and '
      f'{workdir} was not'
    )
  state = {'averages': (params,) * len(stds)}
  step, newest = read(state, checkpoint)
  older = lambda: [n for n in checkpoints.steps() if n < step]

  def snapshots() -> tuple[list[int], list[Params]]:
    steps = older()
    try:
      return steps, [x for n in steps for x in read(state, n)[1]['averages']]
    except (OSError, ValueError):
      # A job that writes here may have removed what was being read.
      if older() == steps:
        raise
    return snapshots()

  steps, kept = snapshots()
  try:
    weights = averages.weights(
      np.repeat([*steps, step], len(stds)), stds * (len(steps) + 1), step, ema
    )
  except ValueError as error:
    raise ValueError(
      f'--ema-std: {error} (--checkpoint.keep-every in training)'
    ) from error
  combined = averages.combined([*kept, *newest['averages']], weights)
  sharding = parallel.state_sharding(params, mesh)
  return made(jax.tree.map(jax.device_put, combined, sharding))


def load_stable_diffusion(path: str | Path, mesh: Mesh, **settings: Any) -> Run:
  """Loads a published Stable Diffusion.

  Args:
    path: the folder, or the single file.
    mesh: the weights go to each of its devices.
    **settings: of `stable_diffusion.read`.

  Raises:
    FileNotFoundError, ValueError: as `stable_diffusion.read`.
  """
  from jaxdiff.runs import stable_diffusion

  config, spec, read_params = stable_diffusion.read(path, **settings)
  model = models.make(config, spec)
  everywhere = parallel.replicated(mesh)
  model = model._replace(frozen=jax.device_put(model.frozen, everywhere))
  dtype = config.network.dtype
  params = jax.tree.map(lambda x: x.astype(dtype), read_params())
  params = jax.device_put(params, everywhere)
  return Run(Path(config.workdir), config, model.spec, model, 0, params)


def base_params(config: Config, spec: Spec, mesh: Mesh) -> Any:
  """Loads the weights of --init, beside which factors were trained.

  Raises:
    FileNotFoundError: They are not there.
    ValueError: They are others.
  """
  from jaxdiff.runs import stable_diffusion

  init = config.init
  try:
    if stable_diffusion.is_one(init):
      params = stable_diffusion.read(
        init, prediction=config.diffusion.prediction
      ).params()
      params = jax.device_put(params, parallel.replicated(mesh))
    else:
      params = load(init, mesh).params
  except FileNotFoundError as error:
    raise FileNotFoundError(
      f'the factors of {config.workdir} are beside the weights of {init}: '
      f'{error}'
    ) from error
  if digest(params) != spec.init:
    raise ValueError(
      f'{init} holds other weights than those beside which the factors of '
      f'{config.workdir} were trained'
    )
  return params


def digest(params: Any) -> str:
  """Computes the SHA-256 of weights: their names, shapes and values."""
  sha256 = hashlib.sha256()
  for path, x in jax.tree_util.tree_leaves_with_path(params):
    name = jax.tree_util.keystr(path)
    array = np.ascontiguousarray(jax.device_get(x))
    sha256.update(f'{name} {array.dtype} {array.shape}'.encode())
    sha256.update(array.tobytes())
  return sha256.hexdigest()
