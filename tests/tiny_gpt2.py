"""A folder with a tiny GPT-2, in Hugging Face's layout."""

import json

import numpy as np
import tokenizers
from safetensors.numpy import save_file

CONFIG = dict(
  model_type='gpt2',
  n_embd=8,
  n_layer=2,
  n_head=2,
  n_positions=16,
  vocab_size=12,
)


def tokenizer():
  """A token for each of 11 characters, by place, and one for all others."""
  vocab = {x: i for i, x in enumerate([*'abcdefghij ', '[UNK]'])}
  model = tokenizers.models.WordLevel(vocab, unk_token='[UNK]')
  made = tokenizers.Tokenizer(model)
  split = tokenizers.pre_tokenizers.Split('', 'isolated')
  made.pre_tokenizer = split
  return made


def state(gain=0.5, config=CONFIG, seed=0):
  """Random tensors under transformers' names."""
  rng = np.random.default_rng(seed)
  width, vocab = config['n_embd'], config['vocab_size']
  shapes = {'wte.weight': (vocab, width)}
  shapes['wpe.weight'] = (config['n_positions'], width)
  shapes |= {'ln_f.weight': (width,), 'ln_f.bias': (width,)}
  for i in range(config['n_layer']):
    for norm in ('ln_1', 'ln_2'):
      shapes |= {
        f'h.{i}.{norm}.{kind}': (width,) for kind in ('weight', 'bias')
      }
    for name, rows, columns in (
      ('attn.c_attn', 1, 3),
      ('attn.c_proj', 1, 1),
      ('mlp.c_fc', 1, 4),
      ('mlp.c_proj', 4, 1),
    ):
      shapes[f'h.{i}.{name}.weight'] = (rows * width, columns * width)
      shapes[f'h.{i}.{name}.bias'] = (columns * width,)
  draw = lambda shape: (gain * rng.standard_normal(shape)).astype(np.float32)
  return {name: draw(shape) for name, shape in shapes.items()}


def write(folder, tensors=None, **changed):
  """Writes the three files; returns the folder."""
  folder.mkdir(exist_ok=True)
  (folder / 'config.json').write_text(json.dumps(CONFIG | changed))
  tokenizer().save(str(folder / 'tokenizer.json'))
  save_file(
    state() if tensors is None else tensors, folder / 'model.safetensors'
  )
  return folder
