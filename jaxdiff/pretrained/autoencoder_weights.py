"""Autoencoders in diffusers' layout as our parameters, and back.

A folder has a config.json, of an AutoencoderKL or a VQModel, and the weights,
diffusion_pytorch_model.safetensors: the folder `vae` of a Stable Diffusion, or
one that a run of ours has written.
"""

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy
from flax.traverse_util import flatten_dict

from jaxdiff import files, hub
from jaxdiff.networks.autoencoder import (
  Autoencoder,
  AutoencoderKL,
  AutoencoderVQ,
)
from jaxdiff.pretrained import checkpoint_file, configs, folders, state_dicts
from jaxdiff.pretrained.configs import Config, field
from jaxdiff.pretrained.files import State
from jaxdiff.pretrained.state_dicts import Params, Source, arranged

STEM = 'diffusion_pytorch_model'
MAX_LEVELS, MAX_BLOCKS = 16, 64

_FETCH = (
  f'{STEM}.safetensors and config.json of an AutoencoderKL, e.g. from '
  'https://huggingface.co/stabilityai/sd-vae-ft-mse/tree/main'
)
_LAYERS = {
  'norm_0': 'norm1',
  'conv_0': 'conv1',
  'norm_1': 'norm2',
  'conv_1': 'conv2',
  'shortcut': 'conv_shortcut',
  'norm': 'group_norm',
  'norm_out': 'conv_norm_out',
  'q': 'to_q',
  'k': 'to_k',
  'v': 'to_v',
  'out': 'to_out.0',
  'quant_in': 'quant_conv',
  'quant_out': 'post_quant_conv',
}
# Names of older files.
_OLD = {
  'query': 'to_q',
  'key': 'to_k',
  'value': 'to_v',
  'proj_attn': 'to_out.0',
}
# These are 1x1 convolutions in theirs and dense layers in ours.
_CONVOLUTIONS = 'shortcut', 'quant_in', 'quant_out'
_LEAVES = {'kernel': 'weight', 'scale': 'weight', 'embedding': 'weight'}
# Fields of a config that have one value here.
_FIXED = {
  'down_block_types': 'DownEncoderBlock2D',
  'up_block_types': 'UpDecoderBlock2D',
  'act_fn': 'silu',
  'norm_type': 'group',
}


class AutoencoderWeights(NamedTuple):
  """A network, its parameters, and their SHA-256 for results."""

  network: AutoencoderKL | AutoencoderVQ
  params: Params
  sha256: str


def load_autoencoder(folder: str | os.PathLike) -> AutoencoderWeights:
  """Reads an autoencoder.

  Args:
    folder: With config.json and weights, perhaps in shards; or the workdir of a
      run, or the folder or the single file of a Stable Diffusion, with one in
      it.

  Raises:
    FileNotFoundError: A file is missing; the message says where to get it.
    ValueError: A file cannot be read, or is of another network: missing and
      unexpected tensors are named.
  """
  folder = hub.local_path(folder)
  if checkpoint_file.is_file(folder):
    return _of_file(folder)
  for name in ('autoencoder', 'vae'):
    if (folder / name / 'config.json').is_file():
      folder = folder / name
  path = folders.find_weights(folder, STEM, _FETCH)
  network = configs.read(
    folder / 'config.json', autoencoder_network, 'autoencoder'
  )
  state, sha256 = folders.read_state(path, _FETCH)
  try:
    params = autoencoder_params(state, network)
  except ValueError as error:
    raise ValueError(f'{path}: {error}') from error
  return AutoencoderWeights(network, params, sha256)


def _of_file(path: Path) -> AutoencoderWeights:
  network = autoencoder_network(checkpoint_file.version_of(path).vae)
  state, sha256 = checkpoint_file.read_part(path, checkpoint_file.AUTOENCODER)
  levels = len(network.channel_mults)
  rename = lambda name: checkpoint_file.autoencoder_name(name, levels)
  try:
    params = autoencoder_params(state, network, rename)
  except ValueError as error:
    raise ValueError(f'{path}: {error}') from error
  return AutoencoderWeights(network, params, sha256)


def save_autoencoder(
  folder: str | os.PathLike,
  network: AutoencoderKL | AutoencoderVQ,
  params: Params,
  scale: float = 1.0,
) -> None:
  """Writes an autoencoder in diffusers' layout; `load_autoencoder` reads it.

  Args:
    folder: Made if it does not exist.
    network: Of the parameters.
    params: Of its `init`.
    scale: By which diffusers multiplies latents.
  """
  folder = files.as_path(folder)
  content = safetensors.numpy.save(autoencoder_state(params, network))
  files.save(
    folder / f'{STEM}.safetensors', lambda file: file.write_bytes(content)
  )
  # The config comes last: without it there is no autoencoder.
  files.write_json(folder / 'config.json', _config(network, scale))


def autoencoder_network(config: Config) -> AutoencoderKL | AutoencoderVQ:
  """Builds the network of a config.json of diffusers.

  Raises:
    ValueError: It is of another kind of network, or a field is no size.
  """
  name = config.get('_class_name', 'AutoencoderKL')
  if name not in ('AutoencoderKL', 'VQModel'):
    raise ValueError('_class_name must be AutoencoderKL or VQModel')
  for key, value in _FIXED.items():
    found = config.get(key, value)
    kinds = found if isinstance(found, list) else [found]
    if any(kind != value for kind in kinds):
      raise ValueError(f'{key} must be {value} alone')
  widths = field(config, 'block_out_channels', [64])
  if not 0 < len(widths) <= MAX_LEVELS or not all(
    type(n) is int and 0 < n <= 1 << 20 for n in widths
  ):
    raise ValueError('block_out_channels must be a list of sizes')
  channels = math.gcd(*widths)
  images, latents = (
    field(config, name, default)
    for name, default in (('in_channels', 3), ('latent_channels', 4))
  )
  if field(config, 'out_channels', 3) != images:
    raise ValueError('in_channels and out_channels must be equal')
  settings = {
    'image_channels': images,
    'latent_channels': latents,
    'channels': channels,
    'channel_mults': tuple(n // channels for n in widths),
    'num_res_blocks': field(config, 'layers_per_block', 1, MAX_BLOCKS),
    'num_groups': field(config, 'norm_num_groups', 32),
    'attention': configs.flag(config, 'mid_block_add_attention'),
  }
  if name == 'VQModel':
    if field(config, 'vq_embed_dim', latents) != latents:
      raise ValueError('vq_embed_dim must be latent_channels')
    codes = field(config, 'num_vq_embeddings', 256)
    return AutoencoderVQ(**settings, num_codes=codes)
  ways = {configs.flag(config, f'use_{way}quant_conv') for way in ('', 'post_')}
  if len(ways) > 1:
    raise ValueError('use_quant_conv and use_post_quant_conv must be equal')
  return AutoencoderKL(**settings, quant=ways.pop())


def autoencoder_params(
  state: State, network: Autoencoder, rename: Callable[[str], str] = str
) -> Params:
  """Renames diffusers' tensors to the parameters of a network.

  Args:
    state: Name to array; attention may have its older names.
    network: Of the tensors.
    rename: Of diffusers' names to those of another layout.

  Raises:
    ValueError: Tensors are missing, left over or of another shape.
  """
  shapes = _shapes(network)
  paths = {
    path: Source(rename(_key(path, network))) for path in flatten_dict(shapes)
  }

  def renamed(name: str) -> str:
    *start, layer, leaf = name.rsplit('.', 2)
    if not start or 'attentions' not in name:
      return name
    return '.'.join([*start, _OLD.get(layer, layer), leaf])

  tensors = {renamed(name): x for name, x in state.items()}
  # Also attention's in files of before it had dense layers.
  tensors = state_dicts.without_pointwise(tensors, paths, shapes)
  return arranged(tensors, paths, shapes)


def autoencoder_state(
  params: Params, network: Autoencoder
) -> dict[str, np.ndarray]:
  """Renames parameters to diffusers' tensors; undoes `autoencoder_params`."""
  paths = {path: Source(_key(path, network)) for path in flatten_dict(params)}
  state = state_dicts.exported(params, paths)
  for path, source in paths.items():
    if path[-1] == 'kernel' and path[-2] in _CONVOLUTIONS:
      state[source.key] = state[source.key][:, :, None, None]
  return state


def _shapes(network: Autoencoder) -> Params:
  side = network.factor
  image = (1, side, side, network.image_channels)
  images = jax.ShapeDtypeStruct(image, jnp.float32)
  return jax.eval_shape(network.init, jax.random.key(0), images)['params']


def _key(path: tuple[str, ...], network: Autoencoder) -> str:
  """Renames our path to their name."""
  *layers, leaf = path
  leaf = _LEAVES.get(leaf, leaf)
  if path[0] == 'codebook':
    return f'quantize.embedding.{leaf}'
  if path[0] not in ('encoder', 'decoder'):
    return f'{_LAYERS[path[0]]}.{leaf}'
  part, block, *inside = layers
  kind, *numbers = block.split('_')
  last = len(network.channel_mults) - 1
  way = 'down' if part == 'encoder' else 'up'
  if kind == 'level':
    level, i = map(int, numbers)
    level = level if part == 'encoder' else last - level
    block = f'{way}_blocks.{level}.resnets.{i}'
  elif kind in ('down', 'up'):
    level = int(numbers[0])
    level = level - 1 if part == 'encoder' else last - level
    block = f'{way}_blocks.{level}.{way}samplers.0.conv'
  elif block == 'middle_attention':
    block, inside = 'mid_block.attentions.0', inside[-1:]
  elif kind == 'middle':
    block = f'mid_block.resnets.{numbers[0]}'
  else:
    block = _LAYERS.get(block, block)
  return '.'.join([part, block, *(_LAYERS[x] for x in inside), leaf])


def _config(
  network: AutoencoderKL | AutoencoderVQ, scale: float
) -> dict[str, object]:
  """Builds the config.json of a network."""
  levels = len(network.channel_mults)
  config = {
    'act_fn': _FIXED['act_fn'],
    'down_block_types': [_FIXED['down_block_types']] * levels,
    'up_block_types': [_FIXED['up_block_types']] * levels,
    'in_channels': network.image_channels,
    'out_channels': network.image_channels,
    'latent_channels': network.latent_channels,
    'block_out_channels': list(network.blocks.widths),
    'layers_per_block': network.num_res_blocks,
    'norm_num_groups': network.num_groups,
    'mid_block_add_attention': network.attention,
    'scaling_factor': scale,
  }
  if isinstance(network, AutoencoderVQ):
    codes = {
      'num_vq_embeddings': network.num_codes,
      'vq_embed_dim': network.latent_channels,
    }
    return {'_class_name': 'VQModel', **config, **codes}
  quant = {
    'use_quant_conv': network.quant,
    'use_post_quant_conv': network.quant,
  }
  return {'_class_name': 'AutoencoderKL', **config, **quant}
