"""Folders of an autoencoder in diffusers' layout: round trips, shards."""

import json

import jax
import numpy as np
import pytest
import safetensors.numpy
from flax.traverse_util import flatten_dict
from networks.test_autoencoder import random_params

from jaxdiff.networks.autoencoder import AutoencoderKL, AutoencoderVQ
from jaxdiff.pretrained.autoencoder_weights import (
  STEM,
  load_autoencoder,
  save_autoencoder,
)

SMALL = dict(
  image_channels=1,
  latent_channels=2,
  channels=4,
  channel_mults=(1, 3),
  num_res_blocks=1,
  num_groups=2,
)


@pytest.fixture
def folder(tmp_path):
  net = AutoencoderKL(**SMALL)
  save_autoencoder(tmp_path, net, random_params(net))
  return tmp_path


def rewritten(folder, change):
  """Changes the tensors of a folder."""
  path = folder / f'{STEM}.safetensors'
  state = change(dict(safetensors.numpy.load_file(path)))
  safetensors.numpy.save_file(state, path)


@pytest.mark.parametrize(
  'net',
  [
    AutoencoderKL(**SMALL),
    AutoencoderKL(**SMALL, quant=False, attention=False),
    AutoencoderVQ(**SMALL, num_codes=7),
  ],
)
def test_what_is_written_is_read_bit_for_bit(net, tmp_path):
  params = random_params(net)
  save_autoencoder(tmp_path / 'autoencoder', net, params)
  found = load_autoencoder(tmp_path)
  assert found.network == net
  ours, theirs = flatten_dict(found.params), flatten_dict(params)
  assert ours.keys() == theirs.keys()
  for path, x in theirs.items():
    np.testing.assert_array_equal(ours[path], x)
  save_autoencoder(tmp_path / 'other', net, random_params(net, seed=1))
  assert load_autoencoder(tmp_path / 'other').sha256 != found.sha256


def test_shards_are_read_as_one_file(folder):
  whole = load_autoencoder(folder)
  path = folder / f'{STEM}.safetensors'
  state = safetensors.numpy.load_file(path)
  path.unlink()
  names, weight_map = sorted(state), {}
  for i in range(2):
    shard = f'{STEM}-0000{i + 1}-of-00002.safetensors'
    part = {name: state[name] for name in names[i::2]}
    safetensors.numpy.save_file(part, folder / shard)
    weight_map |= dict.fromkeys(part, shard)
  index = folder / f'{STEM}.safetensors.index.json'
  index.write_text(json.dumps({'weight_map': weight_map}))
  jax.tree.map(
    np.testing.assert_array_equal, load_autoencoder(folder).params, whole.params
  )
  more = {'weight_map': weight_map | {'nothing': shard}}
  index.write_text(json.dumps(more))
  with pytest.raises(ValueError, match="shards have not, such as 'nothing'"):
    load_autoencoder(folder)
  index.write_text(json.dumps({'weight_map': {'a': '../secret'}}))
  with pytest.raises(ValueError, match='is no name of a file beside it'):
    load_autoencoder(folder)
  (folder / shard).unlink()
  index.write_text(json.dumps({'weight_map': weight_map}))
  with pytest.raises(FileNotFoundError, match='00002-of-00002'):
    load_autoencoder(folder)


def test_older_names_and_convolutions_of_attention(folder):
  expected = load_autoencoder(folder).params
  old = {
    'to_q': 'query',
    'to_k': 'key',
    'to_v': 'value',
    'to_out.0': 'proj_attn',
  }

  def change(state):
    for new, name in old.items():
      for part in ('encoder', 'decoder'):
        at = f'{part}.mid_block.attentions.0.'
        state[f'{at}{name}.bias'] = state.pop(f'{at}{new}.bias')
        kernel = state.pop(f'{at}{new}.weight')[:, :, None, None]
        state[f'{at}{name}.weight'] = kernel
    return state

  rewritten(folder, change)
  jax.tree.map(
    np.testing.assert_array_equal, load_autoencoder(folder).params, expected
  )


def test_missing_and_unexpected_tensors_are_named(folder):
  def change(state):
    state['encoder.strange.weight'] = state.pop('encoder.conv_in.weight')
    return state

  rewritten(folder, change)
  with pytest.raises(
    ValueError,
    match='missing: encoder.conv_in.weight; unexpected: encoder.strange.weight',
  ):
    load_autoencoder(folder)


@pytest.mark.parametrize(
  'change, message',
  [
    ({'_class_name': 'AutoencoderTiny'}, '_class_name must be AutoencoderKL'),
    ({'block_out_channels': [8, 'x']}, 'must be a list of sizes'),
    ({'block_out_channels': []}, 'must be a list of sizes'),
    ({'down_block_types': ['AttnDownEncoderBlock2D']}, 'DownEncoderBlock2D'),
    ({'act_fn': 'relu'}, 'act_fn must be silu'),
    ({'norm_num_groups': 0}, 'norm_num_groups'),
    ({'norm_num_groups': 3}, 'num_groups must divide the 4 channels'),
    ({'out_channels': 3}, 'must be equal'),
    ({'use_quant_conv': False}, 'must be equal'),
    ({'mid_block_add_attention': 1}, 'true or false'),
    ({'layers_per_block': 10**9}, 'layers_per_block'),
  ],
)
def test_configs_of_other_networks_are_refused(folder, change, message):
  path = folder / 'config.json'
  path.write_text(json.dumps(json.loads(path.read_text()) | change))
  with pytest.raises(ValueError, match=message):
    load_autoencoder(folder)


def test_what_is_missing_is_said(tmp_path, folder):
  with pytest.raises(FileNotFoundError, match='sd-vae-ft-mse'):
    load_autoencoder(tmp_path / 'nothing')
  (folder / 'config.json').unlink()
  with pytest.raises(FileNotFoundError, match='config.json'):
    load_autoencoder(folder)
