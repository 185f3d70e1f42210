"""A published Stable Diffusion 1 or 2 as a run that was never trained here.

It is a folder in diffusers' layout of five parts, unet, vae, text_encoder,
tokenizer and scheduler; or the single file of its authors, with the merges of
the tokenizer beside it. All files and fields are checked before the weights are
read.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
from jax.sharding import Mesh

from jaxdiff import config as c
from jaxdiff import hub, models, parallel
from jaxdiff.models.model import Params
from jaxdiff.networks.autoencoder import AutoencoderKL
from jaxdiff.networks.clip import ClipText
from jaxdiff.networks.clip_layers import ACTIVATIONS
from jaxdiff.pretrained import (
  checkpoint_file,
  configs,
  folders,
  scheduler_config,
  unet_config,
  unet_weights,
)
from jaxdiff.pretrained.autoencoder_weights import autoencoder_network
from jaxdiff.pretrained.clip_weights import clip_text_network
from jaxdiff.pretrained.scheduler_config import Scheduler
from jaxdiff.pretrained.unet_config import TextUNet
from jaxdiff.runs.run import Run

_FETCH = (
  'it from https://huggingface.co/stable-diffusion-v1-5/stable-diffusion-v1-5'
)
_INDEX = 'model_index.json'
# Part -> the file that describes it, and the stem of its weights.
_PARTS = {
  'unet': ('config.json', unet_weights.STEM),
  'vae': ('config.json', unet_weights.STEM),
  'text_encoder': ('config.json', 'model'),
  'scheduler': ('scheduler_config.json', None),
}
_SINGLE_FILE = {
  '_class_name': 'PNDMScheduler',
  'beta_start': 0.00085,
  'beta_end': 0.012,
  'beta_schedule': 'scaled_linear',
  'skip_prk_steps': True,
  'steps_offset': 1,
}


class Parts(NamedTuple):
  """The parts of a Stable Diffusion; `params` reads those of the U-Net."""

  unet: TextUNet
  vae: tuple[AutoencoderKL, float]  # and the scale of its latents
  text: ClipText
  scheduler: Scheduler
  params: Callable[[], Params]


def is_one(path: str | Path) -> bool:
  """Tells whether a path is a single file, or has a part and is no run."""
  path = hub.local_path(path)
  if (path / 'config.json').is_file():
    return False
  parts = any((path / part).is_dir() for part in _PARTS)
  named = (path / _INDEX).is_file() or checkpoint_file.is_file(path)
  return parts or named


class Described(NamedTuple):
  """A Stable Diffusion whose weights are not read yet."""

  config: c.Config
  spec: c.Spec
  params: Callable[[], Params]


def load(path: str | Path, mesh: Mesh, *settings: Any) -> Run:
  """Loads a Stable Diffusion.

  Args:
    path: The folder, or the single file.
    mesh: The weights go to each of its devices.
    *settings: Of `read`.
  """
  config, spec, read_params = read(path, *settings)
  model = models.make(config, spec)
  everywhere = parallel.replicated(mesh)
  model = model._replace(frozen=jax.device_put(model.frozen, everywhere))
  dtype = config.network.dtype
  params = jax.tree.map(lambda x: x.astype(dtype), read_params())
  params = jax.device_put(params, everywhere)
  return Run(Path(config.workdir), config, model.spec, model, 0, params)


def read(
  path: str | Path,
  size: int | None = None,
  dtype: str = 'float32',
  prediction: str | None = None,
) -> Described:
  """Reads all of a Stable Diffusion but its weights.

  Args:
    path: The folder, or the single file.
    size: Side length of images; None for that of its training.
    dtype: Of the weights of the U-Net and of its computation.
    prediction: 'eps' or 'v', of a single file of version 2, which does not say.

  Raises:
    FileNotFoundError: Files are missing; all of them are named.
    ValueError: A file is of another network, or says what is not known here.
  """
  path = hub.local_path(path)
  single = path.is_file()
  parts = _of_file(path, prediction) if single else _of_folder(path)
  _check_fit(path, parts)
  (vae, scale), scheduler = parts.vae, parts.scheduler
  side, num = _side(size, parts.unet, vae.factor), vae.latent_channels
  spec = c.Spec(
    'image',
    (side * vae.factor, side * vae.factor, vae.image_channels),
    text_dims=(parts.text.width, parts.text.width),
    latents={
      'shape': (side, side, num),
      'shift': (0.0,) * num,
      'scale': (scale,) * num,
      'sha256': None,  # of the autoencoder that is there
    },
  )
  config = c.Config(
    workdir=str(path.parent if single else path),
    data=c.Data(name='stable_diffusion'),
    latent=c.Latent(autoencoder=str(path)),
    condition=c.Condition(
      text='clip', clip=str(path), pooled=False, length=parts.text.max_length
    ),
    diffusion=c.Gaussian(
      schedule=scheduler.schedule,
      num_steps=scheduler.num_steps,
      steps_from_zero=True,
      prediction=scheduler.prediction,
      zero_terminal_snr=scheduler.zero_terminal_snr,
    ),
    network=_network(parts.unet, side, dtype),
    sampling=c.Sampling(
      sampler=scheduler.sampler,
      times=scheduler.times,
      threshold='none',
      scale=7.5,
      num=4,  # previews of a run that starts from it
    ),
  )
  return Described(config, spec, parts.params)


def _of_folder(path: Path) -> Parts:
  index = path / _INDEX
  if index.is_file():
    configs.read(index, _check_index, 'Stable Diffusion')
  _check_files(path)

  def read(part: str, make: Callable[[configs.Config], Any]) -> Any:
    return configs.read(path / part / _PARTS[part][0], make, part)

  unet = read('unet', unet_config.read_unet_config)
  return Parts(
    unet,
    read('vae', _autoencoder),
    read('text_encoder', _text),
    read('scheduler', scheduler_config.read_scheduler),
    lambda: unet_weights.read_unet(path / 'unet', unet, _FETCH),
  )


def _of_file(path: Path, prediction: str | None) -> Parts:
  checkpoint_file.find_merges(path)
  version = checkpoint_file.version_of(path)
  known = version.prediction or prediction
  if known is None or prediction not in (None, known):
    raise ValueError(
      f'{path} is of {version.name}, '
      + (
        f'whose network predicts {version.prediction}, not {prediction}'
        if prediction
        else 'and a file of it does not say what its network predicts: give '
        '--prediction v (images of 768) or --prediction eps (of 512)'
      )
    )
  unet = unet_config.read_unet_config(version.unet)
  if known == 'v':
    unet = unet._replace(side=96)
  scheduler = scheduler_config.read_scheduler(_SINGLE_FILE)
  return Parts(
    unet,
    _autoencoder(version.vae),
    clip_text_network(version.text),
    scheduler._replace(prediction=known),
    lambda: checkpoint_file.unet_params(path, unet),
  )


def _check_files(path: Path) -> None:
  missing = []
  for part, (config, stem) in _PARTS.items():
    folder = path / part
    if not (folder / config).is_file():
      missing.append(f'{part}/{config}')
    if stem is not None:
      missing += [f'{part}/{x}' for x in folders.missing(folder, stem)]
  merges = [path / 'tokenizer' / x for x in ('merges.txt', 'tokenizer.json')]
  if not any(file.is_file() for file in merges):
    missing.append('tokenizer/merges.txt')
  if missing:
    raise FileNotFoundError(
      f'{path} is no whole Stable Diffusion: {", ".join(missing)} '
      f'{"is" if len(missing) == 1 else "are"} missing; fetch {_FETCH}'
    )


def _check_index(config: configs.Config) -> None:
  configs.one_of(config, '_class_name', ('StableDiffusionPipeline',))


def _check_fit(path: Path, parts: Parts) -> None:
  unet, (vae, _) = parts.unet, parts.vae
  for what, got, wanted in (
    ('channels of latents', unet.in_channels, vae.latent_channels),
    ('outputs', unet.settings['out_channels'], vae.latent_channels),
    ('width of text', unet.settings['text_dim'], parts.text.width),
  ):
    if got != wanted:
      raise ValueError(
        f'the parts of {path} do not fit: the U-Net has {got} {what}, the '
        f'others {wanted}'
      )


def _autoencoder(config: configs.Config) -> tuple[AutoencoderKL, float]:
  network = autoencoder_network(config)
  for name in ('shift_factor', 'latents_mean', 'latents_std'):
    if config.get(name) is not None:
      raise ValueError(f'{name} must be null')
  return network, configs.field(config, 'scaling_factor', 0.18215)


def _text(config: configs.Config) -> ClipText:
  configs.one_of(config, 'hidden_act', ('quick_gelu', *ACTIVATIONS))
  return clip_text_network(config)


def _network(unet: TextUNet, side: int, dtype: str) -> c.UNet:
  network = unet.network(side)
  names = set.intersection(
    *({x.name for x in dataclasses.fields(y)} for y in (c.UNet, network))
  )
  settings: dict[str, Any] = {name: getattr(network, name) for name in names}
  return c.UNet(**settings | {'dtype': dtype})


def _side(size: int | None, unet: TextUNet, factor: int) -> int:
  """Returns the side length of latents."""
  if size is None:
    return unet.side
  least = factor * 2 ** (len(unet.attends) - 1)
  if size % factor or size < least:
    raise ValueError(
      f'--size must be a multiple of {factor}, at least {least}, got {size}'
    )
  return size // factor
