"""GPT-2 from a folder in Hugging Face's layout: network, parameters, tokens."""

import os
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import tokenizers

from jaxdiff import tokenizer_files
from jaxdiff.networks.gpt2 import GPT2
from jaxdiff.pretrained import configs
from jaxdiff.pretrained.configs import Config, field
from jaxdiff.pretrained.folders import find_weights, read_state
from jaxdiff.pretrained.state_dicts import Params, Source, arranged

MAX_LAYERS = 128
_FETCH = (
  'config.json, tokenizer.json and model.safetensors of a GPT-2, e.g. from '
  'https://huggingface.co/openai-community/gpt2-large/tree/main'
)
_NORMS = {'norm_0': 'ln_1', 'norm_1': 'ln_2'}
_PRODUCTS = {'out': 'attn.c_proj', 'mlp_0': 'mlp.c_fc', 'mlp_1': 'mlp.c_proj'}


class GPT2Weights(NamedTuple):
  """A network, its parameters and tokenizer, and the SHA-256 for results."""

  network: GPT2
  params: Params
  tokenizer: tokenizers.Tokenizer
  sha256: str


def read_gpt2(folder: str | os.PathLike[str]) -> GPT2Weights:
  """Reads a GPT-2.

  Raises:
    FileNotFoundError: A file is missing; the message names it.
    ValueError: A file cannot be read, or is of another network.
  """
  folder = Path(folder)
  if not folder.is_dir():
    raise FileNotFoundError(f'no folder {folder}: fetch {_FETCH}')
  network = configs.read(folder / 'config.json', gpt2_network, 'GPT-2')
  tokenizer = tokenizer_files.read_library(folder / 'tokenizer.json')
  if tokenizer.get_vocab_size() > network.vocab_size:
    raise ValueError(
      f'{folder}/tokenizer.json has {tokenizer.get_vocab_size()} tokens, the '
      f'network {network.vocab_size}'
    )
  path = find_weights(folder, 'model', _FETCH)
  state, sha256 = read_state(path, _FETCH)
  try:
    return GPT2Weights(network, gpt2_params(state, network), tokenizer, sha256)
  except ValueError as error:
    raise ValueError(f'{path}: {error}') from error


def gpt2_network(config: Config) -> GPT2:
  """Builds the network of a config.json.

  Raises:
    ValueError: It is of another kind of network, or a field is no size.
  """
  kind = field(config, 'model_type', 'gpt2')
  if kind != 'gpt2':
    raise ValueError(f"model_type must be 'gpt2', got {kind!r}")
  width = field(config, 'n_embd', 768)
  return GPT2(
    width=width,
    num_layers=field(config, 'n_layer', 12, MAX_LAYERS),
    num_heads=field(config, 'n_head', 12),
    mlp_width=field(config, 'n_inner', 4 * width),
    vocab_size=field(config, 'vocab_size', 50257),
    max_length=field(config, 'n_positions', 1024),
    norm_eps=field(config, 'layer_norm_epsilon', 1e-5),
    activation=field(config, 'activation_function', 'gelu_new'),
  )


def gpt2_params(state: dict[str, np.ndarray], network: GPT2) -> Params:
  """Arranges a state dict as parameters of the network.

  Raises:
    ValueError: Tensors are missing, left over, or of another shape.
  """
  # transformers adds a prefix to the names of a language model. Its masks are
  # constants, and its head is the embedding again.
  state = {name.removeprefix('transformer.'): x for name, x in state.items()}
  state.pop('lm_head.weight', None)
  sources = {
    ('token_embedding', 'embedding'): Source('wte.weight'),
    ('position_embedding',): Source('wpe.weight'),
    **_norm('ln_f', 'norm_out'),
  }
  for i in range(network.num_layers):
    block, theirs = f'block_{i}', f'h.{i}.'
    for mask in ('attn.bias', 'attn.masked_bias'):
      state.pop(theirs + mask, None)
    for kind in ('weight', 'bias'):
      fused = state.pop(f'{theirs}attn.c_attn.{kind}', None)
      if fused is not None and fused.shape[-1:] == (3 * network.width,):
        for name, part in zip('qkv', np.split(fused, 3, axis=-1), strict=True):
          state[f'{theirs}attn.{name}.{kind}'] = part
    for ours, name in _NORMS.items():
      sources |= _norm(theirs + name, block, ours)
    for ours, name in {**_PRODUCTS, **{x: f'attn.{x}' for x in 'qkv'}}.items():
      # Their layer "Conv1D" has its inputs first.
      at = f'{theirs}{name}'
      sources[block, ours, 'kernel'] = Source(
        f'{at}.weight', stored_as_ours=True
      )
      sources[block, ours, 'bias'] = Source(f'{at}.bias')
  tokens = jax.ShapeDtypeStruct((1, 1), jnp.int32)
  shapes = jax.eval_shape(network.init, jax.random.key(0), tokens)['params']
  return arranged(state, sources, shapes)


def _norm(theirs: str, *ours: str) -> dict[tuple[str, ...], Source]:
  return {
    (*ours, 'scale'): Source(f'{theirs}.weight'),
    (*ours, 'bias'): Source(f'{theirs}.bias'),
  }
