"""A published Stable Diffusion 1, 2 or XL as a run that was never trained here.

It is a folder or a single file, see `published_parts`.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from jaxdiff import config as c
from jaxdiff import hub
from jaxdiff.models.model import Params
from jaxdiff.pretrained import checkpoint_file
from jaxdiff.pretrained.unet_config import TextUNet
from jaxdiff.runs import published_parts


def is_one(path: str | Path) -> bool:
  """Tells whether a path is a single file, or has a part and is no run."""
  path = hub.local_path(path)
  if (path / 'config.json').is_file():
    return False
  return published_parts.are_there(path) or checkpoint_file.is_file(path)


class Described(NamedTuple):
  """A Stable Diffusion whose weights are not read yet."""

  config: c.Config
  spec: c.Spec
  params: Callable[[], Params]


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
  parts = published_parts.read(path, prediction)
  (vae, scale), scheduler = parts.vae, parts.scheduler
  side, num = _side(size, parts.unet, vae.factor), vae.latent_channels
  spec = c.Spec(
    'image',
    (side * vae.factor, side * vae.factor, vae.image_channels),
    text_dims=published_parts.text_dims(parts),
    latents={
      'shape': (side, side, num),
      'shift': (0.0,) * num,
      'scale': (scale,) * num,
      'sha256': None,  # of the autoencoder that is there
    },
  )
  config = c.Config(
    workdir=str(path.parent if path.is_file() else path),
    data=c.Data(name='stable_diffusion'),
    latent=c.Latent(autoencoder=str(path)),
    condition=c.Condition(
      text='clip',
      clip=str(path),
      length=parts.text.max_length,
      pooled=parts.second is not None,
      **_sizes(parts.unet, side * vae.factor),
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
      scale=7.5 if parts.second is None else 5.0,
      num=4,  # previews of a run that starts from it
    ),
  )
  return Described(config, spec, parts.params)


def _sizes(unet: TextUNet, size: int) -> dict[str, Any]:
  """Sizes and crops, as SDXL reads them, of images that are whole."""
  if unet.sizes_dim is None:
    return {}
  sizes = (size, size, 0, 0, size, size)
  return {'sizes': sizes, 'sizes_dim': unet.sizes_dim}


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
