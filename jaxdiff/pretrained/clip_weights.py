"""Published CLIP files: which network they are of, and its parameters."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from jaxdiff.networks.clip import Clip, ClipText, ClipVision
from jaxdiff.pretrained.clip_layouts import clip_params, clip_text_params
from jaxdiff.pretrained.files import read_weights, sha256

_FETCH = (
  'model.safetensors (or pytorch_model.bin) and config.json of a CLIP, e.g. '
  'from https://huggingface.co/openai/clip-vit-large-patch14/tree/main'
)


class ClipWeights(NamedTuple):
  """A network, `params` for its `apply({'params': params}, ..)`, and the hash
  of the file, which a result has to name."""

  network: Clip | ClipText
  params: Any
  sha256: str


def load_clip(
  path: str | os.PathLike, network: Clip | None = None
) -> ClipWeights:
  """Reads both towers.

  Args:
    path: of the weights file; Hugging Face's with its `config.json` beside it.
    network: None to build what that says. open_clip's files come without one:
      give the network then, and mind its `activation`. OpenAI's own `.pt`
      files hold a program and are refused.

  Returns:
    Network, parameters and hash.

  Raises:
    FileNotFoundError: no weights, or neither network nor config; the message
      says where to get them.
    ValueError: a file that cannot be read, or of another network.
  """
  state = read_weights(path, _FETCH)
  network = network or clip_network(_config(path))
  return ClipWeights(network, clip_params(state, network), sha256(path))


def load_clip_text(
  path: str | os.PathLike, network: ClipText | None = None
) -> ClipWeights:
  """Reads the text tower, from a file of it alone or of more.

  Args:
    path: as in `load_clip`; or the file in the `text_encoder` folder of a
      Stable Diffusion 1; or a whole checkpoint of it, with `network`.
    network: None to build what `config.json` says.

  Returns:
    Network, parameters and hash.

  Raises:
    FileNotFoundError: as `load_clip`.
    ValueError: as `load_clip`.
  """
  state = read_weights(path, _FETCH)
  network = network or clip_text_network(_config(path))
  return ClipWeights(network, clip_text_params(state, network), sha256(path))


def clip_network(config: Mapping[str, Any]) -> Clip:
  """The network of a Hugging Face `config.json` of both towers.

  Args:
    config: the file's content; what it leaves out has the value that
      transformers gives it.

  Returns:
    The network, computing in float32.
  """
  text = clip_text_network(config)
  vision = config['vision_config']
  return Clip(
    text,
    ClipVision(
      image_size=vision.get('image_size', 224),
      patch_size=vision.get('patch_size', 32),
      width=vision.get('hidden_size', 768),
      num_layers=vision.get('num_hidden_layers', 12),
      num_heads=vision.get('num_attention_heads', 12),
      mlp_width=vision.get('intermediate_size', 3072),
      projection_dim=text.projection_dim,
      activation=vision.get('hidden_act', 'quick_gelu'),
      norm_eps=vision.get('layer_norm_eps', 1e-5),
    ),
  )


def clip_text_network(config: Mapping[str, Any]) -> ClipText:
  """The text tower of a Hugging Face `config.json`.

  Args:
    config: of both towers, or of the text tower, which then has a projection
      only if its `architectures` say so.

  Returns:
    The network, computing in float32.
  """
  text = config.get('text_config', config)
  projects = 'text_config' in config or 'CLIPTextModelWithProjection' in (
    config.get('architectures') or ()
  )
  # Configs from before transformers corrected it say 2, which ends no text in
  # CLIP's vocabulary; transformers takes the largest id for them.
  eos_id = text.get('eos_token_id', 49407)
  return ClipText(
    width=text.get('hidden_size', 512),
    num_layers=text.get('num_hidden_layers', 12),
    num_heads=text.get('num_attention_heads', 8),
    mlp_width=text.get('intermediate_size', 2048),
    projection_dim=config.get('projection_dim', 512) if projects else None,
    vocab_size=text.get('vocab_size', 49408),
    max_length=text.get('max_position_embeddings', 77),
    activation=text.get('hidden_act', 'quick_gelu'),
    eos_id=None if eos_id == 2 else eos_id,
    norm_eps=text.get('layer_norm_eps', 1e-5),
  )


def _config(path: str | os.PathLike) -> dict[str, Any]:
  beside = Path(path).parent / 'config.json'
  if not beside.is_file():
    raise FileNotFoundError(
      f'no file at {beside}: fetch the config.json of these weights, or give '
      'the network they are of'
    )
  return json.loads(beside.read_text(encoding='utf-8'))
