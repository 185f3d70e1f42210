"""Published weights of T5's encoder, as transformers has them in a folder.

A file of the whole T5 will do: the decoder is left out.
"""

import os
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict

from jaxdiff import hub
from jaxdiff.networks.t5 import T5Encoder
from jaxdiff.pretrained import configs, folders
from jaxdiff.pretrained.configs import Config, field
from jaxdiff.pretrained.files import State
from jaxdiff.pretrained.state_dicts import Params, Path, Source, arranged

MAX_LAYERS = 128

_FETCH = (
  'model.safetensors and config.json of a T5 v1.1 or umT5, and its '
  'tokenizer.json, e.g. from https://huggingface.co/google/flan-t5-base'
)
_OUTSIDE = {
  'token_embedding': 'shared.weight',
  'norm_out': 'encoder.final_layer_norm.weight',
}
_BLOCK = {
  'norm_0': 'layer.0.layer_norm',
  'q': 'layer.0.SelfAttention.q',
  'k': 'layer.0.SelfAttention.k',
  'v': 'layer.0.SelfAttention.v',
  'out': 'layer.0.SelfAttention.o',
  'norm_1': 'layer.1.layer_norm',
  'mlp_gate': 'layer.1.DenseReluDense.wi_0',
  'mlp_in': 'layer.1.DenseReluDense.wi_1',
  'mlp_out': 'layer.1.DenseReluDense.wo',
}
_BIAS = 'layer.0.SelfAttention.relative_attention_bias'
_TIED = 'encoder.embed_tokens.weight'  # the same as `shared`


class T5Weights(NamedTuple):
  """A network, its parameters, and the SHA-256 of their file for results."""

  network: T5Encoder
  params: Params
  sha256: str


def load_t5(folder: str | os.PathLike) -> T5Weights:
  """Reads an encoder from a folder with config.json and weights.

  Raises:
    FileNotFoundError: A file is missing; the message says where to get it.
    ValueError: A file cannot be read, or is of another network.
  """
  folder = hub.local_path(folder)
  path = folders.find_weights(folder, 'model', _FETCH)
  network = configs.read(path.parent / 'config.json', t5_network, 'T5')
  state, sha256 = folders.read_state(path, _FETCH)
  try:
    return T5Weights(network, t5_params(state, network), sha256)
  except ValueError as error:
    raise ValueError(f'{path}: {error}') from error


def t5_network(config: Config) -> T5Encoder:
  """Builds the network of a config.json, with the defaults of transformers.

  Raises:
    ValueError: It is of another network, or a field is no size.
  """
  kind = field(config, 'model_type', 't5')
  if kind not in ('t5', 'mt5', 'umt5'):
    raise ValueError(f'model_type must be t5, mt5 or umt5, got {kind[:100]!r}')
  gated = 'relu' if kind == 't5' else 'gated-gelu'
  mlp = field(config, 'feed_forward_proj', gated)
  if mlp != 'gated-gelu':
    raise ValueError(
      f'feed_forward_proj must be gated-gelu, as in T5 v1.1, got {mlp[:100]!r}'
    )
  return T5Encoder(
    vocab_size=field(config, 'vocab_size', 32128),
    width=field(config, 'd_model', 512),
    num_layers=field(config, 'num_layers', 6, MAX_LAYERS),
    num_heads=field(config, 'num_heads', 8),
    head_width=field(config, 'd_kv', 64),
    mlp_width=field(config, 'd_ff', 2048),
    shared_bias=kind != 'umt5',
    num_buckets=field(config, 'relative_attention_num_buckets', 32, 1 << 12),
    max_distance=field(config, 'relative_attention_max_distance', 128),
    norm_eps=field(config, 'layer_norm_epsilon', 1e-6),
  )


def t5_params(state: State, network: T5Encoder) -> Params:
  """Renames the tensors of the encoder.

  Raises:
    ValueError: Tensors are missing, left over or of another shape.
  """
  tokens = jax.ShapeDtypeStruct((1, 1), jnp.int32)
  shapes = jax.eval_shape(network.init, jax.random.key(0), tokens)['params']
  sources = {path: Source(_name(path)) for path in flatten_dict(shapes)}
  tensors = dict(state)
  tied = tensors.pop(_TIED, None)
  if tied is not None:
    tensors.setdefault('shared.weight', tied)
  unused = [x for x in state if x.startswith(('decoder.', 'lm_head.'))]
  return arranged(tensors, sources, shapes, unused)


def _name(path: Path) -> str:
  """('block_3', 'q', 'kernel') -> 'encoder.block.3.(q).weight'."""
  layer, number = path[0].rpartition('_')[::2]
  if layer == 'block':
    return f'encoder.block.{number}.{_BLOCK[path[1]]}.weight'
  if layer == 'distance_bias':
    return f'encoder.block.{number}.{_BIAS}.weight'
  return _OUTSIDE[path[0]]
