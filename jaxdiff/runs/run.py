"""A run on disk: the model that a workdir holds."""

import hashlib
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from jaxdiff import models, parallel
from jaxdiff.config import Config, Spec
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
  ema: bool = True,
) -> Run:
  """Loads a trained model; only the weights asked for are read.

  Args:
    workdir: of train.py.
    mesh: from `parallel.make_mesh`; the weights go to each of its devices.
    checkpoint: the step; None for the newest good one.
    ema: the averaged weights.

  Raises:
    FileNotFoundError: no run there, or no checkpoint yet.
    ValueError: config.json is damaged.
    DamagedCheckpointError: no checkpoint can be trusted.
  """
  config, spec = read_config(workdir)
  model = models.make(config, spec)
  name = 'ema_params' if ema else 'params'
  abstract = {name: jax.eval_shape(model.init, jax.random.key(0))}
  sharding = parallel.state_sharding(abstract, mesh)
  restored = Checkpoints(workdir).restore(
    parallel.placed(abstract, sharding), checkpoint, partial=True
  )
  if restored is None:
    raise FileNotFoundError(f'{workdir} holds no checkpoint yet: train first')
  step, state = restored
  return Run(Path(workdir), config, spec, model, step, state[name])


def digest(params: Any) -> str:
  """Computes the SHA-256 of weights: their names, shapes and values."""
  sha256 = hashlib.sha256()
  for path, x in jax.tree_util.tree_leaves_with_path(params):
    name = jax.tree_util.keystr(path)
    array = np.ascontiguousarray(jax.device_get(x))
    sha256.update(f'{name} {array.dtype} {array.shape}'.encode())
    sha256.update(array.tobytes())
  return sha256.hexdigest()
