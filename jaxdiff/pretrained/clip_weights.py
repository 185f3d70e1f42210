"""Files of a published CLIP: the network they are of, and its parameters."""

import os
from collections.abc import Callable
from typing import NamedTuple

from jaxdiff import hub
from jaxdiff.networks.clip import Clip, ClipText, ClipVision
from jaxdiff.pretrained import configs, folders
from jaxdiff.pretrained.clip_layouts import clip_params, clip_text_params
from jaxdiff.pretrained.configs import Config, field, section
from jaxdiff.pretrained.files import State, check_exists
from jaxdiff.pretrained.state_dicts import Params

# Limits for configs: larger towers take minutes to be built, and exist nowhere.
MAX_LAYERS = 128
MAX_IMAGE = 4096

_FETCH = (
  'model.safetensors (or pytorch_model.bin) and config.json of a CLIP, e.g. '
  'from https://huggingface.co/openai/clip-vit-large-patch14/tree/main'
)


class ClipWeights(NamedTuple):
  """A network, its parameters, and the SHA-256 of their file for results."""

  network: Clip | ClipText
  params: Params
  sha256: str


def load_clip(
  path: str | os.PathLike, network: Clip | None = None
) -> ClipWeights:
  """Reads both towers.

  Args:
    path: The weights file, or a folder with it, perhaps in shards. OpenAI's own
      `.pt` files hold a program and are refused.
    network: None for that of the `config.json` beside the weights.

  Raises:
    FileNotFoundError: There are no weights, or neither network nor config; the
      message says where to get them.
    ValueError: A file cannot be read, or is of another network.
  """
  return _load(path, network, clip_network, clip_params)


def load_clip_text(
  path: str | os.PathLike, network: ClipText | None = None
) -> ClipWeights:
  """Reads the text tower, from a file of it alone or of more.

  Arguments and errors are those of `load_clip`. The file may also be that in
  the `text_encoder` folder of a Stable Diffusion 1, or with `network` a whole
  checkpoint of it.
  """
  return _load(path, network, clip_text_network, clip_text_params)


def clip_network(config: Config) -> Clip:
  """Builds the network of a Hugging Face `config.json` of both towers.

  Fields that it leaves out have the values of transformers.

  Raises:
    ValueError: A tower is missing, or a field is no size.
  """
  section(config, 'text_config')  # without one it would be all of the config
  text, vision = clip_text_network(config), section(config, 'vision_config')
  return Clip(
    text,
    ClipVision(
      image_size=field(vision, 'image_size', 224, MAX_IMAGE),
      patch_size=field(vision, 'patch_size', 32),
      width=field(vision, 'hidden_size', 768),
      num_layers=field(vision, 'num_hidden_layers', 12, MAX_LAYERS),
      num_heads=field(vision, 'num_attention_heads', 12),
      mlp_width=field(vision, 'intermediate_size', 3072),
      projection_dim=text.projection_dim,
      activation=field(vision, 'hidden_act', 'quick_gelu'),
      norm_eps=field(vision, 'layer_norm_eps', 1e-5),
    ),
  )


def clip_text_network(config: Config) -> ClipText:
  """Builds the text tower of a Hugging Face `config.json`.

  One of the text tower alone has a projection only if its `architectures` say
  so.

  Raises:
    ValueError: A field is no size.
  """
  both = 'text_config' in config
  text = section(config, 'text_config') if both else config
  projects = both or 'CLIPTextModelWithProjection' in (
    field(config, 'architectures', [])
  )
  # Configs from before transformers corrected it say 2, which ends no text in
  # CLIP's vocabulary; transformers takes the largest id for them.
  eos_id = field(text, 'eos_token_id', 49407)
  return ClipText(
    width=field(text, 'hidden_size', 512),
    num_layers=field(text, 'num_hidden_layers', 12, MAX_LAYERS),
    num_heads=field(text, 'num_attention_heads', 8),
    mlp_width=field(text, 'intermediate_size', 2048),
    projection_dim=field(config, 'projection_dim', 512) if projects else None,
    vocab_size=field(text, 'vocab_size', 49408),
    max_length=field(text, 'max_position_embeddings', 77),
    activation=field(text, 'hidden_act', 'quick_gelu'),
    eos_id=None if eos_id == 2 else eos_id,
    norm_eps=field(text, 'layer_norm_eps', 1e-5),
  )


def _load(
  path: str | os.PathLike,
  network: Clip | ClipText | None,
  make: Callable[[Config], Clip | ClipText],
  params: Callable[[State, Clip | ClipText], Params],
) -> ClipWeights:
  path = hub.local_path(path)
  if path.is_dir():
    path = folders.find_weights(path, 'model', _FETCH)
  check_exists(path, _FETCH)
  network = network or configs.read(path.parent / 'config.json', make)
  state, sha256 = folders.read_state(path, _FETCH)
  try:
    return ClipWeights(network, params(state, network), sha256)
  except ValueError as error:
    raise ValueError(f'{path}: {error}') from error
