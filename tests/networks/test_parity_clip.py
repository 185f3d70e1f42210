"""CLIP against transformers and open_clip, every tensor random, by way of the
files that those packages write."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torchvision_python

from jaxdiff.networks.clip import Clip, ClipText, ClipVision
from jaxdiff.pretrained.clip_layouts import clip_text_params, clip_vision_params
from jaxdiff.pretrained.clip_weights import load_clip, load_clip_text
from jaxdiff.pretrained.safetensors_files import read_safetensors

torch = pytest.importorskip('torch')
torchvision_python.import_or_skip()
transformers = pytest.importorskip('transformers')
open_clip = pytest.importorskip('open_clip')
safetensors_torch = pytest.importorskip('safetensors.torch')

START, END = 98, 99
TEXT = dict(
  hidden_size=32,
  intermediate_size=80,
  num_attention_heads=4,
  num_hidden_layers=2,
  vocab_size=END + 1,
  max_position_embeddings=12,
  bos_token_id=START,
  projection_dim=24,
)
VISION = dict(
  hidden_size=48,
  intermediate_size=64,
  num_attention_heads=3,
  num_hidden_layers=2,
  image_size=24,
  patch_size=8,
  projection_dim=24,
)


def randomise(net, gain):
  """All weights of the size that keeps activations, times `gain`."""
  generator = torch.Generator().manual_seed(0)
  with torch.no_grad():
    for name, parameter in net.named_parameters():
      noise = torch.randn(parameter.shape, generator=generator)
      fan = parameter[0].numel() if parameter.ndim > 1 else 1
      if 'embedding' in name or name.endswith('proj') or '_projection' in name:
        fan = parameter.shape[-1]
      parameter.copy_(gain * noise / fan**0.5)
      if name == 'logit_scale':
        parameter.copy_(torch.tensor(4.6))
  return net.eval()


def inputs(size=24, length=10):
  """Images, and texts that end at different places; what follows is padding,
  or, for one of them, a second end token."""
  rng = np.random.default_rng(1)
  images = rng.normal(size=(2, size, size, 3)).astype('float32')
  tokens = rng.integers(1, START, (3, length))
  tokens[:, 0] = START
  for row, end in enumerate([3, length - 1, 5]):
    tokens[row, end] = END
    tokens[row, end + 1 :] = END if row else 0
  return images, tokens


def relative(ours, theirs):
  theirs = theirs.detach().numpy()
  assert ours.shape == theirs.shape
  return np.linalg.norm(ours - theirs) / np.linalg.norm(theirs)


def nchw(images):
  return torch.as_tensor(images.transpose(0, 3, 1, 2))


def apply(network, params, *args):
  args = [jnp.asarray(x) for x in args]
  return jax.jit(network.apply)({'params': params}, *args)


@pytest.mark.parametrize(
  'gain, activation, eos',
  [(1.0, 'quick_gelu', 2), (0.05, 'gelu', END), (0.02, 'quick_gelu', END)],
)
def test_both_towers_are_those_of_transformers(gain, activation, eos, tmp_path):
  text = TEXT | dict(hidden_act=activation, eos_token_id=eos)
  config = transformers.CLIPConfig(
    text_config=text,
    vision_config=VISION | dict(hidden_act=activation),
    projection_dim=24,
  )
  theirs = randomise(transformers.CLIPModel(config), gain)
  theirs.save_pretrained(tmp_path)
  network, params, _ = load_clip(tmp_path / 'model.safetensors')
  assert (network.text.eos_id is None) == (eos == 2)

  images, tokens = inputs()
  logits, seen, read = apply(network, params, images, tokens)
  with torch.no_grad():
    out = theirs(torch.as_tensor(tokens), nchw(images))
    vision = theirs.vision_model(nchw(images))
    text = theirs.text_model(torch.as_tensor(tokens))
    embedded = theirs.text_projection(text.pooler_output)
    depicted = theirs.visual_projection(vision.pooler_output)
  assert relative(read.sequence, text.last_hidden_state) < 5e-6
  assert relative(read.pooled, text.pooler_output) < 5e-6
  assert relative(read.embedding, embedded) < 5e-6
  assert relative(seen.pooled, vision.pooler_output) < 5e-6
  assert relative(seen.embedding, depicted) < 5e-6
  assert relative(logits, out.logits_per_image) < 5e-6


@pytest.mark.parametrize('projects', [True, False])
def test_text_tower_alone_is_that_of_transformers(projects, tmp_path):
  """Without the projection the names have no `text_model.` before them."""
  config = transformers.CLIPTextConfig(**TEXT, eos_token_id=END)
  kind = 'CLIPTextModelWithProjection' if projects else 'CLIPTextModel'
  theirs = randomise(getattr(transformers, kind)(config), 1.0)
  theirs.save_pretrained(tmp_path)
  state = {k: v.numpy() for k, v in theirs.state_dict().items()}
  assert ('final_layer_norm.weight' in state) != projects

  network, params, _ = load_clip_text(tmp_path / 'model.safetensors')
  jax.tree.map(
    np.testing.assert_array_equal, clip_text_params(state, network), params
  )
  tokens = inputs()[1]
  read = apply(network, params, tokens)
  out = theirs(torch.as_tensor(tokens))
  assert relative(read.sequence, out.last_hidden_state) < 5e-6
  if projects:
    assert relative(read.embedding, out.text_embeds) < 5e-6
  else:
    assert read.embedding is None
    assert relative(read.pooled, out.pooler_output) < 5e-6


def test_image_tower_alone_is_that_of_transformers():
  config = transformers.CLIPVisionConfig(**VISION)
  theirs = randomise(transformers.CLIPVisionModel(config), 1.0)
  state = {k: v.numpy() for k, v in theirs.state_dict().items()}
  assert 'post_layernorm.weight' in state
  network = ClipVision(24, 8, 48, 2, 3, 64, projection_dim=None)
  params = clip_vision_params(state, network)
  images = inputs()[0]
  seen = apply(network, params, images)
  assert relative(seen.pooled, theirs(nchw(images)).pooler_output) < 5e-6


@pytest.mark.parametrize('gain, quick', [(1.0, True), (0.05, False)])
@pytest.mark.parametrize('suffix', ['safetensors', 'bin'])
def test_both_towers_are_those_of_open_clip(gain, quick, suffix, tmp_path):
  theirs = open_clip.model.CLIP(
    embed_dim=24,
    vision_cfg=dict(
      layers=2, width=48, head_width=16, image_size=24, patch_size=8
    ),
    text_cfg=dict(
      context_length=12, vocab_size=END + 1, width=32, heads=4, layers=2
    ),
    quick_gelu=quick,
  )
  theirs = randomise(theirs, gain)
  path = tmp_path / f'open_clip_model.{suffix}'
  if suffix == 'bin':
    torch.save(theirs.state_dict(), path)
  else:
    safetensors_torch.save_file(theirs.state_dict(), path)

  activation = 'quick_gelu' if quick else 'gelu'
  network = Clip(
    ClipText(32, 2, 4, 128, 24, END + 1, 12, activation),
    ClipVision(24, 8, 48, 2, 3, 192, 24, activation),
  )
  params = load_clip(path, network).params
  alone = load_clip_text(path, network.text).params
  jax.tree.map(np.testing.assert_array_equal, alone, params['text'])

  images, tokens = inputs(length=12)
  logits, seen, read = apply(network, params, images, tokens)
  with torch.no_grad():
    depicted = theirs.encode_image(nchw(images))
    embedded = theirs.encode_text(torch.as_tensor(tokens))
    per_image, _ = theirs.get_logits(nchw(images), torch.as_tensor(tokens))
  assert relative(seen.embedding, depicted) < 5e-6
  assert relative(read.embedding, embedded) < 5e-6
  assert relative(logits, per_image) < 5e-6


def test_full_size(tmp_path):
  """ViT-B/32 of transformers, its defaults being ours."""
  theirs = randomise(transformers.CLIPModel(transformers.CLIPConfig()), 1.0)
  theirs.save_pretrained(tmp_path)
  network, params, _ = load_clip(tmp_path / 'model.safetensors')
  assert network == Clip(ClipText(eos_id=49407), ClipVision())
  images, tokens = inputs(224, 77)
  tokens[tokens == START], tokens[tokens == END] = 49406, 49407
  logits, seen, read = apply(network, params, images, tokens)
  with torch.no_grad():
    out = theirs(torch.as_tensor(tokens), nchw(images))
  unit = lambda x: x / jnp.linalg.norm(x, axis=-1, keepdims=True)
  assert relative(unit(seen.embedding), out.image_embeds) < 5e-6
  assert relative(unit(read.embedding), out.text_embeds) < 5e-6
  assert relative(logits, out.logits_per_image) < 5e-6


def test_half_precision_files_are_read_as_they_are(tmp_path):
  path = tmp_path / 'x.safetensors'
  for dtype in (torch.bfloat16, torch.float16):
    tensor = torch.randn(3, 4).to(dtype)
    safetensors_torch.save_file({'x': tensor}, path)
    ours = read_safetensors(path)['x']
    assert str(ours.dtype) == str(dtype).removeprefix('torch.')
    np.testing.assert_array_equal(ours.astype('float32'), tensor.float())
