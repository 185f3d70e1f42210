"""The parts of a published Stable Diffusion, checked before weights are read.

A folder in diffusers' layout has unet, vae, text_encoder, tokenizer and
scheduler, SDXL a second encoder and tokenizer. A single file has no configs.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

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
from jaxdiff.pretrained import checkpoint_versions as versions
from jaxdiff.pretrained.autoencoder_weights import autoencoder_network
from jaxdiff.pretrained.clip_weights import clip_text_network
from jaxdiff.pretrained.scheduler_config import Scheduler
from jaxdiff.pretrained.state_dicts import Params
from jaxdiff.pretrained.unet_config import TextUNet

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


class Parts(NamedTuple):
  """The parts of a Stable Diffusion; `params` reads those of the U-Net."""

  unet: TextUNet
  vae: tuple[AutoencoderKL, float]  # and the scale of its latents
  text: ClipText
  scheduler: Scheduler
  params: Callable[[], Params]
  second: ClipText | None = None  # of SDXL


def are_there(path: Path) -> bool:
  """Tells whether a folder has a part, or says that it is one of these."""
  parts = any((path / part).is_dir() for part in _PARTS)
  return parts or (path / _INDEX).is_file()


def read(path: Path, prediction: str | None) -> Parts:
  """Reads all parts but their weights.

  Args:
    path: The folder, or the single file.
    prediction: Of a single file of version 2, which does not say.

  Raises:
    FileNotFoundError: Files are missing; all of them are named.
    ValueError: A file is of another network, or says what is not known here.
  """
  parts = _of_file(path, prediction) if path.is_file() else _of_folder(path)
  _check_fit(path, parts)
  return parts


def _of_folder(path: Path) -> Parts:
  index = path / _INDEX
  if index.is_file():
    configs.read(index, _check_index, 'Stable Diffusion')
  _check_files(path)

  def read(part: str, make: Callable[[configs.Config], Any]) -> Any:
    name = _PARTS[part.removesuffix('_2')][0]
    return configs.read(path / part / name, make, part)

  unet = read('unet', unet_config.read_unet_config)
  return Parts(
    unet,
    read('vae', _autoencoder),
    read('text_encoder', _text),
    read('scheduler', scheduler_config.read_scheduler),
    lambda: unet_weights.read_unet(path / 'unet', unet, _FETCH),
    read('text_encoder_2', _text) if _is_xl(path) else None,
  )


def _of_file(path: Path, prediction: str | None) -> Parts:
  version = checkpoint_file.version_of(path)
  checkpoint_file.find_merges(path)
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
  more = versions.XL_SCHEDULER if version.second else {}
  scheduler = scheduler_config.read_scheduler(versions.SCHEDULER | more)
  return Parts(
    unet,
    _autoencoder(version.vae),
    clip_text_network(version.text),
    scheduler._replace(prediction=known),
    lambda: checkpoint_file.unet_params(path, unet),
    clip_text_network(version.second) if version.second else None,
  )


def _check_files(path: Path) -> None:
  missing = []
  tokenizers = ['tokenizer']
  needed = dict(_PARTS)
  if _is_xl(path):
    needed['text_encoder_2'] = _PARTS['text_encoder']
    tokenizers.append('tokenizer_2')
  for part, (config, stem) in needed.items():
    folder = path / part
    if not (folder / config).is_file():
      missing.append(f'{part}/{config}')
    if stem is not None:
      missing += [f'{part}/{x}' for x in folders.missing(folder, stem)]
  for part in tokenizers:
    merges = [path / part / x for x in ('merges.txt', 'tokenizer.json')]
    if not any(file.is_file() for file in merges):
      missing.append(f'{part}/merges.txt')
  if missing:
    raise FileNotFoundError(
      f'{path} is no whole Stable Diffusion: {", ".join(missing)} '
      f'{"is" if len(missing) == 1 else "are"} missing; fetch {_FETCH}'
    )


def _check_index(config: configs.Config) -> None:
  names = [
    f'StableDiffusion{version}{task}Pipeline'
    for version in ('', 'XL')
    for task in ('', 'Inpaint')
  ]
  configs.one_of(config, '_class_name', names)


def _is_xl(path: Path) -> bool:
  return any(
    (path / f'{part}_2').is_dir() for part in ('text_encoder', 'tokenizer')
  )


def text_dims(parts: Parts) -> tuple[int, int]:
  """The width of text, and of the vector beside it."""
  width = parts.text.width
  if parts.second is None:
    return width, width
  told = 6 * (parts.unet.sizes_dim or 0)
  second = parts.second
  return width + second.width, (second.projection_dim or 0) + told


def _check_fit(path: Path, parts: Parts) -> None:
  unet, (vae, _) = parts.unet, parts.vae
  width, vector = text_dims(parts)
  images = unet.in_channels - unet.settings['beside']
  if parts.second is None and unet.sizes_dim is None:
    vector = None
  for what, got, wanted in (
    ('channels of latents', images, vae.latent_channels),
    ('outputs', unet.settings['out_channels'], vae.latent_channels),
    ('width of text', unet.settings['text_dim'], width),
    ('width of vector', unet.settings.get('pooled_dim'), vector),
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
