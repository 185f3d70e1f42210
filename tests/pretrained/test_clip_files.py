"""CLIP's published files: their layouts, faults and configs."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_clip import CONFIG, SMALL, TEXT, VISION, hugging_face, open_clip

from jaxdiff.networks.clip import Clip, ClipText, ClipVision
from jaxdiff.pretrained.clip_layouts import (
  clip_params,
  clip_text_params,
  clip_vision_params,
)
from jaxdiff.pretrained.clip_weights import (
  clip_network,
  clip_text_network,
  load_clip,
  load_clip_text,
)


def assert_equal(a, b):
  jax.tree.map(np.testing.assert_array_equal, a, b)


@pytest.fixture(scope='module')
def params():
  return clip_params(hugging_face(), SMALL)


def test_layouts_give_the_same_parameters(params):
  state = hugging_face()
  block = params['text']['block_0']
  np.testing.assert_array_equal(
    block['mlp_0']['kernel'],
    state['text_model.encoder.layers.0.mlp.fc1.weight'].T,
  )
  np.testing.assert_array_equal(
    params['vision']['patches']['kernel'][1, 2],
    state['vision_model.embeddings.patch_embedding.weight'][:, :, 1, 2].T,
  )
  old = {
    'text_model.embeddings.position_ids': np.arange(7)[None],
    'vision_model.embeddings.position_ids': np.arange(10)[None],
  }
  assert_equal(clip_params(state | old, SMALL), params)
  assert_equal(clip_params(open_clip(), SMALL), params)

  for tower, net, read in [
    ('text', TEXT, clip_text_params),
    ('vision', VISION, clip_vision_params),
  ]:
    inside = {k: v for k, v in state.items() if k.startswith(f'{tower}_model.')}
    bare = {k.removeprefix(f'{tower}_model.'): v for k, v in inside.items()}
    bare['embeddings.position_ids'] = np.arange(7)[None]
    alone = dict(params[tower])
    for whole in (state | old, open_clip()):
      assert_equal(read(whole, net), alone)
    del alone['projection']
    net = net.clone(projection_dim=None)
    for part in (state, open_clip(), inside, bare):
      assert_equal(read(part, net), alone)

  checkpoint = {
    f'cond_stage_model.transformer.{k}': v
    for k, v in state.items()
    if k.startswith('text_model.')
  } | {
    'cond_stage_model.transformer.text_model.embeddings.position_ids': (
      np.arange(7)
    ),
    'model.diffusion_model.out.2.bias': np.zeros(4, np.float32),
    'first_stage_model.quant_conv.bias': np.zeros(8, np.float32),
    'betas': np.zeros(1000),
  }
  alone = {k: v for k, v in params['text'].items() if k != 'projection'}
  net = TEXT.clone(projection_dim=None)
  assert_equal(clip_text_params(checkpoint, net), alone)


def test_half_precision_becomes_float32(params):
  state = {k: v.astype(jnp.bfloat16) for k, v in hugging_face().items()}
  half = clip_params(state, SMALL)
  assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(half))
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=2**-8), half, params
  )


@pytest.mark.parametrize('layout', [hugging_face, open_clip])
def test_faults_are_named_as_the_file_names_them(layout):
  state = layout()
  fused = 'transformer.resblocks.0.attn.in_proj_weight'
  if layout is open_clip:
    state[fused] = state[fused][:16]
    wrong = f'{fused} (16, 16) float32 (expected (48, 16))'
    gone = 'ln_final.bias'
  else:
    name = 'text_model.encoder.layers.0.mlp.fc1.weight'
    state[name] = state[name].T
    wrong = f'{name} (16, 24) float32 (expected (24, 16))'
    gone = 'text_model.final_layer_norm.bias'
  del state[gone]
  state['logit_bias'] = np.zeros((), np.float32)
  for read, net in [(clip_params, SMALL), (clip_text_params, TEXT)]:
    with pytest.raises(ValueError) as error:
      read(state, net)
    message = str(error.value)
    assert f'missing: {gone};' in message
    assert 'unexpected: logit_bias;' in message
    assert f'wrong: {wrong}' in message


def test_another_tower_is_refused():
  """The image tower where text is wanted, and a network of two layers."""
  bare = {
    k.removeprefix('vision_model.'): v
    for k, v in hugging_face().items()
    if k.startswith('vision_model.')
  }
  with pytest.raises(ValueError, match='embeddings.token_embedding.weight'):
    clip_text_params(bare, TEXT)
  deeper = TEXT.clone(num_layers=2)
  with pytest.raises(ValueError, match=r'missing: .*layers.1.*'):
    clip_text_params(hugging_face(), deeper)


def test_networks_of_configs():
  assert clip_network(CONFIG) == SMALL
  gelu = CONFIG['text_config'] | {'hidden_act': 'gelu', 'eos_token_id': 9}
  net = clip_network(CONFIG | {'text_config': gelu})
  assert net == Clip(TEXT.clone(activation='gelu', eos_id=9), VISION)
  assert clip_text_network(CONFIG) == TEXT
  alone = CONFIG['text_config'] | {'projection_dim': 8}
  assert clip_text_network(alone) == TEXT.clone(projection_dim=None)
  alone['architectures'] = ['CLIPTextModelWithProjection']
  assert clip_text_network(alone) == TEXT
  # What transformers leaves out of a file is as in ViT-B/32.
  net = clip_network({'text_config': {}, 'vision_config': {}})
  assert net == Clip(ClipText(eos_id=49407), ClipVision())


def test_files(params, tmp_path):
  numpy_files = pytest.importorskip('safetensors.numpy')
  path = tmp_path / 'model.safetensors'
  with pytest.raises(FileNotFoundError, match='fetch model.safetensors.*http'):
    load_clip(path)
  numpy_files.save_file(hugging_face(), path)
  with pytest.raises(FileNotFoundError, match='config.json'):
    load_clip(path)
  assert_equal(load_clip(path, SMALL).params, params)
  (tmp_path / 'config.json').write_text(json.dumps(CONFIG))
  weights = load_clip(path)
  assert weights.network == SMALL and len(weights.sha256) == 64
  assert_equal(weights.params, params)
  weights = load_clip_text(path)
  assert weights.network == TEXT
  assert_equal(weights.params, params['text'])
