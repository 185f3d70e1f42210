"""A tiny T5 in a folder as transformers has it, random."""

import json

import numpy as np
import safetensors.numpy
import tokenizers

WIDTH = 8
PIECES = ['<pad>', '</s>', '<unk>', '▁', '▁a', '▁cat', '▁dog', 's', 'c', 'd']
CONFIG = {
  'model_type': 't5',
  'feed_forward_proj': 'gated-gelu',
  'vocab_size': 12,
  'd_model': WIDTH,
  'd_kv': 3,
  'd_ff': 10,
  'num_layers': 2,
  'num_heads': 2,
  'relative_attention_num_buckets': 8,
  'relative_attention_max_distance': 16,
}
SHAPES = {
  'shared.weight': (12, WIDTH),
  'encoder.final_layer_norm.weight': (WIDTH,),
}
_BIAS = 'encoder.block.{}.layer.0.SelfAttention.relative_attention_bias.weight'
for i in range(2):
  start = f'encoder.block.{i}.layer'
  for name in 'qkv':
    SHAPES[f'{start}.0.SelfAttention.{name}.weight'] = (6, WIDTH)
  SHAPES[f'{start}.0.SelfAttention.o.weight'] = (WIDTH, 6)
  SHAPES[f'{start}.1.DenseReluDense.wi_0.weight'] = (10, WIDTH)
  SHAPES[f'{start}.1.DenseReluDense.wi_1.weight'] = (10, WIDTH)
  SHAPES[f'{start}.1.DenseReluDense.wo.weight'] = (WIDTH, 10)
  for number in range(2):
    SHAPES[f'{start}.{number}.layer_norm.weight'] = (WIDTH,)


def state(kind='t5', seed=0):
  rng = np.random.default_rng(seed)
  shapes = dict(SHAPES)
  for i in range(2 if kind == 'umt5' else 1):
    shapes[_BIAS.format(i)] = (8, 2)
  return {k: rng.standard_normal(x, np.float32) for k, x in shapes.items()}


def vocabulary(path):
  """Writes a tokenizer.json of pieces, as T5's is."""
  pieces = [(piece, -float(i)) for i, piece in enumerate(PIECES)]
  model = tokenizers.Tokenizer(tokenizers.models.Unigram(pieces, unk_id=2))
  model.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace()
  model.add_special_tokens(PIECES[:3])
  model.post_processor = tokenizers.processors.TemplateProcessing(
    single=['$A', '</s>'], special_tokens=[('</s>', 1)]
  )
  model.save(str(path))


def save(folder, kind='t5'):
  folder.mkdir(parents=True, exist_ok=True)
  safetensors.numpy.save_file(state(kind), folder / 'model.safetensors')
  config = CONFIG | {'model_type': kind}
  (folder / 'config.json').write_text(json.dumps(config))
  vocabulary(folder / 'tokenizer.json')
  return folder
