"""Stable Diffusion against diffusers' pipelines by way of the folders that they
write, every tensor random.

Theirs computes in float64: in float32 it is off by 1e-4 at small gain.
"""

import dataclasses

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from tiny_pipelines import SIDE, STEPS, pipeline, relative, torch

from jaxdiff import parallel, runs
from jaxdiff.generation import edits
from jaxdiff.generation.sampler import make_sampler, traced_options
from jaxdiff.models import prompts
from jaxdiff.pretrained import checkpoint_file, unet_config, unet_weights
from jaxdiff.pretrained.autoencoder_weights import (
  autoencoder_network,
  autoencoder_state,
)
from jaxdiff.pretrained.clip_weights import clip_text_network
from jaxdiff.runs.examples import with_null


def sampler(run):
  """The sampler of a run in a few steps, and what it has drawn at t = 1."""
  sampling = dataclasses.replace(run.config.sampling, steps=STEPS)
  model, seen = run.model, {}

  def start(*args):
    found = model.start(*args)
    jax.debug.callback(lambda x: seen.update(x=np.array(x)), found.x)
    return found

  return jax.jit(make_sampler(model._replace(start=start), sampling)), seen


@pytest.mark.parametrize(
  'version, gain, negative',
  [(1, 1.0, 'blue'), (2, 0.2, 'blue'), ('xl', 1.0, 'blue'), ('xl', 0.5, None)],
)
def test_the_image_is_that_of_the_pipeline(version, gain, negative, tmp_path):
  pipe = pipeline(version, gain, tmp_path / 'sd')
  run = runs.load_stable_diffusion(tmp_path / 'sd', parallel.local_mesh())
  config, model = run.config, run.model
  encode = prompts.make(config.condition, run.workdir, run.spec).encode
  rows = with_null(
    encode(['a red dog']),
    {k: x[0] for k, x in encode([negative or '']).items()},
  )
  draw, seen = sampler(run)
  options = traced_options(config, **rows, seed=3, frozen=model.frozen)
  for scale in (1.0, 7.5):
    options['scale'] = scale
    image = np.asarray(draw(run.params, options, np.arange(1)).x)
    jax.effects_barrier()
    latents = torch.tensor(seen['x'].transpose(0, 3, 1, 2)).double()
    with torch.no_grad():
      theirs = pipe(
        'a red dog',
        negative_prompt=negative,
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


def test_names_of_the_single_file_of_sdxl():
  from diffusers.loaders import single_file_utils

  version = checkpoint_file.VERSIONS[2048]
  config = unet_config.read_unet_config(version.unet)
  shapes = unet_weights.unet_shapes(config)
  assert sum(x.size for x in jax.tree.leaves(shapes)) == 2_567_463_684
  sources = unet_weights.unet_sources(shapes, 3).values()
  ours = {source.key: i for i, source in enumerate(sources)}
  rename = lambda k: checkpoint_file.unet_name(k, 2, config.attends)
  state = {checkpoint_file.UNET + rename(k): i for k, i in ours.items()}
  found = single_file_utils.convert_ldm_unet_checkpoint(
    state, {'layers_per_block': 2, 'addition_embed_type': 'text_time'}
  )
  assert found == ours
  text = clip_text_network(version.second)
  tokens = jax.ShapeDtypeStruct((1, 1), np.int32)
  shapes = jax.eval_shape(text.init, jax.random.key(0), tokens)['params']
  assert sum(x.size for x in jax.tree.leaves(shapes)) == 694_659_840


def test_a_network_that_fills_in(tmp_path):
  """The mask and the masked image stand beside the latents, nine channels."""
  pipe = pipeline('inpaint', 1.0, tmp_path / 'sd')
  run = runs.load_stable_diffusion(tmp_path / 'sd', parallel.local_mesh())
  rng = np.random.default_rng(0)
  image = rng.uniform(-1, 1, (2 * SIDE, 2 * SIDE, 3)).astype(np.float32)
  mask = rng.uniform(size=(2 * SIDE, 2 * SIDE, 1)) < 0.5
  beside = edits.beside(run.model, image, mask)
  encode = prompts.make(run.config.condition, run.workdir, run.spec).encode
  rows = with_null(
    {**encode(['a red dog']), 'beside': beside[None]},
    {k: x[0] for k, x in encode(['blue']).items()},
  )
  draw, seen = sampler(run)
  options = traced_options(run.config, **rows, seed=3, frozen=run.model.frozen)
  ours = np.asarray(draw(run.params, options, np.arange(1)).x)
  jax.effects_barrier()
  double = lambda x: torch.tensor(np.asarray(x).transpose(2, 0, 1)).double()
  with torch.no_grad():
    pixels = double(np.where(mask, 0, image))[None]
    latents = pipe.vae.encode(pixels).latent_dist.mean
    latents = latents * pipe.vae.config.scaling_factor
    theirs = pipe(
      'a red dog',
      negative_prompt='blue',
      image=double(image)[None],
      mask_image=double(mask.astype(float))[None],
      masked_image_latents=latents,
      guidance_scale=7.5,
      strength=1.0,
      num_inference_steps=STEPS,
      latents=double(seen['x'][0])[None],
      height=2 * SIDE,
      width=2 * SIDE,
      output_type='latent',
    ).images
    theirs = pipe.vae.decode(theirs / pipe.vae.config.scaling_factor).sample
  assert relative(ours, theirs) < 1e-5


def test_the_full_size_of_sdxl():
  config = unet_config.read_unet_config(
    {
      'attention_head_dim': [5, 10, 20],
      'block_out_channels': [320, 640, 1280],
      'cross_attention_dim': 2048,
      'down_block_types': ['DownBlock2D', *['CrossAttnDownBlock2D'] * 2],
      'up_block_types': [*['CrossAttnUpBlock2D'] * 2, 'UpBlock2D'],
      'transformer_layers_per_block': [1, 2, 10],
      'addition_embed_type': 'text_time',
      'addition_time_embed_dim': 256,
      'projection_class_embeddings_input_dim': 2816,
      'use_linear_projection': True,
      'sample_size': 128,
    }
  )
  shapes = unet_weights.unet_shapes(config)
  assert sum(x.size for x in jax.tree.leaves(shapes)) == 2_567_463_684
  second = clip_text_network(
    {
      'architectures': ['CLIPTextModelWithProjection'],
      'hidden_size': 1280,
      'intermediate_size': 5120,
      'num_hidden_layers': 32,
      'num_attention_heads': 20,
      'projection_dim': 1280,
      'hidden_act': 'gelu',
    }
  )
  tokens = jax.ShapeDtypeStruct((1, 1), np.int32)
  shapes = jax.eval_shape(second.init, jax.random.key(0), tokens)['params']
  assert sum(x.size for x in jax.tree.leaves(shapes)) == 694_659_840
