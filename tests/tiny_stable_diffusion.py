"""A tiny Stable Diffusion, random, in a folder as diffusers lays it out."""

import json

import jax
import numpy as np
import tiny_clip
from nets import random_params
from safetensors.numpy import load_file, save_file

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
# Of SDXL: text of both encoders, six sizes of 4 numbers and an embedding.
XL = UNET | {
  'cross_attention_dim': 2 * WIDTH,
  'addition_embed_type': 'text_time',
  'addition_time_embed_dim': 4,
  'projection_class_embeddings_input_dim': 6 * 4 + 6,
  'transformer_layers_per_block': [1, 2],
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


def unet_state(settings=UNET):
  """The tensors of the U-Net by diffusers' names."""
  config = unet_config.read_unet_config(settings)
  shapes = unet_weights.unet_shapes(config)
  rng = np.random.default_rng(0)
  draw = lambda x: rng.normal(size=x.shape).astype(np.float32) / 5
  sources = unet_weights.unet_sources(shapes, 2)
  return state_dicts.exported(jax.tree.map(draw, shapes), sources)


def write(folder, unet=UNET):
  """Writes the five parts of a folder, or those of SDXL."""
  for part in ('unet', 'scheduler', 'text_encoder', 'tokenizer'):
    (folder / part).mkdir(parents=True)
  for name, content in {
    'model_index.json': {'_class_name': 'StableDiffusionPipeline'},
    'unet/config.json': unet,
    'scheduler/scheduler_config.json': SCHEDULER,
  }.items():
    (folder / name).write_text(json.dumps(content))
  save_file(unet_state(unet), folder / f'unet/{unet_weights.STEM}.safetensors')
  params = random_params(VAE, np.zeros((1, 16, 16, 3), np.float32))
  save_autoencoder(folder / 'vae', VAE, params, 0.18215)
  for number, dim in (('', None), ('_2', 6))[: 1 + (unet is XL)]:
    tower, tokenizer = (
      folder / f'{part}{number}' for part in ('text_encoder', 'tokenizer')
    )
    for part in (tower, tokenizer):
      part.mkdir(exist_ok=True)
    tiny_clip.write_text_tower(tower, WIDTH, 7)
    (tower / 'merges.txt').rename(tokenizer / 'merges.txt')
    if dim is not None:
      _add_projection(tower, dim)
  return folder


def _add_projection(tower, dim):
  config = json.loads((tower / 'config.json').read_text())
  config |= {'architectures': ['CLIPTextModelWithProjection']}
  config |= {'projection_dim': dim}
  (tower / 'config.json').write_text(json.dumps(config))
  state = load_file(tower / 'model.safetensors')
  rng = np.random.default_rng(1)
  projection = rng.normal(size=(dim, WIDTH)).astype(np.float32)
  save_file(
    state | {'text_projection.weight': projection}, tower / 'model.safetensors'
  )
