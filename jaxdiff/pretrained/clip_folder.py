"""Folders of published CLIPs: Hugging Face's layout and open_clip's."""

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxdiff.networks.clip import Clip, ClipText, ClipVision
from jaxdiff.pretrained.clip_weights import ClipWeights, load_clip

_WEIGHTS = {
  'config.json': ('model.safetensors', 'pytorch_model.bin'),
  'open_clip_config.json': (
    'open_clip_model.safetensors',
    'open_clip_pytorch_model.bin',
  ),
}


def read_clip(folder: str | os.PathLike) -> ClipWeights:
  """Reads both towers from a folder of either layout.

  Raises:
    FileNotFoundError: No CLIP there; the message lists the files it needs.
    ValueError: Weights that cannot be read, or of another network.
  """
  folder = Path(folder)
  for config, names in _WEIGHTS.items():
    files = [folder / name for name in names if (folder / name).is_file()]
    if (folder / config).is_file() and files:
      if config == 'config.json':
        return load_clip(files[0])
      described = json.loads((folder / config).read_text('utf-8'))
      return load_clip(files[0], open_clip_network(described['model_cfg']))
  layouts = '; or '.join(
    f'{config} with {" or ".join(names)}' for config, names in _WEIGHTS.items()
  )
  raise FileNotFoundError(
    f'{folder} must hold a CLIP: {layouts}; e.g. from '
    'https://huggingface.co/openai/clip-vit-base-patch32'
  )


def open_clip_network(config: Mapping[str, Any]) -> Clip:
  """Builds the network of the `model_cfg` in an `open_clip_config.json`.

  Raises:
    ValueError: A model that is not two plain transformers.
  """
  vision, text = config['vision_cfg'], config['text_cfg']
  other = {'timm_model_name', 'hf_model_name'} & {*vision, *text}
  if other or not isinstance(vision.get('layers', 12), int):
    raise ValueError(
      'only vision transformers and plain text transformers of open_clip are '
      f'read, got {config}'
    )
  dim, width = config['embed_dim'], vision.get('width', 768)
  activation = 'quick_gelu' if config.get('quick_gelu') else 'gelu'
  text_width = text.get('width', 512)
  return Clip(
    ClipText(
      width=text_width,
      num_layers=text.get('layers', 12),
      num_heads=text.get('heads', 8),
      mlp_width=math.floor(text_width * text.get('mlp_ratio', 4.0)),
      projection_dim=dim,
      vocab_size=text.get('vocab_size', 49408),
      max_length=text.get('context_length', 77),
      activation=activation,
    ),
    ClipVision(
      image_size=vision.get('image_size', 224),
      patch_size=vision.get('patch_size', 16),
      width=width,
      num_layers=vision.get('layers', 12),
      num_heads=width // vision.get('head_width', 64),
      mlp_width=math.floor(width * vision.get('mlp_ratio', 4.0)),
      projection_dim=dim,
      activation=activation,
    ),
  )
