"""Published models as runs: DDPM in diffusers' layout, original DiT and EDM.

Samples are drawn from such a run as from any other.
"""

import os
from pathlib import Path
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxdiff import config as c
from jaxdiff import files, hub, parallel
from jaxdiff.config import Config, Spec
from jaxdiff.networks.dit import DiT
from jaxdiff.networks.unet import UNet
from jaxdiff.pretrained import (
  autoencoder_weights,
  configs,
  ddpm_weights,
  dit_weights,
  edm_weights,
  folders,
)
from jaxdiff.pretrained.configs import field
from jaxdiff.pretrained.files import State
from jaxdiff.pretrained.state_dicts import Params
from jaxdiff.runs.config_json import save_config
from jaxdiff.runs.store import Checkpoints

_FETCH = (
  'a folder in the layout of google/ddpm-cifar10-32, or a file such as '
  'https://dl.fbaipublicfiles.com/DiT/models/DiT-XL-2-256x256.pt'
)
_EDM = (
  "EDM's .pkl files are programs, and are not read: in the code of EDM, save "
  "pickle.load(file)['ema'].state_dict() by safetensors.torch.save_file"
)
_LATENT_SCALE = 0.18215  # of the autoencoder of Stable Diffusion 1 and DiT
_BETAS = {
  'linear': 'linear_betas({!r}, {!r})',
  'scaled_linear': 'scaled_linear_betas({!r}, {!r})',
  'squaredcos_cap_v2': 'cosine_betas',
}
_PREDICTIONS = {'epsilon': 'eps', 'v_prediction': 'v', 'sample': 'x0'}
_VARIANCES = {'fixed_small': 'small', 'fixed_large': 'large'}


class Published(NamedTuple):
  """A model: its configuration, the properties of its data, its parameters."""

  config: Config
  spec: Spec
  params: Params


def read(
  source: str | os.PathLike[str],
  workdir: str,
  *,
  data: str = 'none',
  autoencoder: str | None = None,
  num_heads: int | None = None,
) -> Published:
  """Reads a published model.

  Args:
    source: A folder of a UNet2DModel of diffusers, or a file of a DiT or EDM.
    workdir: Of the run that it becomes.
    data: Name of the data set that it was trained on, for evaluation.
    autoencoder: Of a DiT: a folder, or the workdir of a run.
    num_heads: Of a DiT that is none of S, B, L and XL.

  Raises:
    FileNotFoundError: A file is missing, by name.
    ValueError: A file cannot be read, or is of no network that is here.
  """
  path = hub.local_path(source)
  if path.suffix == '.pkl':
    raise ValueError(f'{source}: {_EDM}')
  if path.is_dir():
    if autoencoder is not None or num_heads is not None:
      raise ValueError('--autoencoder and --num-heads are for a file of a DiT')
    return _ddpm(path, workdir, data)
  state, _ = folders.read_state(path, _FETCH)
  if edm_weights.is_edm(state):
    if autoencoder is not None or num_heads is not None:
      raise ValueError('--autoencoder and --num-heads are for a file of a DiT')
    try:
      return _edm(state, workdir, data)
    except ValueError as error:
      raise ValueError(f'{source}: {error}') from error
  if not dit_weights.is_dit(state):
    raise ValueError(f'{source} holds no DiT and no EDM of the original code')
  if autoencoder is None:
    raise ValueError(
      'a DiT is of latents: give --autoencoder, such as '
      'hf://stabilityai/sd-vae-ft-ema'
    )
  try:
    return _dit(state, workdir, data, autoencoder, num_heads)
  except ValueError as error:
    raise ValueError(f'{source}: {error}') from error


def save(published: Published) -> None:
  """Writes a run with one checkpoint, of step 0.

  Raises:
    FileExistsError: The workdir holds a run.
  """
  workdir = files.as_path(published.config.workdir)
  files.check_target(workdir, folder=True)
  if (workdir / 'config.json').exists():
    raise FileExistsError(f'{workdir} holds a run: give another workdir')
  params = published.params
  with Checkpoints(workdir) as checkpoints:
    checkpoints.save(0, {'params': params, 'ema_params': params})
  if parallel.is_primary():
    save_config(workdir, c.describe(published.config, published.spec))


def _ddpm(folder: Path, workdir: str, data: str) -> Published:
  unet, scheduler = folder, folder
  if (folder / 'unet').is_dir():
    unet, scheduler = folder / 'unet', folder / 'scheduler'
  settings, side, channels = configs.read(
    unet / 'config.json', ddpm_weights.ddpm_settings, 'UNet2DModel'
  )
  diffusion, clips = configs.read(
    scheduler / 'scheduler_config.json', _scheduler, 'scheduler of DDPM'
  )
  network = UNet(out_channels=channels, **settings)
  levels = len(settings['channel_mults'])
  try:
    shapes = _shapes(network, (side, side, channels))
    path = folders.find_weights(unet, ddpm_weights.STEM, _FETCH)
    state, _ = folders.read_state(path, _FETCH)
    params = ddpm_weights.ddpm_params(state, shapes, levels)
  except ValueError as error:
    raise ValueError(f'{unet}: {error}') from error
  config = Config(
    workdir=workdir,
    data=c.Data(name=data),
    diffusion=diffusion,
    network=c.UNet(**settings),
    sampling=c.Sampling(
      sampler='ancestral', steps=1000, threshold='clip' if clips else 'none'
    ),
  )
  return Published(config, Spec('image', (side, side, channels)), params)


def _scheduler(config: configs.Config) -> tuple[c.Gaussian, bool]:
  """Reads the noise of a DDPMScheduler, and whether estimates are clipped."""
  tables = {
    '_class_name': {'DDPMScheduler': None, 'DDIMScheduler': None},
    'beta_schedule': _BETAS,
    'prediction_type': _PREDICTIONS,
    'variance_type': _VARIANCES,
    'trained_betas': {None: None},
    'thresholding': {False: None, None: None},
    'clip_sample': {True: None, False: None},
  }
  first = {name: next(iter(table)) for name, table in tables.items()}
  found = first | {k: x for k, x in config.items() if k in tables}
  for name, table in tables.items():
    if not isinstance(found[name], str | bool | None) or (
      found[name] not in table
    ):
      raise ValueError(
        f'{name} must be one of {list(table)}, got {str(found[name])[:100]!r}'
      )
  ends = (
    field(config, f'beta_{end}', default, 1)
    for end, default in (('start', 1e-4), ('end', 0.02))
  )
  diffusion = c.Gaussian(
    schedule=_BETAS[found['beta_schedule']].format(*ends),
    num_steps=field(config, 'num_train_timesteps', 1000),
    steps_from_zero=True,
    prediction=_PREDICTIONS[found['prediction_type']],
    times='grid',
    variance=_VARIANCES[found['variance_type']],
  )
  return diffusion, found['clip_sample']


def _dit(
  state: State,
  workdir: str,
  data: str,
  autoencoder: str,
  num_heads: int | None,
) -> Published:
  settings, side, channels, classes = dit_weights.dit_settings(state, num_heads)
  network = DiT(2 * channels, num_classes=classes, **settings)
  shapes = _shapes(network, (side, side, channels))
  params = dit_weights.dit_params(state, shapes)
  found = autoencoder_weights.load_autoencoder(autoencoder)
  coder = found.network
  if coder.latent_channels != channels:
    raise ValueError(
      f'its latents have {channels} channels, those of {autoencoder} have '
      f'{coder.latent_channels}'
    )
  size = side * coder.factor
  spec = Spec(
    'image',
    (size, size, coder.image_channels),
    num_classes=classes,
    latents={
      'shape': (side, side, channels),
      'shift': (0.0,) * channels,
      'scale': (_LATENT_SCALE,) * channels,
      'sha256': found.sha256,
    },
  )
  config = Config(
    workdir=workdir,
    data=c.Data(name=data),
    latent=c.Latent(autoencoder=autoencoder),
    condition=c.Condition(label=True),
    diffusion=c.Gaussian(
      schedule='linear_betas',
      steps_from_zero=True,
      prediction='eps',
      loss='hybrid',
      times='grid',
      variance='learned',
    ),
    network=c.DiT(**settings),
    sampling=c.Sampling(
      sampler='ancestral',
      steps=250,
      threshold='none',
      scale=4.0,
      guidance='classifier_free(channels=3)',
    ),
  )
  return Published(config, spec, params)


def _edm(state: State, workdir: str, data: str) -> Published:
  settings, side, channels, classes = edm_weights.edm_settings(state)
  levels = len(settings['channel_mults'])
  network = UNet(channels, num_classes=classes, **settings)
  shapes = _shapes(network, (side, side, channels))
  params = edm_weights.edm_params(state, shapes, side, levels)
  config = Config(
    workdir=workdir,
    data=c.Data(name=data),
    condition=c.Condition(label=classes is not None, drop=0.0),
    diffusion=c.Gaussian(
      schedule='edm(0.002, 80.0, 7.0)',
      prediction='edm(0.5)',
      log_sigma=True,
      times='log_normal(-1.2, 1.2)',
      positions='independent',
    ),
    network=c.UNet(**settings),
    sampling=c.Sampling(
      sampler='heun', steps=17, threshold='none', denoise_last=True
    ),
  )
  spec = Spec('image', (side, side, channels), num_classes=classes)
  return Published(config, spec, params)


def _shapes(network: nn.Module, shape: tuple[int, ...]) -> Params:
  """Computes the shapes of the parameters, for data of a shape."""
  xt, t = (jax.ShapeDtypeStruct(x, jnp.float32) for x in ((1, *shape), (1,)))
  return jax.eval_shape(network.init, jax.random.key(0), xt, t)['params']
