"""Files of DINOv2 in both layouts, and files that are none."""

import json

import jax
import numpy as np
import pytest
import safetensors.numpy
import tiny_dino

from jaxdiff.networks.dinov2 import DinoV2
from jaxdiff.pretrained.dinov2_weights import load_dinov2


def test_both_layouts(tmp_path):
  network, params, _ = load_dinov2(tiny_dino.save(tmp_path / 'dino'))
  assert network == tiny_dino.SMALL
  file = tmp_path / 'original' / 'dinov2.safetensors'
  file.parent.mkdir()
  safetensors.numpy.save_file(tiny_dino.original(tiny_dino.state()), file)
  (file.parent / 'config.json').write_text(json.dumps(tiny_dino.CONFIG))
  theirs = load_dinov2(file)
  jax.tree.map(np.testing.assert_array_equal, params, theirs.params)
  # The original code resamples positions by another scale.
  assert theirs.network == tiny_dino.SMALL.clone(offset=0.1)


def test_a_file_alone_says_its_sizes(tmp_path):
  file = tmp_path / 'x.safetensors'
  safetensors.numpy.save_file(tiny_dino.state(registers=3), file)
  network = load_dinov2(file).network
  assert network == DinoV2(112, 56, 8, 1, 1, 12, num_registers=3)


@pytest.mark.parametrize(
  'change, config, message',
  [
    ({'layernorm.weight': None}, {}, 'missing: layernorm.weight'),
    ({'extra': np.zeros(2, 'f')}, {}, 'unexpected: extra'),
    ({'encoder.layer.0.mlp.fc1.weight': None}, {}, 'ViT-S, B or L'),
    ({'embeddings.cls_token': np.zeros(8, 'f')}, {}, None),
    ({'embeddings.cls_token': np.zeros(9, 'f')}, {}, r'wrong: .*cls_token'),
    (
      {'embeddings.position_embeddings': np.zeros((1, 7, 8), 'f')},
      {},
      'wrong: .*position_embeddings',
    ),
    ({}, {'model_type': 'clip'}, 'model_type must be dinov2'),
    ({}, {'num_attention_heads': 3}, 'num_heads'),
    ({}, {'num_attention_heads': -2}, 'num_attention_heads must be int'),
    (
      {f'encoder.layer.{i}.x': np.zeros(1, 'f') for i in range(1, 200)},
      {},
      '200 blocks, above 128',
    ),
  ],
)
def test_what_is_wrong_is_said(change, config, message, tmp_path):
  state = tiny_dino.state() | change
  state = {k: x for k, x in state.items() if x is not None}
  safetensors.numpy.save_file(state, tmp_path / 'model.safetensors')
  config = tiny_dino.CONFIG | config
  (tmp_path / 'config.json').write_text(json.dumps(config))
  if message is None:
    load_dinov2(tmp_path)
    return
  with pytest.raises(ValueError, match=message):
    load_dinov2(tmp_path)


def test_missing_weights_are_named(tmp_path):
  with pytest.raises(FileNotFoundError, match='model.safetensors.*fetch'):
    load_dinov2(tmp_path)
