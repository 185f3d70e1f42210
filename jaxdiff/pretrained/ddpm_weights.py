"""U-Nets in diffusers' layout of UNet2DModel as our parameters, and back.

A folder, such as google/ddpm-cifar10-32, has config.json, the weights,
diffusion_pytorch_model.safetensors or .bin, and scheduler_config.json.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict

from jaxdiff.pretrained import configs, state_dicts
from jaxdiff.pretrained.configs import Config, field
from jaxdiff.pretrained.files import State
from jaxdiff.pretrained.state_dicts import Params, Path, Source, arranged

STEM = 'diffusion_pytorch_model'
MAX_LEVELS, MAX_BLOCKS = 16, 64

# Our layers within a block -> theirs.
_RESNET = {
  'norm_0': 'norm1',
  'conv_0': 'conv1',
  'emb': 'time_emb_proj',
  'norm_1': 'norm2',
  'conv_1': 'conv2',
  'shortcut': 'conv_shortcut',
}
_ATTENTION = {
  'norm': 'group_norm',
  'attention.q': 'to_q',
  'attention.k': 'to_k',
  'attention.v': 'to_v',
  'attention.out': 'to_out.0',
}
_OUTSIDE = {
  'conv_in': 'conv_in',
  'norm_out': 'conv_norm_out',
  'conv_out': 'conv_out',
  'time_0': 'time_embedding.linear_1',
  'time_1': 'time_embedding.linear_2',
  'label': 'class_embedding',
}
# Names of older files.
_OLD = {
  'query': 'to_q',
  'key': 'to_k',
  'value': 'to_v',
  'proj_attn': 'to_out.0',
}
# Fields that have one value here; null is none of it.
_FIXED = {
  '_class_name': ('UNet2DModel', None),
  'act_fn': ('silu', None),
  'add_attention': (True, None),
  'center_input_sample': (False, None),
  'class_embed_type': (None,),
  'downsample_type': ('conv', None),
  'mid_block_scale_factor': (1, None),
  'num_class_embeds': (None,),
  'resnet_time_scale_shift': ('default', None),
  'time_embedding_type': ('positional', None),
  'upsample_type': ('conv', None),
}


def ddpm_settings(config: Config) -> tuple[dict[str, Any], int, int]:
  """Reads a config.json.

  Returns:
    The settings of our U-Net, of `config.networks.UNet`; the side length of the
    images, and their channels.

  Raises:
    ValueError: A field has a value that our U-Net has not, by name.
  """
  for name, allowed in _FIXED.items():
    value = config.get(name)
    if value not in allowed:
      raise ValueError(f'{name} must be {allowed[0]}, got {str(value)[:100]!r}')
  widths = field(config, 'block_out_channels', [224, 448, 672, 896])
  good = all(type(n) is int and 0 < n <= 1 << 20 for n in widths)
  if not good or not 0 < len(widths) <= MAX_LEVELS:
    raise ValueError('block_out_channels must be a list of sizes')
  channels = widths[0]
  if any(n % channels for n in widths):
    raise ValueError('block_out_channels must be multiples of the first')
  images = field(config, 'in_channels', 3)
  if field(config, 'out_channels', 3) != images:
    raise ValueError('in_channels and out_channels must be equal')
  side = field(config, 'sample_size', 0, 1 << 14) or 32
  down, up = (field(config, f'{way}_block_types', []) for way in ('down', 'up'))
  attends = [kind == 'AttnDownBlock2D' for kind in down]
  kinds = 'DownBlock2D', 'AttnDownBlock2D'
  mirrored = [kinds[x].replace('Down', 'Up') for x in attends[::-1]]
  if [kinds[x] for x in attends] != down or mirrored != up:
    raise ValueError(
      f'down_block_types must be of {" and ".join(kinds)}, and up_block_types '
      'their reverse'
    )
  if len(down) != len(widths):
    raise ValueError(f'down_block_types must be {len(widths)}, got {len(down)}')
  heights = [side]
  for _ in widths[1:]:
    heights.append((heights[-1] + 1) // 2)
  settings = {
    'channels': channels,
    'channel_mults': tuple(n // channels for n in widths),
    'num_res_blocks': field(config, 'layers_per_block', 2, MAX_BLOCKS),
    'attention_resolutions': tuple(
      height for height, x in zip(heights, attends, strict=True) if x
    ),
    'norm_eps': field(config, 'norm_eps', 1e-5),
    'num_groups': field(config, 'norm_num_groups', 32),
    'cosine_first': configs.flag(config, 'flip_sin_to_cos'),
    'frequency_shift': configs.one_of(config, 'freq_shift', (0, 1)),
    'padded_halving': configs.one_of(config, 'downsample_padding', (1, 0)) == 1,
  }
  if config.get('attention_head_dim') is not None:
    settings['head_channels'] = field(config, 'attention_head_dim', 8)
  elif 'attention_head_dim' not in config:
    settings['head_channels'] = 8
  return settings, side, images


def is_ddpm(params: Params, levels: int) -> bool:
  """Tells whether every parameter, or its shape, has a name in UNet2DModel."""
  try:
    return bool(_sources(params, levels))
  except ValueError:
    return False


def ddpm_params(state: State, shapes: Params, levels: int) -> Params:
  """Renames the tensors.

  Args:
    state: Name to array; attention may have its older names.
    shapes: Of the parameters, from `jax.eval_shape`.
    levels: Number of levels of the U-Net.

  Raises:
    ValueError: Tensors are missing, left over or of another shape; or a layer
      is none of UNet2DModel.
  """
  sources = _sources(shapes, levels)
  return arranged(_renamed(state, sources, shapes), sources, shapes)


def ddpm_state(params: Params, levels: int) -> dict[str, np.ndarray]:
  """Renames parameters to diffusers' tensors; undoes `ddpm_params`.

  Args:
    params: Of our U-Net.
    levels: Number of its levels.

  Raises:
    ValueError: A layer is none of UNet2DModel.
  """
  sources = _sources(params, levels)
  state = state_dicts.exported(params, sources)
  for path, source in sources.items():
    if path[-2:] == ('shortcut', 'kernel'):
      state[source.key] = state[source.key][:, :, None, None]
  return state


def _renamed(
  state: State, sources: Mapping[Path, Source], shapes: Params
) -> dict[str, np.ndarray]:
  """Gives older tensors their newer names, and 1x1 convolutions as matrices."""
  flat = flatten_dict(shapes)
  dense = {sources[path].key for path, leaf in flat.items() if leaf.ndim == 2}
  found = {}
  for name, x in state.items():
    *start, layer, leaf = ['', *name.split('.')]
    if 'attentions' in name:
      layer = _OLD.get(layer, layer)
    key = '.'.join([*start, layer, leaf])[1:]
    pointwise = key in dense and x.ndim == 4 and x.shape[2:] == (1, 1)
    found[key] = x[:, :, 0, 0] if pointwise else x
  return found


def _sources(params: Params, levels: int) -> dict[Path, Source]:
  try:
    return {path: Source(_key(path, levels)) for path in flatten_dict(params)}
  except KeyError as error:
    raise ValueError(
      f"the layer {error} of this U-Net is none of diffusers' UNet2DModel"
    ) from error


def _key(path: Path, levels: int) -> str:
  """Renames our path to their name."""
  block, *inside, leaf = path
  leaf = 'bias' if leaf == 'bias' else 'weight'
  kind, *numbers = block.removesuffix('_attention').split('_')
  if not inside and kind in ('down', 'up'):
    level = int(numbers[0])
    level = level - 1 if kind == 'down' else levels - 1 - level
    return f'{kind}_blocks.{level}.{kind}samplers.0.conv.{leaf}'
  if not inside:
    return f'{_OUTSIDE[block]}.{leaf}'
  attends = block.endswith('_attention')
  part = 'attentions' if attends else 'resnets'
  layer = (_ATTENTION if attends else _RESNET)['.'.join(inside)]
  if kind == 'middle':
    where = f'mid_block.{part}.{numbers[0] if numbers else 0}'
  else:
    level, i = map(int, numbers)
    way, level = {
      'encoder': ('down', level),
      'decoder': ('up', levels - 1 - level),
    }[kind]
    where = f'{way}_blocks.{level}.{part}.{i}'
  return f'{where}.{layer}.{leaf}'
