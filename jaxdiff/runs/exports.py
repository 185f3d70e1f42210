"""Weights of a run as one safetensors file, and back.

A U-Net of images and an autoencoder have the names of diffusers; any other
network has ours, such as 'blocks.attention.q.kernel'. The configuration of the
run is beside the file, so that it becomes a run again.
"""

import dataclasses
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxdiff import config as c
from jaxdiff import files, hub, models
from jaxdiff.config import Config, Spec
from jaxdiff.data.sets import SETS
from jaxdiff.models import autoencoder
from jaxdiff.pretrained import autoencoder_weights, configs, ddpm_weights
from jaxdiff.pretrained.files import State
from jaxdiff.pretrained.safetensors_files import read_safetensors
from jaxdiff.pretrained.state_dicts import Params
from jaxdiff.runs.published import Published
from jaxdiff.runs.run import Run


def save(run: Run, out: str | Path) -> None:
  """Writes OUT.safetensors and OUT.json.

  Raises:
    ValueError: The file does not end in .safetensors.
    OSError: A file cannot be written.
  """
  out, described = check(out)
  layout = _layout(run.config, run.spec, run.params)
  state = layout.export(run.params)
  content = safetensors.numpy.save(state)
  files.save(out, lambda file: file.write_bytes(content))
  files.write_json(described, c.describe(run.config, run.spec))


def check(out: str | Path) -> tuple[Path, Path]:
  """Returns the paths of both files, where they can be written; see `save`."""
  paths = _paths(files.as_path(out).expanduser())
  check_pair(*paths)
  return paths


def check_pair(first: Path, beside: Path) -> None:
  """Checks that a file can be written, and a second one of its name beside it.

  Raises:
    OSError: as `files.check_target`; or the second one is there without the
      first, so it is of something else.
  """
  files.check_target(first)
  files.check_target(beside)
  if beside.exists() and not first.exists():
    raise FileExistsError(
      f'{beside} is there, and {first.name} would be written with another '
      f'{beside.name}: give another name'
    )


def load(path: str | Path, workdir: str) -> Published:
  """Reads what `save` wrote.

  Raises:
    FileNotFoundError: A file is missing.
    ValueError: A file is damaged, or the weights are not of the configuration.
  """
  path, described = _paths(hub.local_path(path))
  config, spec = configs.read(described, _undescribed, 'run')
  state = read_safetensors(path)
  try:
    model = models.make(config, spec)
  except ValueError as error:
    raise ValueError(f'{described} describes no run: {error}') from error
  shapes = jax.eval_shape(model.init, jax.random.key(0))
  try:
    params = _layout(config, spec, shapes).read(state)
  except ValueError as error:
    raise ValueError(f'{path}: {error}') from error
  config = dataclasses.replace(config, workdir=workdir)
  return Published(config, spec, params)


def is_exported(path: Path) -> bool:
  """Tells whether a path is a file that `save` wrote."""
  return path.suffix == '.safetensors' and path.with_suffix('.json').is_file()


def _paths(path: Path) -> tuple[Path, Path]:
  if path.suffix != '.safetensors':
    raise ValueError(f'weights are written to .safetensors, got {path}')
  return path, path.with_suffix('.json')


def _undescribed(config: configs.Config) -> tuple[Config, Spec]:
  """Reads a configuration that may come from strangers."""
  named = {'log': config.get('log')}
  for section in ('diffusion', 'network', 'optimizer', 'sampling'):
    values = configs.section(config, section)
    named |= {f'{section}.{name}': x for name, x in values.items()}
  data = configs.section(config, 'data').get('name')
  if str(data).partition(':')[0] not in SETS:
    named['data.name'] = data
  for name, value in named.items():
    # 'package.module:function' would be imported, and called.
    if isinstance(value, str) and ':' in value:
      raise ValueError(
        f'{name} is {value[:100]!r}, of another package, which is not imported '
        'from a file'
      )
  return c.undescribe(config)


class _Layout(NamedTuple):
  """The names of parameters in a file."""

  export: Callable[[Params], dict[str, np.ndarray]]
  read: Callable[[State], Params]


def _layout(config: Config, spec: Spec, shapes: Params) -> _Layout:
  if isinstance(config.network, c.Autoencoder):
    network = autoencoder.make_network(config, spec)
    return _Layout(
      partial(autoencoder_weights.autoencoder_state, network=network),
      partial(autoencoder_weights.autoencoder_params, network=network),
    )
  if isinstance(config.network, c.UNet):
    levels = len(config.network.channel_mults)
    if ddpm_weights.is_ddpm(shapes, levels):
      return _Layout(
        partial(ddpm_weights.ddpm_state, levels=levels),
        partial(ddpm_weights.ddpm_params, shapes=shapes, levels=levels),
      )
  return _Layout(_ours, partial(_of_ours, shapes=shapes))


def _ours(params: Params) -> dict[str, np.ndarray]:
  return {
    '.'.join(path): np.array(x, order='C')
    for path, x in flatten_dict(jax.device_get(params)).items()
  }


def _of_ours(state: State, shapes: Params) -> Params:
  flat = flatten_dict(shapes)
  wanted = {'.'.join(path): (x.shape, x.dtype) for path, x in flat.items()}
  found = {name: (x.shape, x.dtype) for name, x in state.items()}
  wrong = sorted(k for k in wanted | found if wanted.get(k) != found.get(k))
  if wrong:
    raise ValueError(
      f'{len(wrong)} tensors are missing, left over or of another shape or '
      f'type, such as {wrong[0][:200]!r}'
    )
  return unflatten_dict(
    {path: jnp.asarray(state['.'.join(path)]) for path in flat}
  )
