"""A tiny CLIP: its weights as Hugging Face and open_clip name them."""

import itertools
import json

import numpy as np
from safetensors.numpy import save_file

from jaxdiff import tokenizers
from jaxdiff.networks.clip import Clip, ClipText, ClipVision

TEXT = ClipText(16, 1, 2, 24, 8, vocab_size=50, max_length=7)


VISION = ClipVision(12, 4, 12, 1, 3, 20, 8)


SMALL = Clip(TEXT, VISION)


# Hugging Face's names, and the shapes of a network as SMALL.
NAMES = {
  'logit_scale': (),
  'text_projection.weight': (8, 16),
  'visual_projection.weight': (8, 12),
  'text_model.embeddings.token_embedding.weight': (50, 16),
  'text_model.embeddings.position_embedding.weight': (7, 16),
  'text_model.final_layer_norm.weight': (16,),
  'text_model.final_layer_norm.bias': (16,),
  'vision_model.embeddings.class_embedding': (12,),
  'vision_model.embeddings.patch_embedding.weight': (12, 3, 4, 4),
  'vision_model.embeddings.position_embedding.weight': (10, 12),
  'vision_model.pre_layrnorm.weight': (12,),
  'vision_model.pre_layrnorm.bias': (12,),
  'vision_model.post_layernorm.weight': (12,),
  'vision_model.post_layernorm.bias': (12,),
}
for tower, width, inner in [('text', 16, 24), ('vision', 12, 20)]:
  for layer, shape in {
    'layer_norm1': (width,),
    'layer_norm2': (width,),
    'self_attn.q_proj': (width, width),
    'self_attn.k_proj': (width, width),
    'self_attn.v_proj': (width, width),
    'self_attn.out_proj': (width, width),
    'mlp.fc1': (inner, width),
    'mlp.fc2': (width, inner),
  }.items():
    name = f'{tower}_model.encoder.layers.0.{layer}'
    NAMES |= {f'{name}.weight': shape, f'{name}.bias': shape[:1]}


def hugging_face():
  rng = np.random.default_rng(0)
  return {
    name: np.asarray(0.3 * rng.normal(size=shape), np.float32)
    for name, shape in NAMES.items()
  }


def open_clip(state=None):
  """The same weights as open_clip names and arranges them."""
  state = dict(state or hugging_face())
  turned = {'text_projection': 'text_projection'}
  turned |= {'visual_projection': 'visual.proj'}
  renamed = {
    ours: np.ascontiguousarray(state.pop(f'{theirs}.weight').T)
    for theirs, ours in turned.items()
    if f'{theirs}.weight' in state
  }
  for tower in ('text_model.', 'vision_model.'):
    if not any(name.startswith(tower) for name in state):
      continue
    for kind in ('weight', 'bias'):
      attention = f'{tower}encoder.layers.0.self_attn.'
      parts = [state.pop(f'{attention}{n}_proj.{kind}') for n in 'qkv']
      state[f'{tower}resblocks.0.attn.in_proj_{kind}'] = np.concatenate(parts)
  for name, tensor in state.items():
    for theirs, ours in {
      'text_model.embeddings.position_embedding.weight': 'positional_embedding',
      'vision_model.embeddings.position_embedding.weight': (
        'visual.positional_embedding'
      ),
      'embeddings.': '',
      'patch_embedding': 'conv1',
      'encoder.layers': 'transformer.resblocks',
      'model.resblocks': 'model.transformer.resblocks',
      'self_attn': 'attn',
      'layer_norm1': 'ln_1',
      'layer_norm2': 'ln_2',
      'fc1': 'c_fc',
      'fc2': 'c_proj',
      'final_layer_norm': 'ln_final',
      'pre_layrnorm': 'ln_pre',
      'post_layernorm': 'ln_post',
      'text_model.': '',
      'vision_model.': 'visual.',
    }.items():
      name = name.replace(theirs, ours)
    renamed[name] = tensor
  return renamed


CONFIG = {
  'model_type': 'clip',
  'projection_dim': 8,
  'text_config': {
    'hidden_size': 16,
    'num_hidden_layers': 1,
    'num_attention_heads': 2,
    'intermediate_size': 24,
    'vocab_size': 50,
    'max_position_embeddings': 7,
    'eos_token_id': 2,
  },
  'vision_config': {
    'image_size': 12,
    'patch_size': 4,
    'hidden_size': 12,
    'num_hidden_layers': 1,
    'num_attention_heads': 3,
    'intermediate_size': 20,
  },
}


def write_text_tower(folder, width, length):
  """Writes a text tower of one block, random, as Hugging Face lays it out."""
  rng = np.random.default_rng(0)
  shapes = {
    'embeddings.token_embedding.weight': (49408, width),
    'embeddings.position_embedding.weight': (length, width),
    'encoder.layers.0.mlp.fc1.weight': (16, width),
    'encoder.layers.0.mlp.fc1.bias': (16,),
    'encoder.layers.0.mlp.fc2.weight': (width, 16),
    'encoder.layers.0.mlp.fc2.bias': (width,),
    'final_layer_norm.weight': (width,),
    'final_layer_norm.bias': (width,),
  }
  for name in ('q_proj', 'k_proj', 'v_proj', 'out_proj'):
    shapes[f'encoder.layers.0.self_attn.{name}.weight'] = (width, width)
    shapes[f'encoder.layers.0.self_attn.{name}.bias'] = (width,)
  for name in ('layer_norm1', 'layer_norm2'):
    shapes[f'encoder.layers.0.{name}.weight'] = (width,)
    shapes[f'encoder.layers.0.{name}.bias'] = (width,)
  state = {
    f'text_model.{name}': rng.standard_normal(shape, np.float32)
    for name, shape in shapes.items()
  }
  save_file(state, folder / 'model.safetensors')
  (folder / 'config.json').write_text(
    json.dumps(
      {
        'architectures': ['CLIPTextModel'],
        'hidden_size': width,
        'intermediate_size': 16,
        'num_hidden_layers': 1,
        'num_attention_heads': 2,
        'max_position_embeddings': length,
        'vocab_size': 49408,
        'hidden_act': 'quick_gelu',
        'eos_token_id': 2,
      }
    )
  )
  write_merges(folder)


def write_merges(folder):
  symbols = tokenizers._byte_symbols()
  pairs = itertools.islice(itertools.product(symbols, symbols), 48_894)
  lines = '\n'.join(f'{a} {b}' for a, b in pairs)
  (folder / 'merges.txt').write_text(f'#version\n{lines}\n')
