"""The command clip-score, and distances by CLIP, with a CLIP of few weights."""

import itertools
import json

import jax
import numpy as np
import pytest
import safetensors.numpy
import tiny_clip

from jaxdiff import data, tokenizers
from jaxdiff.evaluation import extractors, spaces
from jaxdiff.evaluation.__main__ import main
from jaxdiff.evaluation.clip_score import clip_score
from jaxdiff.pretrained.clip_folder import read_clip


@pytest.fixture(autouse=True)
def two_devices(monkeypatch):
  """Programs for eight take several times as long to compile."""
  monkeypatch.setattr(jax, 'local_devices', lambda: jax.devices()[:2])


@pytest.fixture(scope='module')
def clip_folder(tmp_path_factory):
  """A CLIP of a few thousand weights, as open_clip lays it out."""
  folder = tmp_path_factory.mktemp('clips') / 'small'
  folder.mkdir()
  state = tiny_clip.open_clip()
  table = np.random.default_rng(0).normal(size=(49_408, 16))
  state['token_embedding.weight'] = table.astype(np.float32)
  state = {name: np.array(x, order='C') for name, x in state.items()}
  safetensors.numpy.save_file(state, folder / 'open_clip_model.safetensors')
  config = {
    'embed_dim': 8,
    'quick_gelu': True,
    'vision_cfg': {
      'image_size': 12,
      'layers': 1,
      'width': 12,
      'head_width': 4,
      'patch_size': 4,
      'mlp_ratio': 20 / 12,
    },
    'text_cfg': {
      'context_length': 7,
      'vocab_size': 49_408,
      'width': 16,
      'heads': 2,
      'layers': 1,
      'mlp_ratio': 1.5,
    },
  }
  path = folder / 'open_clip_config.json'
  path.write_text(json.dumps({'model_cfg': config}))
  # As many merges as CLIP has, none of which is needed.
  letters = tokenizers._byte_symbols()
  pairs = itertools.islice(itertools.product(letters, letters), 48_894)
  lines = ['#version', *(f'{a} {b}' for a, b in pairs), '']
  (folder / 'merges.txt').write_text('\n'.join(lines))
  return folder


def write(tmp_path, num, lines):
  x = np.random.default_rng(0).integers(0, 256, (num, 12, 12, 3), np.uint8)
  np.savez(tmp_path / 'x.npz', arr_0=x)
  (tmp_path / 'prompts.txt').write_text('\n'.join(lines))
  return x


def score(clip_folder, tmp_path, *flags):
  out = tmp_path / 'score.json'
  command = ['clip-score', '--samples', str(tmp_path / 'x.npz')]
  command += ['--weights', str(clip_folder), '--out', str(out), *flags]
  main([*command, '--prompts', str(tmp_path / 'prompts.txt')])
  return json.loads(out.read_text())


def exact(clip_folder, x, lines):
  """The score of pairs, without any of the machinery."""
  weights = read_clip(clip_folder)
  assert weights.network.vision == tiny_clip.VISION
  tokens = tokenizers.clip_tokenizer(clip_folder, 7).encode(lines)
  network = extractors.clip(weights, 'small')
  seen = jax.jit(network.feature_fn)(network.params, network.rule.host(x))
  read = jax.jit(extractors.text_fn(weights.network))(weights.params, tokens)
  return clip_score(np.asarray(seen['image']), np.asarray(read['text'])).value


LINES = ['a cat', 'two dogs']


def test_clip_score(clip_folder, tmp_path, capsys):
  x = write(tmp_path, 5, LINES)
  result = score(clip_folder, tmp_path)
  ((name, found),) = result['metrics'].items()
  assert name == 'CLIP score (clip-vit-w12-4-12, small)'
  pairs = [LINES[i] for i in (0, 1, 0, 1, 0)]
  value = exact(clip_folder, x, pairs)
  np.testing.assert_allclose(found['value'], value, rtol=1e-5)
  assert result['warnings'] == ['2 prompts for 5 images are taken in turn']
  assert result['prompts'] == result['prompts_given'] == 2
  assert result['samples_sha256'] and result['num_samples'] == 5
  assert 'against their prompts' in capsys.readouterr().out


def test_a_subset_keeps_its_pairs(clip_folder, tmp_path):
  lines = [f'{i} cats' for i in range(9)]
  x = write(tmp_path, 9, lines)
  result = score(clip_folder, tmp_path, '--num', '4')
  chosen = data.spread(9, 4)
  value = exact(clip_folder, x[chosen], [lines[i] for i in chosen])
  (found,) = result['metrics'].values()
  np.testing.assert_allclose(found['value'], value, rtol=1e-5)


def test_what_clip_does_not_read_is_said(clip_folder, tmp_path, capsys):
  write(tmp_path, 2, ['a cat', 'one two three four five six seven eight'])
  result = score(clip_folder, tmp_path)
  assert result['prompts_truncated'] == 1
  assert result['warnings'] == ['1 prompts are longer than CLIP reads']
  assert 'longer than CLIP reads' in capsys.readouterr().err


def test_what_does_not_fit_is_refused(clip_folder, tmp_path):
  write(tmp_path, 4, [str(i) for i in range(6)])
  with pytest.raises(SystemExit, match='6 prompts, and 4 images'):
    score(clip_folder, tmp_path)
  with pytest.raises(SystemExit, match='--steps, --scale has no effect'):
    score(clip_folder, tmp_path, '--steps', '5', '--scale', '3')


def test_a_distance_by_clip_is_named_so(clip_folder, tmp_path):
  for name in ('x', 'y'):
    rng = np.random.default_rng(len(name))
    x = rng.integers(0, 256, (6, 12, 12, 3), np.uint8)
    np.savez(tmp_path / f'{name}.npz', arr_0=x)
  paths = [str(tmp_path / f'{name}.npz') for name in 'xy']
  flags = ['--features', f'clip:{clip_folder}', '--out', str(tmp_path / 'o')]
  flags += ['--cache', str(tmp_path / 'cache')]
  main(['fid', '--samples', paths[0], '--reference', paths[1], *flags])
  result = json.loads((tmp_path / 'o').read_text())
  ((name, distance),) = result['metrics'].items()
  assert name == 'FD (clip-vit-w12-4-12/image, small)'
  # The same images twice.
  assert abs(distance['value']) < 1e-4
  assert result['space']['resize'] == 'clip'
  assert not spaces.is_published(spaces.FeatureSpace(**result['space']))
