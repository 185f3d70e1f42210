"""Folders of a CLIP in both layouts, and configs that are damaged."""

import json

import jax
import numpy as np
import pytest
import safetensors.numpy
import tiny_clip

from jaxdiff.networks.clip import Clip, ClipText, ClipVision
from jaxdiff.pretrained.clip_folder import open_clip_network, read_clip
from jaxdiff.pretrained.clip_weights import load_clip_text
from jaxdiff.pretrained.inception_weights import load_inception

OPEN_CLIP = {
  'model_cfg': {
    'embed_dim': 8,
    'quick_gelu': True,
    'vision_cfg': {
      'image_size': 12,
      'layers': 1,
      'width': 12,
      'head_width': 4,
      'mlp_ratio': 5 / 3,
      'patch_size': 4,
    },
    'text_cfg': {
      'context_length': 7,
      'vocab_size': 50,
      'width': 16,
      'heads': 2,
      'layers': 1,
      'mlp_ratio': 1.5,
    },
  }
}


def save(folder, state, weights, config, name):
  safetensors.numpy.save_file(
    {k: np.array(v, order='C') for k, v in state.items()}, folder / weights
  )
  (folder / name).write_text(json.dumps(config))


def save_hugging_face(folder):
  state = tiny_clip.hugging_face()
  names = 'model.safetensors', tiny_clip.CONFIG, 'config.json'
  save(folder, state, *names)


def test_both_layouts(tmp_path):
  with pytest.raises(FileNotFoundError, match='open_clip_config.json with'):
    read_clip(tmp_path)
  names = 'open_clip_model.safetensors', OPEN_CLIP, 'open_clip_config.json'
  save(tmp_path, tiny_clip.open_clip(), *names)
  theirs = read_clip(tmp_path)
  save_hugging_face(tmp_path)
  ours = read_clip(tmp_path)
  assert ours.network == theirs.network == tiny_clip.SMALL
  jax.tree.map(np.testing.assert_array_equal, ours.params, theirs.params)
  assert ours.sha256 != theirs.sha256


def test_what_open_clip_leaves_out():
  net = open_clip_network(
    {'model_cfg': {'embed_dim': 512, 'vision_cfg': {}, 'text_cfg': {}}}
  )
  gelu = {'activation': 'gelu'}
  assert net == Clip(ClipText(**gelu), ClipVision(patch_size=16, **gelu))
  timm = {'timm_model_name': 'vit'}
  with pytest.raises(ValueError, match='plain text transformers'):
    open_clip_network({'model_cfg': {'vision_cfg': timm, 'text_cfg': {}}})


@pytest.mark.parametrize(
  'config, message',
  [
    (b'{"text_config"', 'describes no CLIP: Expecting'),
    (b'\xff\xfe', 'describes no CLIP'),
    (b'[' * 100_000, 'recursion'),
    (b' ' * (2 << 20), 'more than 1048576 bytes'),
    ([], 'config must be an object, got list'),
    ({}, 'text_config must be an object, got NoneType'),
    ({'text_config': {}}, 'vision_config must be an object'),
    ({'hidden_size': 'x'}, r"hidden_size must be int in .*, got 'x'"),
    ({'hidden_size': 10**9}, 'hidden_size must be int in .*, got 1000000000'),
    ({'hidden_size': -1}, 'hidden_size must be int in .*, got -1'),
    ({'hidden_size': True}, 'hidden_size must be int in .*, got True'),
    ({'num_hidden_layers': 1000}, r'num_hidden_layers must be int in \(0, 128'),
    ({'layer_norm_eps': [1]}, 'layer_norm_eps must be float in .*, got list'),
    ({'hidden_act': 3}, 'hidden_act must be str, got 3'),
  ],
)
def test_damaged_configs_are_named(config, message, tmp_path):
  save_hugging_face(tmp_path)
  if isinstance(config, dict) and config and 'text_config' not in config:
    config = tiny_clip.CONFIG | {'text_config': config}
  if not isinstance(config, bytes):
    config = json.dumps(config).encode()
  (tmp_path / 'config.json').write_bytes(config)
  with pytest.raises(ValueError, match=message) as error:
    read_clip(tmp_path)
  assert str(tmp_path / 'config.json') in str(error.value)


def test_weights_of_another_network_are_named(tmp_path):
  save_hugging_face(tmp_path)
  path = tmp_path / 'model.safetensors'
  safetensors.numpy.save_file({'x\n': np.zeros(3)}, path)
  for load in (load_clip_text, load_inception):
    with pytest.raises(ValueError, match=r'unexpected: x\\n') as error:
      load(path)
    assert str(path) in str(error.value)
