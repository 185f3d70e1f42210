"""CLIP: its size, what its towers depend on, the layouts of its files."""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdiff.networks.clip import Clip, ClipText, ClipVision
from jaxdiff.networks.clip_layers import ACTIVATIONS
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

TEXT = ClipText(16, 1, 2, 24, 8, vocab_size=50, max_length=7)
VISION = ClipVision(12, 4, 12, 1, 3, 20, 8)
SMALL = Clip(TEXT, VISION)

# Hugging Face's names, and the shapes of a network as SMALL.
NAMES = {
  'logit_scale': (),
  'text_projection.weight': (8, 16),
  'visual_projection.weight': (8, 12),
  'text_model.embeddings.token_embedding.weight': (50, 16),
  'text_model.embeddings.position_embedding.weight': (7, 16),
  'text_model.final_layer_norm.weight': (16,),
  'text_model.final_layer_norm.bias': (16,),
  'vision_model.embeddings.class_embedding': (12,),
  'vision_model.embeddings.patch_embedding.weight': (12, 3, 4, 4),
  'vision_model.embeddings.position_embedding.weight': (10, 12),
  'vision_model.pre_layrnorm.weight': (12,),
  'vision_model.pre_layrnorm.bias': (12,),
  'vision_model.post_layernorm.weight': (12,),
  'vision_model.post_layernorm.bias': (12,),
}
for tower, width, inner in [('text', 16, 24), ('vision', 12, 20)]:
  for layer, shape in {
    'layer_norm1': (width,),
    'layer_norm2': (width,),
    'self_attn.q_proj': (width, width),
    'self_attn.k_proj': (width, width),
    'self_attn.v_proj': (width, width),
    'self_attn.out_proj': (width, width),
    'mlp.fc1': (inner, width),
    'mlp.fc2': (width, inner),
  }.items():
    name = f'{tower}_model.encoder.layers.0.{layer}'
    NAMES |= {f'{name}.weight': shape, f'{name}.bias': shape[:1]}


def hugging_face():
  rng = np.random.default_rng(0)
  return {
    name: np.asarray(0.3 * rng.normal(size=shape), np.float32)
    for name, shape in NAMES.items()
  }


def open_clip():
  """The same weights as open_clip names and arranges them."""
  state = hugging_face()
  renamed = {
    'logit_scale': state.pop('logit_scale'),
    'text_projection': state.pop('text_projection.weight').T,
    'visual.proj': state.pop('visual_projection.weight').T,
  }
  for tower in ('text_model.', 'vision_model.'):
    for kind in ('weight', 'bias'):
      attention = f'{tower}encoder.layers.0.self_attn.'
      parts = [state.pop(f'{attention}{n}_proj.{kind}') for n in 'qkv']
      state[f'{tower}resblocks.0.attn.in_proj_{kind}'] = np.concatenate(parts)
  for name, tensor in state.items():
    for theirs, ours in {
      'text_model.embeddings.position_embedding.weight': 'positional_embedding',
      'vision_model.embeddings.position_embedding.weight': (
        'visual.positional_embedding'
      ),
      'embeddings.': '',
      'patch_embedding': 'conv1',
      'encoder.layers': 'transformer.resblocks',
      'model.resblocks': 'model.transformer.resblocks',
      'self_attn': 'attn',
      'layer_norm1': 'ln_1',
      'layer_norm2': 'ln_2',
      'fc1': 'c_fc',
      'fc2': 'c_proj',
      'final_layer_norm': 'ln_final',
      'pre_layrnorm': 'ln_pre',
      'post_layernorm': 'ln_post',
      'text_model.': '',
      'vision_model.': 'visual.',
    }.items():
      name = name.replace(theirs, ours)
    renamed[name] = tensor
  return renamed


def assert_equal(a, b):
  jax.tree.map(np.testing.assert_array_equal, a, b)


def inputs(length=7):
  rng = np.random.default_rng(1)
  images = jnp.asarray(rng.normal(size=(2, 12, 12, 3)), jnp.float32)
  return images, jnp.asarray(rng.integers(0, 49, (3, length)))


@pytest.fixture(scope='module')
def params():
  return clip_params(hugging_face(), SMALL)


@functools.cache
def compiled(net):
  """Without XLA's optimiser: nothing here runs often."""
  options = {'xla_backend_optimization_level': 0}
  return jax.jit(net.apply, compiler_options=options)


def apply(net, params, *args):
  return compiled(net)({'params': params}, *args)


def text(params, tokens):
  return apply(TEXT, params['text'], tokens)


def test_size_of_the_published_network():
  net = Clip(ClipText(), ClipVision())
  images = jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32)
  tokens = jax.ShapeDtypeStruct((2, 77), jnp.int32)
  (logits, seen, read), variables = jax.eval_shape(
    net.init_with_output, jax.random.key(0), images, tokens
  )
  leaves = jax.tree.leaves(variables)
  assert sum(leaf.size for leaf in leaves) == 151_277_313
  assert logits.shape == (1, 2)
  assert seen.pooled.shape == (1, 768) and seen.embedding.shape == (1, 512)
  assert read.sequence.shape == (2, 77, 512)
  assert read.pooled.shape == read.embedding.shape == (2, 512)


def test_text_does_not_look_ahead(params):
  tokens = inputs()[1]
  sequence = text(params, tokens).sequence
  for at in (1, 4, 6):
    changed = tokens.at[:, at].set((tokens[:, at] + 1) % 49)
    out = text(params, changed).sequence
    np.testing.assert_array_equal(out[:, :at], sequence[:, :at])
    assert (jnp.abs(out - sequence)[:, at:].max((0, 2)) > 1e-5).all()
  shorter = text(params, tokens[:, :4]).sequence
  np.testing.assert_allclose(shorter, sequence[:, :4], atol=1e-5)


def test_text_is_read_off_at_its_end(params):
  """At the largest id, or the first `eos_id`; never behind it."""
  tokens = jnp.asarray(
    [[1, 2, 49, 0, 0, 0, 0], [1, 2, 49, 49, 49, 3, 4], [49, 30, 2, 8, 8, 8, 1]]
  )
  out = text(params, tokens)
  ends = [2, 2, 0]
  np.testing.assert_array_equal(
    out.pooled, out.sequence[jnp.arange(3), jnp.asarray(ends)]
  )
  np.testing.assert_array_equal(out.pooled[0], out.pooled[1])
  np.testing.assert_allclose(
    out.embedding,
    out.pooled @ params['text']['projection']['kernel'],
    rtol=1e-4,
    atol=1e-5,
  )
  ruled = apply(TEXT.clone(eos_id=8), params['text'], tokens)
  np.testing.assert_allclose(ruled.pooled[2], out.sequence[2, 3], atol=1e-5)


def test_an_image_is_a_set_of_patches(params):
  """Patches and their positions moved together change nothing."""
  images = inputs()[0]
  params = params['vision']
  see = lambda params, x: apply(VISION, params, x).embedding
  order = np.array([3, 1, 8, 0, 2, 7, 6, 5, 4])
  patches = images.reshape(2, 3, 4, 3, 4, 3).swapaxes(2, 3)
  moved = patches.reshape(2, 9, 4, 4, 3)[:, order]
  moved = moved.reshape(2, 3, 3, 4, 4, 3).swapaxes(2, 3).reshape(2, 12, 12, 3)
  positions = params['position_embedding']
  positions = jnp.concatenate([positions[:1], positions[1:][order]])
  along = see(params | {'position_embedding': positions}, moved)
  np.testing.assert_allclose(along, see(params, images), rtol=1e-4, atol=1e-4)
  assert np.abs(see(params, moved) - see(params, images)).max() > 1e-3


def test_logits_are_scaled_cosines(params):
  images, tokens = inputs()
  logits, seen, read = apply(SMALL, params, images, tokens)
  i, t = np.asarray(seen.embedding), np.asarray(read.embedding)
  cosines = (i / np.linalg.norm(i, axis=1)[:, None]) @ (
    t / np.linalg.norm(t, axis=1)[:, None]
  ).T
  scale = np.exp(params['logit_scale'])
  np.testing.assert_allclose(logits, scale * cosines, rtol=1e-4, atol=1e-5)


def test_activations():
  x = jnp.asarray([-2.0, 0.0, 1.0])
  # x Phi(x), from tables of the normal distribution; the tanh approximation
  # is off by 1.5e-4 at 1.
  np.testing.assert_allclose(
    ACTIVATIONS['gelu'](x), [-0.0455003, 0, 0.8413447], atol=1e-6
  )
  np.testing.assert_allclose(
    ACTIVATIONS['quick_gelu'](x), x / (1 + np.exp(-1.702 * x)), atol=1e-6
  )


def test_bfloat16_computes_about_the_same(params):
  images, tokens = inputs()
  net = Clip(TEXT.clone(dtype=jnp.bfloat16), VISION.clone(dtype=jnp.bfloat16))
  half = apply(net, params, images, tokens)
  full = apply(SMALL, params, images, tokens)
  for a, b in zip(jax.tree.leaves(half), jax.tree.leaves(full), strict=True):
    assert a.dtype == jnp.float32
    assert 0 < jnp.linalg.norm(a - b) < 0.05 * jnp.linalg.norm(b)


def test_refusals():
  images, tokens = inputs()

  def init(net, *args):
    jax.eval_shape(net.init, jax.random.key(0), *args)

  for net, args, message in [
    (TEXT, (jnp.zeros((1, 8), int),), r'L in 1..7.*\(1, 8\)'),
    (TEXT, (jnp.zeros((7,), int),), 'tokens must be'),
    (TEXT, (jnp.zeros((1, 7)),), 'must be integers, got float32'),
    (TEXT.clone(activation='relu'), (tokens,), "'quick_gelu'.*got 'relu'"),
    (TEXT.clone(num_heads=3), (tokens,), 'num_heads must divide width 16'),
    (TEXT.clone(dtype=jnp.float16), (tokens,), 'dtype must be float32 or'),
    (VISION, (images[:, 1:],), r'images must be \[B, 12, 12, 3\]'),
    (VISION.clone(patch_size=5), (images,), 'must divide image_size 12'),
    (
      Clip(TEXT.clone(projection_dim=9), VISION),
      (images, tokens),
      'same projection_dim, got 8 for images and 9 for text',
    ),
  ]:
    with pytest.raises(ValueError, match=message):
      init(net, *args)


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


CONFIG = {
  'model_type': 'clip',
  'projection_dim': 8,
  'text_config': {
    'hidden_size': 16,
    'num_hidden_layers': 1,
    'num_attention_heads': 2,
    'intermediate_size': 24,
    'vocab_size': 50,
    'max_position_embeddings': 7,
    'eos_token_id': 2,
  },
  'vision_config': {
    'image_size': 12,
    'patch_size': 4,
    'hidden_size': 12,
    'num_hidden_layers': 1,
    'num_attention_heads': 3,
    'intermediate_size': 20,
  },
}


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
