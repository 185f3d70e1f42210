"""Published weights of DINOv2: the network they are of, and its parameters.

transformers names the class token `embeddings.cls_token`; the original files,
such as dinov2_vits14_pretrain.pth, name it `cls_token` and keep q, k and v in
one tensor. Sizes are those of the tensors.
"""

import os
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict

from jaxdiff import hub
from jaxdiff.networks.dinov2 import DinoV2
from jaxdiff.pretrained import configs, folders
from jaxdiff.pretrained.configs import Config, field
from jaxdiff.pretrained.files import State
from jaxdiff.pretrained.state_dicts import Params, Path, Source, arranged

MAX_LAYERS = 128
HEAD = 64  # channels of a head in every published size

_FETCH = (
  'model.safetensors and config.json of a DINOv2, e.g. from '
  'https://huggingface.co/facebook/dinov2-large/tree/main'
)
_TRANSFORMERS = {
  'patches': 'embeddings.patch_embeddings.projection',
  'class_token': 'embeddings.cls_token',
  'register_tokens': 'embeddings.register_tokens',
  'position_embedding': 'embeddings.position_embeddings',
  'block': 'encoder.layer',
  'norm_out': 'layernorm',
  'norm_0': 'norm1',
  'q': 'attention.attention.query',
  'k': 'attention.attention.key',
  'v': 'attention.attention.value',
  'out': 'attention.output.dense',
  'scale_0': 'layer_scale1.lambda1',
  'norm_1': 'norm2',
  'mlp_0': 'mlp.fc1',
  'mlp_1': 'mlp.fc2',
  'scale_1': 'layer_scale2.lambda1',
}
_ORIGINAL = _TRANSFORMERS | {
  'patches': 'patch_embed.proj',
  'class_token': 'cls_token',
  'register_tokens': 'register_tokens',
  'position_embedding': 'pos_embed',
  'block': 'blocks',
  'norm_out': 'norm',
  'q': 'attn.qkv',
  'k': 'attn.qkv',
  'v': 'attn.qkv',
  'out': 'attn.proj',
  'scale_0': 'ls1.gamma',
  'scale_1': 'ls2.gamma',
}
# Leading axes of size 1 that they have.
_LEADING = {'class_token': 2, 'register_tokens': 1, 'position_embedding': 1}


class DinoWeights(NamedTuple):
  """A network, its parameters, and the SHA-256 of their file for results."""

  network: DinoV2
  params: Params
  sha256: str


def load_dinov2(path: str | os.PathLike) -> DinoWeights:
  """Reads a DINOv2.

  Args:
    path: The weights, or a folder with model.safetensors (also in shards) or
      pytorch_model.bin; a config.json beside them says the number of heads.

  Raises:
    FileNotFoundError: There are no weights; the message says where to get them.
    ValueError: A file cannot be read, or is of another network.
  """
  path = hub.local_path(path)
  if path.is_dir():
    path = folders.find_weights(path, 'model', _FETCH)
  state, sha256 = folders.read_state(path, _FETCH)
  file = path.parent / 'config.json'
  config = configs.read(file, dict, 'DINOv2') if file.is_file() else {}
  try:
    network = dinov2_network(state, config)
    return DinoWeights(network, dinov2_params(state, network), sha256)
  except ValueError as error:
    raise ValueError(f'{path}: {error}') from error


def dinov2_network(state: State, config: Config) -> DinoV2:
  """Builds the network of a state dict and of transformers' config, or {}.

  Raises:
    ValueError: It is of no DINOv2 that is known here.
  """
  if field(config, 'model_type', 'dinov2') not in (
    'dinov2',
    'dinov2_with_registers',
  ):
    raise ValueError('model_type must be dinov2 or dinov2_with_registers')
  names = _layout(state)
  start = f'{names["block"]}.'
  blocks = {x[len(start) :].split('.')[0] for x in state if x.startswith(start)}
  read = (
    names['position_embedding'],
    f'{names["patches"]}.weight',
    f'{start}0.{names["mlp_0"]}.weight',
  )
  match [state[x].shape for x in read if x in state]:
    case [(1, int(places), int(width)), (_, 3, int(patch), _), (int(inner), _)]:
      side = round((places - 1) ** 0.5)
    case _:
      raise ValueError(
        'it must hold a DINOv2 of ViT-S, B or L as transformers or the '
        f'original code names it, with {", ".join(read)}'
      )
  if len(blocks) > MAX_LAYERS:
    raise ValueError(f'it has {len(blocks)} blocks, above {MAX_LAYERS}')
  tokens = state.get(names['register_tokens'])
  registers = tokens.shape[1] if tokens is not None and tokens.ndim > 1 else 0
  original = names is _ORIGINAL
  return DinoV2(
    image_size=side * patch,
    patch_size=patch,
    width=width,
    num_layers=len(blocks),
    num_heads=field(config, 'num_attention_heads', max(width // HEAD, 1)),
    mlp_width=inner,
    num_registers=registers,
    offset=0.1 if original and not registers else 0.0,
    norm_eps=field(config, 'layer_norm_eps', 1e-6),
  )


def dinov2_params(state: State, network: DinoV2) -> Params:
  """Renames the tensors; the mask token of training is left out.

  Raises:
    ValueError: Tensors are missing, left over or of another shape.
  """
  size, names = network.patch_size, _layout(state)
  images = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
  shapes = jax.eval_shape(network.init, jax.random.key(0), images)['params']
  sources = {path: _source(path, names) for path in flatten_dict(shapes)}
  tensors = dict(state)
  for name, axes in _LEADING.items():
    x = state.get(names[name])
    if x is not None and x.shape[:axes] == (1,) * axes:
      tensors[names[name]] = x.reshape(x.shape[axes:])
  return arranged(tensors, sources, shapes, _unused(state))


def _layout(state: State) -> dict[str, str]:
  return _ORIGINAL if 'cls_token' in state else _TRANSFORMERS


def _unused(state: State) -> list[str]:
  return [name for name in state if name.endswith('mask_token')]


def _source(path: Path, names: dict[str, str]) -> Source:
  """('block_3', 'mlp_0', 'kernel') -> '(block).3.(mlp_0).weight'."""
  first, *inner = path
  start = ''
  if first.startswith('block_'):
    number = first.removeprefix('block_')
    start = f'{names["block"]}.{number}.'
    first, *inner = inner
  part = 'qkv'.index(first) if first in ('q', 'k', 'v') else None
  if names is _TRANSFORMERS:
    part = None
  leaf = f'.{"bias" if inner[-1] == "bias" else "weight"}' if inner else ''
  return Source(f'{start}{names[first]}{leaf}', part)
