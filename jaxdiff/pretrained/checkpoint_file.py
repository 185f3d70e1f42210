"""The single file of a Stable Diffusion 1, 2 or XL, as it was published.

  model.diffusion_model.   the U-Net, its blocks numbered through
  first_stage_model.       the autoencoder
  cond_stage_model.        the text tower: of CLIP in 1, of open_clip in 2
  conditioner.embedders.   both in XL

A file has no configs, see `checkpoint_versions`. The averages that some files
have beside (`model_ema.`) are not read, as in diffusers.
"""

import hashlib
import re
from pathlib import Path

import numpy as np

from jaxdiff.pretrained import unet_weights
from jaxdiff.pretrained.checkpoint_versions import VERSIONS, Version
from jaxdiff.pretrained.clip_layouts import clip_text_params
from jaxdiff.pretrained.clip_weights import ClipWeights, clip_text_network
from jaxdiff.pretrained.files import State, read_weights
from jaxdiff.pretrained.state_dicts import Params
from jaxdiff.pretrained.unet_config import TextUNet

UNET, AUTOENCODER, TEXT = (
  'model.diffusion_model.',
  'first_stage_model.',
  'cond_stage_model.',
)
ENDINGS = '.safetensors', '.ckpt', '.pt', '.bin'
# Its second axis is the width of text. The first level of XL does not attend.
_WIDTH, _WIDTH_XL = (
  f'{UNET}input_blocks.{i}.1.transformer_blocks.0.attn2.to_k.weight'
  for i in (1, 4)
)
_MERGES = 'merges.txt', 'bpe_simple_vocab_16e6.txt.gz', 'tokenizer.json'


def is_file(path: Path) -> bool:
  """Tells whether a path is that of a single file."""
  return path.is_file() and path.suffix in ENDINGS


def version_of(path: Path) -> Version:
  """Finds the version of a file.

  Raises:
    ValueError: It is no such file, or none of these.
  """
  found = read_weights(path, '', _WIDTH) or read_weights(path, '', _WIDTH_XL)
  width = next((x.shape[-1] for x in found.values()), None)
  if width not in VERSIONS:
    what = 'it has no such U-Net' if width is None else f'its text has {width}'
    what += ' as that of the refiner of XL' if width == 1280 else ''
    raise ValueError(
      f'{path} is no single file of Stable Diffusion 1, 2 or XL, whose text '
      f'has {" or ".join(map(str, VERSIONS))} channels: {what}'
    )
  return VERSIONS[width]


def find_merges(path: Path) -> Path:
  """Finds the merges of CLIP's tokenizer beside a file.

  Raises:
    FileNotFoundError: There are none.
  """
  for name in _MERGES:
    if (path.parent / name).is_file():
      return path.parent / name
  raise FileNotFoundError(
    f'{path} has no tokenizer in it: put {_MERGES[0]} of '
    'https://huggingface.co/openai/clip-vit-large-patch14/tree/main beside it'
  )


def unet_params(path: Path, config: TextUNet) -> Params:
  """Reads the parameters of the U-Net.

  Raises:
    ValueError: Tensors are missing, left over or of another shape.
  """
  state, _ = read_part(path, UNET)
  num = config.settings['num_res_blocks']
  rename = lambda name: unet_name(name, num, config.attends)
  try:
    return unet_weights.unet_params(state, config, rename)
  except ValueError as error:
    raise ValueError(f'{path}: {error}') from error


def text_tower(path: Path, number: str = '') -> ClipWeights:
  """Reads the text tower; with number '_2' the second of XL."""
  version, part = version_of(path), TEXT
  if version.second:
    part = f'conditioner.embedders.{int(number == "_2")}.'
  network = clip_text_network((number and version.second) or version.text)
  state, sha256 = read_part(path, part)
  try:
    params = clip_text_params(text_state(state, network.num_layers), network)
  except ValueError as error:
    raise ValueError(f'{path}: {error}') from error
  return ClipWeights(network, params, sha256)


def read_part(path: Path, prefix: str) -> tuple[dict[str, np.ndarray], str]:
  """Reads the tensors of a part, without the prefix, and their SHA-256.

  Raises:
    ValueError: There are none.
  """
  state = read_weights(path, '', prefix)
  if not state:
    raise ValueError(f'{path} has no {prefix}*: a part of the file is missing')
  digest = hashlib.sha256()
  for name in sorted(state):
    x = np.ascontiguousarray(state[name])
    digest.update(f'{name} {x.dtype} {x.shape}'.encode())
    digest.update(x.view(np.uint8) if x.ndim else x.tobytes())
  return {
    k.removeprefix(prefix): x for k, x in state.items()
  }, digest.hexdigest()


def text_state(state: State, num_layers: int) -> State:
  """Returns the tensors of a text tower, in a layout of `clip_layouts`.

  Of open_clip's the blocks behind the first `num_layers` are left out.
  """
  inside = {k.removeprefix('model.'): x for k, x in state.items()}
  if not any(name.startswith('transformer.resblocks.') for name in inside):
    return {k.removeprefix('transformer.'): x for k, x in state.items()}
  number = lambda name: int(re.match(r'transformer\.resblocks\.(\d+)', name)[1])
  return {
    name: x
    for name, x in inside.items()
    if not name.startswith('transformer.resblocks.')
    or number(name) < num_layers
  }


_RESNET = {
  'norm1': 'in_layers.0',
  'conv1': 'in_layers.2',
  'time_emb_proj': 'emb_layers.1',
  'norm2': 'out_layers.0',
  'conv2': 'out_layers.3',
  'conv_shortcut': 'skip_connection',
}
_OUTER = {
  'add_embedding.linear_1': 'label_emb.0.0',
  'add_embedding.linear_2': 'label_emb.0.2',
  'time_embedding.linear_1': 'time_embed.0',
  'time_embedding.linear_2': 'time_embed.2',
  'conv_in': 'input_blocks.0.0',
  'conv_norm_out': 'out.0',
  'conv_out': 'out.2',
}


def unet_name(name: str, num_blocks: int, attends: tuple[bool, ...]) -> str:
  """Renames a tensor of diffusers' U-Net to that of the single file.

  Args:
    name: Theirs.
    num_blocks: Residual blocks of a level going down.
    attends: For each level, whether its blocks attend.
  """
  layer, leaf = name.rsplit('.', 1)
  if layer in _OUTER:
    return f'{_OUTER[layer]}.{leaf}'
  where, part, number, *rest = re.match(
    r'((?:down|up)_blocks\.\d+|mid_block)\.(\w+)\.(\d+)\.(.*)', layer
  ).groups()
  (inside,) = rest
  inside = _RESNET[inside] if part == 'resnets' else inside
  i = int(number)
  if where == 'mid_block':
    block = f'middle_block.{2 * i if part == "resnets" else 1}'
    return f'{block}.{inside}.{leaf}'
  way, level = where.split('_blocks.')
  level = int(level)
  if way == 'down':
    first = 1 + level * (num_blocks + 1)
    if part == 'downsamplers':
      return f'input_blocks.{first + num_blocks}.0.op.{leaf}'
    column = 0 if part == 'resnets' else 1
    return f'input_blocks.{first + i}.{column}.{inside}.{leaf}'
  first = level * (num_blocks + 1)
  if part == 'upsamplers':
    column = 1 + attends[::-1][level]
    return f'output_blocks.{first + num_blocks}.{column}.conv.{leaf}'
  column = 0 if part == 'resnets' else 1
  return f'output_blocks.{first + i}.{column}.{inside}.{leaf}'


_VAE_LAYERS = {
  'conv_shortcut': 'nin_shortcut',
  'conv_norm_out': 'norm_out',
  'group_norm': 'norm',
  'to_q': 'q',
  'to_k': 'k',
  'to_v': 'v',
  'to_out.0': 'proj_out',
}


def autoencoder_name(name: str, levels: int) -> str:
  """Renames a tensor of diffusers' AutoencoderKL to that of the file."""
  for theirs, original in _VAE_LAYERS.items():
    name = name.replace(f'.{theirs}.', f'.{original}.')
  name = name.replace('mid_block.attentions.0', 'mid.attn_1')
  name = re.sub(
    r'mid_block\.resnets\.(\d)', lambda m: f'mid.block_{int(m[1]) + 1}', name
  )
  name = re.sub(r'down_blocks\.(\d+)', r'down.\1', name)
  name = re.sub(
    r'up_blocks\.(\d+)', lambda m: f'up.{levels - 1 - int(m[1])}', name
  )
  name = name.replace('.resnets.', '.block.')
  return re.sub(r'\.(down|up)samplers\.0\.', r'.\1sample.', name)
