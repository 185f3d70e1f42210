"""Stable Diffusion against diffusers' pipelines by way of the folders that they
write, every tensor random.

Theirs computes in float64: in float32 it is off by 1e-4 at small gain.
"""

import dataclasses
import json

import jax
import numpy as np
import pytest
import tiny_clip
from flax.traverse_util import flatten_dict

from jaxdiff import parallel, tokenizers
from jaxdiff.generation.sampler import make_sampler, traced_options
from jaxdiff.models import prompts
from jaxdiff.pretrained import checkpoint_file, unet_config, unet_weights
from jaxdiff.pretrained.autoencoder_weights import (
  autoencoder_network,
  autoencoder_state,
)
from jaxdiff.pretrained.clip_weights import clip_text_network
from jaxdiff.runs import stable_diffusion
from jaxdiff.runs.examples import with_null

torch = pytest.importorskip('torch')
diffusers = pytest.importorskip('diffusers')
transformers = pytest.importorskip('transformers')

WIDTH, SIDE, STEPS = 24, 8, 5
UNET = dict(
  sample_size=SIDE,
  block_out_channels=(32, 64),
  layers_per_block=1,
  down_block_types=('CrossAttnDownBlock2D', 'DownBlock2D'),
  up_block_types=('UpBlock2D', 'CrossAttnUpBlock2D'),
  cross_attention_dim=WIDTH,
)
VAE = dict(
  block_out_channels=(32, 32),
  down_block_types=('DownEncoderBlock2D',) * 2,
  up_block_types=('UpDecoderBlock2D',) * 2,
  layers_per_block=1,
)
TEXT = dict(
  hidden_size=WIDTH,
  intermediate_size=40,
  num_hidden_layers=2,
  num_attention_heads=3,
)
BETAS = dict(
  beta_schedule='scaled_linear',
  beta_start=0.00085,
  beta_end=0.012,
  steps_offset=1,
  set_alpha_to_one=False,
)
# Settings of each version: network, text, padding, scheduler.
VERSIONS = {
  1: (
    dict(attention_head_dim=4),
    'quick_gelu',
    '<|endoftext|>',
    ('PNDMScheduler', dict(skip_prk_steps=True)),
  ),
  2: (
    dict(attention_head_dim=(2, 4), use_linear_projection=True),
    'gelu',
    '!',
    ('DDIMScheduler', dict(prediction_type='v_prediction', clip_sample=False)),
  ),
}


def randomise(net, gain):
  generator = torch.Generator().manual_seed(0)
  with torch.no_grad():
    for name, parameter in net.named_parameters():
      noise = torch.randn(parameter.shape, generator=generator)
      fan = parameter[0].numel() if parameter.ndim > 1 else 1
      if 'embeddings' in name:
        fan = parameter.shape[-1]
      parameter.copy_(gain * noise / fan**0.5)
  return net.eval()


def tokenizer(folder, pad):
  folder.mkdir(parents=True)
  tiny_clip.write_merges(folder)
  lines = (folder / 'merges.txt').read_text().splitlines()[1:]
  symbols = tokenizers._byte_symbols()
  tokens = [*symbols, *(symbol + '</w>' for symbol in symbols)]
  tokens += [line.replace(' ', '') for line in lines]
  start, end = '<|startoftext|>', '<|endoftext|>'
  ids = {token: i for i, token in enumerate([*tokens, start, end])}
  (folder / 'vocab.json').write_text(json.dumps(ids))
  return transformers.CLIPTokenizer(
    ids,
    [tuple(line.split()) for line in lines],
    pad_token=pad,
    model_max_length=77,
  )


def pipeline(version, gain, folder):
  """A pipeline of diffusers, and its folder."""
  network, activation, pad, (scheduler, settings) = VERSIONS[version]
  text = transformers.CLIPTextConfig(
    **TEXT, vocab_size=49408, hidden_act=activation
  )
  pipe = diffusers.StableDiffusionPipeline(
    unet=randomise(diffusers.UNet2DConditionModel(**UNET, **network), gain),
    vae=randomise(diffusers.AutoencoderKL(**VAE), gain),
    text_encoder=randomise(transformers.CLIPTextModel(text), gain),
    tokenizer=tokenizer(folder / 'tokenizer', pad),
    scheduler=getattr(diffusers, scheduler)(**BETAS, **settings),
    safety_checker=None,
    feature_extractor=None,
    requires_safety_checker=False,
  )
  pipe.save_pretrained(folder)
  for part in (pipe.unet, pipe.vae, pipe.text_encoder):
    part.double()
  pipe.set_progress_bar_config(disable=True)
  return pipe


def relative(ours, theirs):
  theirs = theirs.detach().permute(0, 2, 3, 1).numpy()
  return np.linalg.norm(ours - theirs) / np.linalg.norm(theirs)


@pytest.mark.parametrize('version, gain', [(1, 1.0), (2, 0.2)])
def test_the_image_is_that_of_the_pipeline(version, gain, tmp_path):
  pipe = pipeline(version, gain, tmp_path / 'sd')
  run = stable_diffusion.load(tmp_path / 'sd', parallel.local_mesh())
  sampling = dataclasses.replace(run.config.sampling, steps=STEPS)
  config = dataclasses.replace(run.config, sampling=sampling)
  encode = prompts.make(config.condition, run.workdir, run.spec).encode
  rows = with_null(
    encode(['a red dog']), {k: x[0] for k, x in encode(['blue']).items()}
  )
  # The latents that are drawn become theirs.
  model, seen = run.model, {}

  def start(*args):
    found = model.start(*args)
    jax.debug.callback(lambda x: seen.update(x=np.array(x)), found.x)
    return found

  draw = jax.jit(make_sampler(model._replace(start=start), sampling))
  options = traced_options(config, **rows, seed=3, frozen=model.frozen)
  for scale in (1.0, 7.5):
    options['scale'] = scale
    image = np.asarray(draw(run.params, options, np.arange(1)).x)
    jax.effects_barrier()
    latents = torch.tensor(seen['x'].transpose(0, 3, 1, 2)).double()
    with torch.no_grad():
      theirs = pipe(
        'a red dog',
        negative_prompt='blue',
        guidance_scale=scale,
        num_inference_steps=STEPS,
        latents=latents,
        height=2 * SIDE,
        width=2 * SIDE,
        output_type='latent',
      ).images
      theirs = pipe.vae.decode(theirs / pipe.vae.config.scaling_factor).sample
    assert relative(image, theirs) < 1e-5


def test_names_of_the_single_file():
  """Their converter gives each tensor of ours the name it has in a folder."""
  from diffusers.loaders import single_file_utils

  version = checkpoint_file.VERSIONS[768]
  config = unet_config.read_unet_config(version.unet)
  shapes = unet_weights.unet_shapes(config)
  assert sum(x.size for x in jax.tree.leaves(shapes)) == 859_520_964
  assert len(jax.tree.leaves(shapes)) == 686
  sources = unet_weights.unet_sources(shapes, 4).values()
  ours = {source.key: i for i, source in enumerate(sources)}
  rename = lambda k: checkpoint_file.unet_name(k, 2, config.attends)
  state = {checkpoint_file.UNET + rename(k): i for k, i in ours.items()}
  assert len(state) == len(ours)
  found = single_file_utils.convert_ldm_unet_checkpoint(
    state, {'layers_per_block': 2}
  )
  assert found == ours

  text = clip_text_network(version.text)
  tokens = jax.ShapeDtypeStruct((1, 1), np.int32)
  shapes = jax.eval_shape(text.init, jax.random.key(0), tokens)['params']
  assert sum(x.size for x in jax.tree.leaves(shapes)) == 123_060_480

  network = autoencoder_network(version.vae)
  images = jax.ShapeDtypeStruct((1, 8, 8, 3), np.float32)
  shapes = jax.eval_shape(network.init, jax.random.key(0), images)['params']
  assert sum(x.size for x in jax.tree.leaves(shapes)) == 83_653_863
  zeros = jax.tree.map(lambda x: np.zeros([1] * x.ndim, np.float32), shapes)
  names = [*autoencoder_state(zeros, network)]
  assert len(names) == len(flatten_dict(shapes)) == 248
  state = {
    checkpoint_file.AUTOENCODER
    + checkpoint_file.autoencoder_name(name, 4): torch.full((1, 1), i)
    for i, name in enumerate(names)
  }
  found = single_file_utils.convert_ldm_vae_checkpoint(
    state, {'down_block_types': [0] * 4, 'up_block_types': [0] * 4}
  )
  assert {k: x.item() for k, x in found.items()} == {
    name: i for i, name in enumerate(names)
  }
