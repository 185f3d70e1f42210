"""LoRA files: the names that are read, and what is refused."""

import json

import jax
import numpy as np
import pytest
import tiny_stable_diffusion
from flax.traverse_util import flatten_dict
from safetensors.numpy import load_file, save_file

from jaxdiff import lora
from jaxdiff.pretrained import lora_weights, unet_config, unet_weights

CONFIG = unet_config.read_unet_config(tiny_stable_diffusion.UNET)
SHAPES = unet_weights.unet_shapes(CONFIG)
LEVELS = 2


@pytest.fixture(scope='module')
def file(tmp_path_factory):
  """Factors that are not zero, and their file with scale 1.5."""
  path = tmp_path_factory.mktemp('lora') / 'pytorch_lora_weights.safetensors'
  factors = lora.init(jax.random.key(0), SHAPES, 2)
  factors = jax.tree.map(lambda x: np.array(x) + 0.5, factors)
  lora_weights.save(path, factors, LEVELS, 1.5)
  return path, factors


def products(factors, scale=1.0):
  flat = flatten_dict(factors)
  paths = {path[:-1] for path in flat}
  return {p: scale * flat[*p, 'a'] @ flat[*p, 'b'] for p in paths}


def compare(found, wanted):
  assert set(found) == set(wanted)
  for path, x in found.items():
    np.testing.assert_allclose(x, wanted[path], rtol=1e-5, err_msg=str(path))


def older(name):
  return name.replace('lora_A', 'lora.down').replace('lora_B', 'lora.up')


def oldest(name):
  name = older(name).replace('.0.lora.', '.lora.')
  first, _, layer = name.partition('.lora.')[0].rpartition('.')
  return f'{first}.processor.{layer}_lora.{name.partition(".lora.")[2]}'


def kohya(name):
  layer, _, part = older(name.removeprefix('unet.')).partition('.lora.')
  return f'lora_unet_{layer.replace(".", "_")}.lora_{part}'


@pytest.mark.parametrize('rename', [str, older, oldest, kohya])
def test_names_of_all_ages_are_read(file, rename, tmp_path):
  path, factors = file
  state = load_file(path)
  name = 'unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_out.0'
  assert state[f'{name}.lora_A.weight'].shape == (2, 16)
  state = {rename(k): x for k, x in state.items()}
  alpha = 1.0
  if rename is kohya:  # there 1 / rank for each
    downs = [k for k in state if k.endswith('.lora_down.weight')]
    alpha = 0.5
    for down in downs:
      name = down.removesuffix('.lora_down.weight')
      state[f'{name}.alpha'] = np.ones((), np.float32)
      # 1x1 convolutions of older networks.
      state[down] = state[down][:, :, None, None]
  save_file(state, tmp_path / 'x.safetensors')
  found = lora_weights.read(tmp_path / 'x.safetensors', SHAPES, LEVELS)
  compare(products(found), products(factors, 1.5 * alpha))


def test_alpha_of_newer_files_counts(file, tmp_path):
  path, factors = file
  about = {'unet.r': 2, 'unet.lora_alpha': 6}
  save = lambda about: save_file(
    load_file(path),
    tmp_path / 'x.safetensors',
    {'lora_adapter_metadata': json.dumps(about)},
  )
  save(about)
  found = lora_weights.read(tmp_path / 'x.safetensors', SHAPES, LEVELS)
  compare(products(found), products(factors, 1.5 * 3))
  for wrong, message in [
    ({'unet.use_dora': True}, 'use_dora is not read'),
    ({'unet.lora_alpha': 'a'}, 'lora_alpha is no number'),
    ([], 'is not an object'),
  ]:
    save(wrong)
    with pytest.raises(ValueError, match=message):
      lora_weights.read(tmp_path / 'x.safetensors', SHAPES, LEVELS)


MIDDLE = 'unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q'


@pytest.mark.parametrize(
  'more, message',
  [
    (
      {'text_encoder.text_model.encoder.layers.0.lora_A.weight': (2, 8)},
      'it adapts the text encoder too, by 1 tensors such as',
    ),
    ({'lora_te_text_model_x.lora_down.weight': (2, 8)}, 'the text encoder too'),
    ({'unet.other.lora_A.weight': (2, 8)}, '1 of its .* factors of no dense'),
    ({'unet.conv_in.lora_A.weight': (2, 4, 3, 3)}, 'unet.conv_in.lora_A'),
    ({f'{MIDDLE}.dora_scale': (16,)}, 'dora_scale'),
    ({f'{MIDDLE}.lora_A.weight': (2, 8)}, r'have the shapes \(8, 2\)'),
    ({f'{MIDDLE}.lora_B.weight': (16, 3)}, 'their product must have'),
    ({f'{MIDDLE}.lora_B.weight': None}, r'\(16, 2\) and \(0,\)'),
  ],
)
def test_what_is_not_read_is_named(file, more, message, tmp_path):
  state = load_file(file[0])
  for name, shape in more.items():
    state.pop(name, None)
    if shape is not None:
      state[name] = np.zeros(shape, np.float32)
  save_file(state, tmp_path / 'x.safetensors')
  with pytest.raises(ValueError, match=message) as error:
    lora_weights.read(tmp_path / 'x.safetensors', SHAPES, LEVELS)
  assert '\n' not in str(error.value)


def test_another_network_has_no_names():
  factors = lora.init(
    jax.random.key(0), {'attention': {'q': {'kernel': np.zeros((4, 4))}}}, 2
  )
  with pytest.raises(ValueError, match='and this is another network'):
    lora_weights.save('x.safetensors', factors, 0, 1.0)
