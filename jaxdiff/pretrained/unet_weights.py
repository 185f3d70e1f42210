"""The text U-Net of Stable Diffusion in diffusers' layout, as our parameters.

A folder `unet` has a config.json, see `unet_config`, and the weights,
diffusion_pytorch_model.safetensors, perhaps in shards.
"""

import os
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict

from jaxdiff.pretrained import folders, state_dicts
from jaxdiff.pretrained.files import State
from jaxdiff.pretrained.state_dicts import Params, Path, Source, arranged
from jaxdiff.pretrained.unet_config import TextUNet

STEM = 'diffusion_pytorch_model'

_LAYERS = {
  'norm_0': 'norm1',
  'conv_0': 'conv1',
  'emb': 'time_emb_proj',
  'norm_1': 'norm2',
  'conv_1': 'conv2',
  'shortcut': 'conv_shortcut',
  'norm_out': 'conv_norm_out',
  'time_0': 'time_embedding.linear_1',
  'time_1': 'time_embedding.linear_2',
  'pooled_0': 'add_embedding.linear_1',
  'pooled_1': 'add_embedding.linear_2',
}
_TEXT_LAYERS = {
  'norm_0': 'norm1',
  'norm_1': 'norm2',
  'norm_2': 'norm3',
  'self_attention': 'attn1',
  'text_attention': 'attn2',
  'q': 'to_q',
  'k': 'to_k',
  'v': 'to_v',
  'out': 'to_out.0',
}
_MLP = {'in': 'ff.net.0.proj', 'out': 'ff.net.2'}


def read_unet(
  folder: str | os.PathLike, config: TextUNet, fetch: str
) -> Params:
  """Reads the parameters in a folder.

  Args:
    folder: Of the U-Net.
    config: From its config.json.
    fetch: What to get, and from where, for the message if there are none.

  Raises:
    FileNotFoundError: A file is missing, by name.
    ValueError: A file cannot be read, or is of another network: missing and
      unexpected tensors are named.
  """
  path = folders.find_weights(folder, STEM, fetch)
  state = folders.read_tensors(path, fetch)
  try:
    return unet_params(state, config)
  except ValueError as error:
    raise ValueError(f'{path}: {error}') from error


def unet_params(
  state: State, config: TextUNet, rename: Callable[[str], str] = str
) -> Params:
  """Renames diffusers' tensors to the parameters of the network.

  Args:
    state: Name to array.
    config: Of the network.
    rename: Of their names to those of another layout.

  Raises:
    ValueError: Tensors are missing, left over or of another shape.
  """
  shapes = unet_shapes(config)
  sources = {
    path: Source(rename(source.key))
    for path, source in unet_sources(shapes, len(config.attends)).items()
  }
  state = state_dicts.without_pointwise(state, sources, shapes)
  return arranged(state, sources, shapes)


def unet_sources(shapes: Params, levels: int) -> dict[Path, Source]:
  """The place of each parameter in diffusers' state dict."""
  return {path: Source(_key(path, levels)) for path in flatten_dict(shapes)}


def unet_shapes(config: TextUNet) -> Params:
  """Computes the shapes of the parameters."""
  side = 2 ** len(config.attends)
  network = config.network(side)
  shape = lambda *sizes: jax.ShapeDtypeStruct(sizes, jnp.float32)
  xt = shape(1, side, side, config.in_channels - network.beside)
  cond = {'text': shape(1, 1, network.text_dim)}
  if network.beside:
    cond['beside'] = shape(1, side, side, network.beside)
  if network.pooled_dim is not None:
    cond['pooled'] = shape(1, network.pooled_dim)
  init = lambda key: network.init(
    key, *jax.tree.map(lambda s: jnp.zeros(s.shape), (xt, shape(1), cond))
  )
  return jax.eval_shape(init, jax.random.key(0))['params']


def _key(path: Path, levels: int) -> str:
  """Renames our path to their name."""
  block, *inside, leaf = path
  leaf = 'bias' if leaf == 'bias' else 'weight'
  kind, *numbers = block.removesuffix('_attention').split('_')
  if kind == 'down' or kind == 'up':
    level = int(numbers[0])
    level = level - 1 if kind == 'down' else levels - 1 - level
    return f'{kind}_blocks.{level}.{kind}samplers.0.conv.{leaf}'
  if not inside:
    return f'{_LAYERS.get(block, block)}.{leaf}'
  attends = block.endswith('_attention')
  inner = _text_layers(inside) if attends else _LAYERS[inside[0]]
  part = 'attentions' if attends else 'resnets'
  if kind == 'middle':
    where = f'mid_block.{part}.{numbers[0] if numbers else 0}'
  else:
    level, i = map(int, numbers)
    level = level if kind == 'encoder' else levels - 1 - level
    way = 'down' if kind == 'encoder' else 'up'
    where = f'{way}_blocks.{level}.{part}.{i}'
  return f'{where}.{inner}.{leaf}'


def _text_layers(inside: list[str]) -> str:
  """Renames the layers of a spatial transformer."""
  first, *rest = inside
  if not rest:
    return first
  number = first.removeprefix('block_')
  names = (
    _MLP[rest[1]]
    if rest[0] == 'mlp'
    else '.'.join(_TEXT_LAYERS[name] for name in rest)
  )
  return f'transformer_blocks.{number}.{names}'
