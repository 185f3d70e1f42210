"""A tiny DINOv2: its tensors as transformers and the original code name them.

Evaluation shows it images of 224 pixels, 4 patches a side.
"""

import json

import numpy as np
import safetensors.numpy

from jaxdiff.networks.dinov2 import DinoV2

SMALL = DinoV2(112, 56, 8, 1, 2, 12)
CONFIG = {'model_type': 'dinov2', 'num_attention_heads': 2}

SHAPES = {
  'embeddings.cls_token': (1, 1, 8),
  'embeddings.mask_token': (1, 8),
  'embeddings.position_embeddings': (1, 5, 8),
  'embeddings.patch_embeddings.projection.weight': (8, 3, 56, 56),
  'embeddings.patch_embeddings.projection.bias': (8,),
  'layernorm.weight': (8,),
  'layernorm.bias': (8,),
  'encoder.layer.0.layer_scale1.lambda1': (8,),
  'encoder.layer.0.layer_scale2.lambda1': (8,),
}
for layer, shape in {
  'norm1': (8,),
  'norm2': (8,),
  'attention.attention.query': (8, 8),
  'attention.attention.key': (8, 8),
  'attention.attention.value': (8, 8),
  'attention.output.dense': (8, 8),
  'mlp.fc1': (12, 8),
  'mlp.fc2': (8, 12),
}.items():
  SHAPES[f'encoder.layer.0.{layer}.weight'] = shape
  SHAPES[f'encoder.layer.0.{layer}.bias'] = shape[:1]


def state(seed=0, registers=0):
  rng = np.random.default_rng(seed)
  shapes = dict(SHAPES)
  if registers:
    shapes['embeddings.register_tokens'] = (1, registers, 8)
  return {
    name: np.asarray(0.3 * rng.normal(size=shape), np.float32)
    for name, shape in shapes.items()
  }


def original(state):
  """The same tensors with the names of the original code."""
  names = {
    'embeddings.patch_embeddings.projection': 'patch_embed.proj',
    'embeddings.position_embeddings': 'pos_embed',
    'embeddings.': '',
    'encoder.layer': 'blocks',
    'attention.output.dense': 'attn.proj',
    'layer_scale1.lambda1': 'ls1.gamma',
    'layer_scale2.lambda1': 'ls2.gamma',
    'layernorm': 'norm',
  }
  renamed, rest = {}, dict(state)
  start = 'encoder.layer.0.attention.attention'
  for leaf in ('weight', 'bias'):
    parts = [rest.pop(f'{start}.{x}.{leaf}') for x in ('query', 'key', 'value')]
    renamed[f'blocks.0.attn.qkv.{leaf}'] = np.concatenate(parts)
  for name, tensor in rest.items():
    for theirs, ours in names.items():
      name = name.replace(theirs, ours)
    renamed[name] = tensor
  return renamed


def save(folder, seed=0):
  folder.mkdir(parents=True, exist_ok=True)
  safetensors.numpy.save_file(state(seed), folder / 'model.safetensors')
  (folder / 'config.json').write_text(json.dumps(CONFIG))
  return folder
