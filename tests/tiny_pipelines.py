"""Tiny pipelines of diffusers, every tensor random, and their folders."""

import json

import numpy as np
import pytest
import tiny_clip

from jaxdiff import tokenizers

# A test that imports these is skipped without them.
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
  'inpaint': (
    dict(attention_head_dim=4, in_channels=9),
    'quick_gelu',
    '<|endoftext|>',
    ('PNDMScheduler', dict(skip_prk_steps=True)),
  ),
  'xl': (
    dict(
      attention_head_dim=(4, 8),
      use_linear_projection=True,
      cross_attention_dim=2 * WIDTH,
      transformer_layers_per_block=(1, 2),
      addition_embed_type='text_time',
      addition_time_embed_dim=8,
      projection_class_embeddings_input_dim=6 * 8 + 16,
      # Blocks that attend are the lower ones.
      down_block_types=('DownBlock2D', 'CrossAttnDownBlock2D'),
      up_block_types=('CrossAttnUpBlock2D', 'UpBlock2D'),
    ),
    'quick_gelu',
    '<|endoftext|>',
    ('EulerDiscreteScheduler', dict(timestep_spacing='leading')),
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
  xl = version == 'xl'
  betas = {k: x for k, x in BETAS.items() if not xl or k != 'set_alpha_to_one'}
  unet = diffusers.UNet2DConditionModel(**UNET | network)
  parts = dict(
    unet=randomise(unet, gain),
    vae=randomise(diffusers.AutoencoderKL(**VAE), gain),
    text_encoder=randomise(transformers.CLIPTextModel(text), gain),
    tokenizer=tokenizer(folder / 'tokenizer', pad),
    scheduler=getattr(diffusers, scheduler)(**betas, **settings),
    feature_extractor=None,
  )
  if xl:
    second = transformers.CLIPTextConfig(
      **TEXT, vocab_size=49408, hidden_act='gelu', projection_dim=16
    )
    tower = transformers.CLIPTextModelWithProjection(second)
    parts['text_encoder_2'] = randomise(tower, 1.5 * gain)
    parts['tokenizer_2'] = tokenizer(folder / 'tokenizer_2', '!')
    pipe = diffusers.StableDiffusionXLPipeline(**parts, add_watermarker=False)
  else:
    name = 'Inpaint' if version == 'inpaint' else ''
    kind = getattr(diffusers, f'StableDiffusion{name}Pipeline')
    pipe = kind(**parts, safety_checker=None, requires_safety_checker=False)
  pipe.save_pretrained(folder)
  for part in parts.values():
    if isinstance(part, torch.nn.Module):
      part.double()
  pipe.set_progress_bar_config(disable=True)
  return pipe


def relative(ours, theirs):
  theirs = theirs.detach().permute(0, 2, 3, 1).numpy()
  return np.linalg.norm(ours - theirs) / np.linalg.norm(theirs)
