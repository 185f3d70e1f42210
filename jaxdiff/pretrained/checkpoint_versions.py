"""Configs of Stable Diffusion 1, 2 and XL, by the width of their text.

The single files of their authors have none, and the width tells the version.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple


class Version(NamedTuple):
  """Configs of the parts in diffusers' layout; None: it is not known."""

  name: str
  prediction: str | None
  unet: Mapping[str, Any]
  text: Mapping[str, Any]
  vae: Mapping[str, Any]
  second: Mapping[str, Any] | None = None  # text tower


_VAE = {
  'block_out_channels': [128, 256, 512, 512],
  'layers_per_block': 2,
  'scaling_factor': 0.18215,
}
_TEXT = {
  'hidden_size': 768,
  'intermediate_size': 3072,
  'num_hidden_layers': 12,
  'num_attention_heads': 12,
  'max_position_embeddings': 77,
}
# Width of text -> the version.
VERSIONS = {
  768: Version(
    'Stable Diffusion 1',
    'eps',
    {'cross_attention_dim': 768, 'attention_head_dim': 8},
    _TEXT,
    _VAE,
  ),
  1024: Version(
    'Stable Diffusion 2',
    None,
    {'cross_attention_dim': 1024, 'attention_head_dim': [5, 10, 20, 20]},
    {
      **_TEXT,
      'hidden_size': 1024,
      'intermediate_size': 4096,
      'num_attention_heads': 16,
      # Of 24: the last but one is what the U-Net was trained on.
      'num_hidden_layers': 23,
      'hidden_act': 'gelu',
    },
    _VAE,
  ),
  2048: Version(
    'Stable Diffusion XL',
    'eps',
    {
      'sample_size': 128,
      'block_out_channels': [320, 640, 1280],
      'down_block_types': ['DownBlock2D'] + ['CrossAttnDownBlock2D'] * 2,
      'up_block_types': ['CrossAttnUpBlock2D'] * 2 + ['UpBlock2D'],
      'transformer_layers_per_block': [1, 2, 10],
      'cross_attention_dim': 2048,
      'attention_head_dim': [5, 10, 20],
      'addition_embed_type': 'text_time',
    },
    _TEXT,
    _VAE | {'scaling_factor': 0.13025},
    {
      **_TEXT,
      'architectures': ['CLIPTextModelWithProjection'],
      'hidden_size': 1280,
      'intermediate_size': 5120,
      'num_attention_heads': 20,
      'num_hidden_layers': 32,
      'projection_dim': 1280,
      'hidden_act': 'gelu',
    },
  ),
}
# Of 1 and 2, and what is other in XL.
SCHEDULER = {
  '_class_name': 'PNDMScheduler',
  'beta_start': 0.00085,
  'beta_end': 0.012,
  'beta_schedule': 'scaled_linear',
  'skip_prk_steps': True,
  'steps_offset': 1,
}
XL_SCHEDULER = {
  '_class_name': 'EulerDiscreteScheduler',
  'timestep_spacing': 'leading',
}
