"""A tiny Stable Diffusion, random, in a folder as diffusers lays it out."""

import json

import jax
import numpy as np
import tiny_clip
from nets import random_params
from safetensors.numpy import save_file

from jaxdiff.networks.autoencoder import AutoencoderKL
from jaxdiff.pretrained import state_dicts, unet_config, unet_weights
from jaxdiff.pretrained.autoencoder_weights import save_autoencoder

WIDTH = 8
UNET = {
  '_class_name': 'UNet2DConditionModel',
  'sample_size': 8,
  'block_out_channels': [8, 16],
  'layers_per_block': 1,
  'down_block_types': ['CrossAttnDownBlock2D', 'DownBlock2D'],
  'up_block_types': ['UpBlock2D', 'CrossAttnUpBlock2D'],
  'attention_head_dim': 2,
  'cross_attention_dim': WIDTH,
  'norm_num_groups': 4,
}
SCHEDULER = {
  '_class_name': 'PNDMScheduler',
  'beta_start': 0.00085,
  'beta_end': 0.012,
  'beta_schedule': 'scaled_linear',
  'skip_prk_steps': True,
  'steps_offset': 1,
}
VAE = AutoencoderKL(
  channels=4, channel_mults=(1, 2), num_res_blocks=1, num_groups=2
)


def unet_state():
  """The tensors of the U-Net by diffusers' names."""
  config = unet_config.read_unet_config(UNET)
  shapes = unet_weights.unet_shapes(config)
  rng = np.random.default_rng(0)
  draw = lambda x: rng.normal(size=x.shape).astype(np.float32) / 5
  sources = unet_weights.unet_sources(shapes, 2)
  return state_dicts.exported(jax.tree.map(draw, shapes), sources)


def write(folder):
  """Writes the five parts of a folder."""
  for part in ('unet', 'scheduler', 'text_encoder', 'tokenizer'):
    (folder / part).mkdir(parents=True)
  for name, content in {
    'model_index.json': {'_class_name': 'StableDiffusionPipeline'},
    'unet/config.json': UNET,
    'scheduler/scheduler_config.json': SCHEDULER,
  }.items():
    (folder / name).write_text(json.dumps(content))
  save_file(unet_state(), folder / f'unet/{unet_weights.STEM}.safetensors')
  params = random_params(VAE, np.zeros((1, 16, 16, 3), np.float32))
  save_autoencoder(folder / 'vae', VAE, params, 0.18215)
  tiny_clip.write_text_tower(folder / 'text_encoder', WIDTH, 7)
  merges = folder / 'text_encoder' / 'merges.txt'
  merges.rename(folder / 'tokenizer' / 'merges.txt')
  return folder
