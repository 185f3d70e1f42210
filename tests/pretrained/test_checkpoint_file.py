"""Single files of Stable Diffusion: the same parameters as of its folder."""

import json
import shutil
from collections import OrderedDict

import jax
import numpy as np
import pytest
import tiny_clip
import tiny_stable_diffusion as tiny
import torch_written
from safetensors.numpy import load_file, save_file

from jaxdiff import parallel, runs
from jaxdiff.pretrained import checkpoint_file, checkpoint_versions
from jaxdiff.pretrained.checkpoint_file import AUTOENCODER, TEXT, UNET, Version
from jaxdiff.pretrained.clip_folder import read_text, zeros_for_empty

torch_modules = torch_written.torch_modules
WEIGHTS = 'diffusion_pytorch_model.safetensors'
VAE = {
  'block_out_channels': [4, 8],
  'layers_per_block': 1,
  'norm_num_groups': 2,
}
CLIP = {
  'hidden_size': tiny.WIDTH,
  'intermediate_size': 16,
  'num_hidden_layers': 1,
  'num_attention_heads': 2,
  'max_position_embeddings': 7,
  'vocab_size': 49408,
}


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  return tiny.write(tmp_path_factory.mktemp('sd') / 'folder')


@pytest.fixture(autouse=True)
def versions(monkeypatch):
  second = CLIP | {'architectures': ['CLIPTextModelWithProjection']}
  second['projection_dim'] = 6
  known = {
    2 * tiny.WIDTH: Version('XL', 'eps', tiny.XL, CLIP, VAE, second),
    tiny.WIDTH: Version('the first', 'eps', tiny.UNET, CLIP, VAE),
    tiny.WIDTH + 1: Version('the second', None, tiny.UNET, CLIP, VAE),
  }
  monkeypatch.setattr(checkpoint_file, 'VERSIONS', known)


def original(folder):
  """The tensors of a folder by the names of the single file."""
  unet = load_file(folder / 'unet' / WEIGHTS)
  vae = load_file(folder / 'vae' / WEIGHTS)
  towers = sorted(folder.glob('text_encoder*/model.safetensors'))
  text, *second = map(load_file, towers)
  text = {f'transformer.{name}': x for name, x in text.items()}
  prefix = 'conditioner.embedders.0.' if second else TEXT
  attends = (True, False)
  return {
    **{
      f'conditioner.embedders.1.model.{name}': x
      for tower in second
      for name, x in tiny_clip.open_clip(tower).items()
    },
    **{
      UNET + checkpoint_file.unet_name(name, 1, attends): x
      for name, x in unet.items()
    },
    **{
      AUTOENCODER + checkpoint_file.autoencoder_name(name, 2): x
      for name, x in vae.items()
    },
    **{prefix + name: x for name, x in text.items()},
    'model_ema.num_updates': np.zeros((), np.int32),
    'betas': np.zeros(4, np.float32),
  }


def saved(state, path):
  if path.suffix == '.safetensors':
    save_file(state, path)
    return path
  tensors = {name: torch_written.tensor(x) for name, x in state.items()}
  content = {'epoch': 3, 'lr': [0.5], 'state_dict': OrderedDict(tensors)}
  torch_written.save_zip(content, path)
  return path


def assert_equal(a, b):
  jax.tree.map(np.testing.assert_array_equal, a, b)


def assert_is_its_folder(path, folder):
  (path.parent / 'merges.txt').write_bytes(
    (folder / 'tokenizer/merges.txt').read_bytes()
  )
  mesh = parallel.local_mesh()
  ours, theirs = (runs.load_stable_diffusion(p, mesh) for p in (path, folder))
  assert_equal(ours.params, theirs.params)
  assert_equal(ours.model.frozen, theirs.model.frozen)
  assert ours.spec.text_dims == theirs.spec.text_dims
  for section in ('diffusion', 'network', 'sampling'):
    assert getattr(ours.config, section) == getattr(theirs.config, section)
  for number in ('', '_2')[: 1 + ours.config.condition.pooled]:
    read, other = read_text(path, number), read_text(folder, number)
    assert_equal(read.weights.params, other.weights.params)
    tokens = [x.tokenizer.encode(['a cat']) for x in (read, other)]
    np.testing.assert_array_equal(*tokens)


@pytest.mark.parametrize(
  'name', ['a.safetensors', pytest.param('a.ckpt', marks=pytest.mark.slow)]
)
def test_a_file_is_its_folder(folder, tmp_path, name):
  assert_is_its_folder(saved(original(folder), tmp_path / name), folder)


@pytest.mark.slow
def test_a_file_of_xl_is_its_folder(tmp_path):
  folder = tiny.write(tmp_path / 'folder', tiny.XL)
  euler = checkpoint_versions.XL_SCHEDULER
  path = folder / 'scheduler/scheduler_config.json'
  path.write_text(json.dumps(tiny.SCHEDULER | euler))
  index = {'force_zeros_for_empty_prompt': True}
  index['_class_name'] = 'StableDiffusionXLPipeline'
  (folder / 'model_index.json').write_text(json.dumps(index))
  state = original(folder)
  path = saved(state, tmp_path / 'a.safetensors')
  assert_is_its_folder(path, folder)
  assert zeros_for_empty(path) and zeros_for_empty(folder)
  second = 'conditioner.embedders.1.'
  cut = {k: x for k, x in state.items() if not k.startswith(second)}
  path = saved(cut, tmp_path / 'b.safetensors')
  with pytest.raises(ValueError, match=f'has no {second}'):
    read_text(path, '_2')


def test_shards_are_the_whole(folder, tmp_path):
  copy = tmp_path / 'shards'
  shutil.copytree(folder, copy)
  (copy / 'unet' / WEIGHTS).unlink()
  state, shards = tiny.unet_state(), {}
  for i, name in enumerate(sorted(state)):
    shards.setdefault(f'part-{i % 2}.safetensors', {})[name] = state[name]
  for name, part in shards.items():
    save_file(part, copy / 'unet' / name)
  index = {name: shard for shard, part in shards.items() for name in part}
  path = copy / 'unet' / f'{WEIGHTS}.index.json'
  path.write_text(json.dumps({'weight_map': index}))
  mesh = parallel.local_mesh()
  ours, theirs = (runs.load_stable_diffusion(x, mesh) for x in (copy, folder))
  assert_equal(ours.params, theirs.params)
  (copy / 'unet' / 'part-1.safetensors').unlink()
  (copy / 'vae' / WEIGHTS).unlink()
  missing = f'unet/part-1.safetensors, vae/{WEIGHTS} are missing'
  with pytest.raises(FileNotFoundError, match=missing):
    runs.load_stable_diffusion(copy, mesh)


def test_open_clip_without_its_last_block(tmp_path, monkeypatch):
  state = tiny_clip.open_clip()
  text = {k: x for k, x in state.items() if not k.startswith('visual')}
  last = {k.replace('.0.', '.1.'): x + 1 for k, x in text.items() if '.0.' in k}
  names = {f'{TEXT}model.{name}': x for name, x in (text | last).items()}
  width = np.zeros((4, 16), np.float32)
  path = saved(
    names | {checkpoint_file._WIDTH: width}, tmp_path / 'a.safetensors'
  )
  config = tiny_clip.CONFIG['text_config']
  version = Version('the second', None, tiny.UNET, config, VAE)
  monkeypatch.setattr(checkpoint_file, 'VERSIONS', {16: version})
  found = checkpoint_file.text_tower(path).params
  state = tiny_clip.hugging_face()
  np.testing.assert_array_equal(
    found['norm_out']['scale'], state['text_model.final_layer_norm.weight']
  )
  assert 'block_0' in found and 'block_1' not in found


def test_faults(folder, tmp_path):
  state, mesh = original(folder), parallel.local_mesh()
  path = saved(state, tmp_path / 'a.safetensors')
  with pytest.raises(FileNotFoundError, match='put merges.txt of'):
    runs.load_stable_diffusion(path, mesh)
  (tmp_path / 'merges.txt').write_text('')
  with pytest.raises(ValueError, match='of the first, whose'):
    runs.load_stable_diffusion(path, mesh, prediction='v')
  name = f'{UNET}out.2.bias'
  del state[name]
  with pytest.raises(ValueError, match=r'missing: out\.2\.bias'):
    runs.load_stable_diffusion(saved(state, tmp_path / 'b.safetensors'), mesh)
  wide = {checkpoint_file._WIDTH: np.zeros((4, tiny.WIDTH + 1), np.float32)}
  path = saved(state | wide, tmp_path / 'c.safetensors')
  with pytest.raises(ValueError, match='give --prediction v'):
    runs.load_stable_diffusion(path, mesh)
  refiner = {checkpoint_file._WIDTH_XL: np.zeros((4, 1280), np.float32)}
  with pytest.raises(ValueError, match='1280 as that of the refiner of XL'):
    runs.load_stable_diffusion(saved(refiner, tmp_path / 'e.safetensors'), mesh)
  other = {'x': np.zeros(2, np.float32)}
  with pytest.raises(ValueError, match='it has no such U-Net'):
    runs.load_stable_diffusion(saved(other, tmp_path / 'd.safetensors'), mesh)
