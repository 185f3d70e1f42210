"""Folders of a published CLIP, in Hugging Face's layout or open_clip's."""

import math
import os
from pathlib import Path
from typing import NamedTuple

from jaxdiff import hub
from jaxdiff.networks.clip import Clip, ClipText, ClipVision
from jaxdiff.pretrained import checkpoint_file, configs
from jaxdiff.pretrained.clip_weights import (
  MAX_IMAGE,
  MAX_LAYERS,
  ClipWeights,
  clip_network,
  load_clip,
  load_clip_text,
)
from jaxdiff.pretrained.configs import Config, field, section
from jaxdiff.tokenizers import CLIP_END, Tokenizer, clip_tokenizer


def read_clip(folder: str | os.PathLike) -> ClipWeights:
  """Reads both towers from a folder of one of the layouts.

  Raises:
    FileNotFoundError: There is no CLIP; the message lists the files it needs.
    ValueError: The weights cannot be read, or are of another network.
  """
  folder = hub.local_path(folder)
  for config, (make, names) in _LAYOUTS.items():
    files = [folder / name for name in names if (folder / name).is_file()]
    if (folder / config).is_file() and files:
      return load_clip(files[0], configs.read(folder / config, make))
  layouts = '; or '.join(
    f'{config} with {" or ".join(names)}'
    for config, (_, names) in _LAYOUTS.items()
  )
  raise FileNotFoundError(
    f'{folder} must hold a CLIP: {layouts}; e.g. from '
    'https://huggingface.co/openai/clip-vit-base-patch32'
  )


def open_clip_network(config: Config) -> Clip:
  """Builds the network of an `open_clip_config.json`, with its defaults.

  Raises:
    ValueError: It is not of two plain transformers, or a field is no size.
  """
  config = section(config, 'model_cfg')
  vision, text = section(config, 'vision_cfg'), section(config, 'text_cfg')
  if {'timm_model_name', 'hf_model_name'} & {*vision, *text}:
    raise ValueError(
      'only vision transformers and plain text transformers of open_clip are '
      'read'
    )
  dim = field(config, 'embed_dim', 512)
  activation = 'quick_gelu' if config.get('quick_gelu') else 'gelu'
  text_width = field(text, 'width', 512)
  width = field(vision, 'width', 768)
  return Clip(
    ClipText(
      width=text_width,
      num_layers=field(text, 'layers', 12, MAX_LAYERS),
      num_heads=field(text, 'heads', 8),
      mlp_width=math.floor(text_width * field(text, 'mlp_ratio', 4.0, 64)),
      projection_dim=dim,
      vocab_size=field(text, 'vocab_size', 49408),
      max_length=field(text, 'context_length', 77),
      activation=activation,
    ),
    ClipVision(
      image_size=field(vision, 'image_size', 224, MAX_IMAGE),
      patch_size=field(vision, 'patch_size', 16),
      width=width,
      num_layers=field(vision, 'layers', 12, MAX_LAYERS),
      num_heads=width // field(vision, 'head_width', 64),
      mlp_width=math.floor(width * field(vision, 'mlp_ratio', 4.0, 64)),
      projection_dim=dim,
      activation=activation,
    ),
  )


class ClipReader(NamedTuple):
  """A text tower and its tokenizer."""

  weights: ClipWeights
  tokenizer: Tokenizer


def read_text(path: str | os.PathLike, number: str = '') -> ClipReader:
  """Reads a text tower and its tokenizer.

  Args:
    path: A folder with both; or the folder or the single file of a Stable
      Diffusion.
    number: '_2' of the second of SDXL.

  Raises:
    FileNotFoundError: A file is missing, by name.
    ValueError: A file cannot be read, or is of another network.
  """
  path = hub.local_path(path)
  if checkpoint_file.is_file(path):
    weights = checkpoint_file.text_tower(path, number)
    vocabulary = checkpoint_file.find_merges(path)
    # open_clip's were trained with zeros behind the end.
    pad = CLIP_END if weights.network.activation == 'quick_gelu' else 0
  else:
    parts = [path / f'{x}{number}' for x in ('text_encoder', 'tokenizer')]
    tower, vocabulary = parts if all(map(Path.is_dir, parts)) else (path, path)
    weights, pad = load_clip_text(tower), padding(vocabulary)
  length = weights.network.max_length
  return ClipReader(weights, clip_tokenizer(vocabulary, length, pad))


def zeros_for_empty(path: str | os.PathLike) -> bool:
  """Reads whether SDXL has zeros for an empty prompt, as in its single file."""
  path = hub.local_path(path)
  if path.is_file():
    return True
  index = path / 'model_index.json'
  name = 'force_zeros_for_empty_prompt'
  read = lambda config: configs.flag(config, name, False)
  return index.is_file() and configs.read(index, read, 'Stable Diffusion')


def padding(folder: Path) -> int:
  """Reads the token that pads a text from the files of a tokenizer.

  The end of a text pads, unless a file says `!`, which is token 0: so in Stable
  Diffusion 2.

  Raises:
    ValueError: It is another one.
  """
  for name in ('special_tokens_map.json', 'tokenizer_config.json'):
    if (folder / name).is_file():
      found = configs.read(folder / name, _padding, 'tokenizer')
      if found is not None:
        return found
  return CLIP_END


def _padding(config: Config) -> int | None:
  token = config.get('pad_token')
  token = token.get('content') if isinstance(token, dict) else token
  if token is None:
    return None
  if token not in _PADDING:
    raise ValueError(
      f'pad_token must be one of {list(_PADDING)}, got {str(token)[:100]!r}'
    )
  return _PADDING[token]


_PADDING = {'<|endoftext|>': CLIP_END, '!': 0}
# Config -> how a network is made of it, and the names of weights beside it.
_LAYOUTS = {
  'config.json': (clip_network, ('model.safetensors', 'pytorch_model.bin')),
  'open_clip_config.json': (
    open_clip_network,
    ('open_clip_model.safetensors', 'open_clip_pytorch_model.bin'),
  ),
}
