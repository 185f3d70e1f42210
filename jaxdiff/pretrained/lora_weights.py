"""LoRA files of Stable Diffusion's U-Net, pytorch_lora_weights.safetensors.

Names of PEFT and diffusers are read, `unet.NAME.lora_A.weight`, and those of
older files, `unet.NAME.lora.down.weight` and `lora_unet_NAME.lora_down.weight`
with `.alpha` beside. PEFT's are written.
"""

import json
import os
from pathlib import Path

import numpy as np
import safetensors.numpy
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxdiff import files, hub
from jaxdiff.lora import Factors
from jaxdiff.pretrained.files import State
from jaxdiff.pretrained.safetensors_files import (
  read_metadata,
  read_safetensors,
)
from jaxdiff.pretrained.state_dicts import Params, some
from jaxdiff.pretrained.unet_weights import unet_sources

_PREFIXES = 'unet.', 'base_model.model.', 'lora_unet_'
_TEXT = 'text_encoder', 'lora_te'
_PARTS = {
  '.lora_A.weight': 'a',
  '.lora.down.weight': 'a',
  '_lora.down.weight': 'a',
  '.lora_down.weight': 'a',
  '.lora_B.weight': 'b',
  '.lora.up.weight': 'b',
  '_lora.up.weight': 'b',
  '.lora_up.weight': 'b',
  '.alpha': 'alpha',
}
_ABOUT = 'lora_adapter_metadata'  # JSON, of newer diffusers
# Settings of PEFT by which a product is no longer alpha / rank A B.
_UNKNOWN = 'alpha_pattern', 'use_dora', 'use_rslora'


def read(path: str | os.PathLike, params: Params, levels: int) -> Factors:
  """Reads factors; alpha / rank is multiplied into B.

  Args:
    path: The file, or a folder with pytorch_lora_weights.safetensors.
    params: Of the U-Net that they are for.
    levels: Of the U-Net.

  Raises:
    OSError: There is no such file.
    ValueError: It cannot be read, adapts the text encoder too, or layers that
      the U-Net has not.
  """
  path = hub.local_path(path)
  if path.is_dir():
    path = path / 'pytorch_lora_weights.safetensors'
  state = read_safetensors(path)
  try:
    return _factors(state, params, levels, _alpha(path))
  except ValueError as error:
    raise ValueError(f'{path}: {error}') from error


def save(
  out: str | os.PathLike, factors: Factors, levels: int, scale: float
) -> None:
  """Writes factors, the scale of the product multiplied into B.

  Args:
    out: The file.
    factors: Of a U-Net.
    levels: Of that.
    scale: alpha / rank.

  Raises:
    ValueError: They are not of a U-Net of Stable Diffusion.
  """
  out = files.as_path(out).expanduser()
  if out.suffix != '.safetensors':
    raise ValueError(f'factors are written to .safetensors, got {out}')
  state = {}
  flat = flatten_dict(factors)
  for name, path in _layers(factors, levels).items():
    for part, weight, theirs in (('a', 1.0, 'A'), ('b', scale, 'B')):
      x = weight * np.asarray(flat[*path, part], np.float32)
      state[f'unet.{name}.lora_{theirs}.weight'] = np.ascontiguousarray(x.T)
  content = safetensors.numpy.save(state, {'format': 'pt'})
  files.save(out, lambda file: file.write_bytes(content))


def _layers(params: Params, levels: int) -> dict[str, tuple[str, ...]]:
  """The path of each kernel by diffusers' name of its layer."""
  paths = {
    k[: k.index('kernel') + 1] for k in flatten_dict(params) if 'kernel' in k
  }
  marked = unflatten_dict({path: None for path in paths})
  try:
    sources = unet_sources(marked, levels)
  except (KeyError, ValueError) as error:
    raise ValueError(
      'LoRA files are for the U-Net of Stable Diffusion, and this is another '
      'network'
    ) from error
  return {x.key.removesuffix('.weight'): path for path, x in sources.items()}


def _factors(
  state: State, params: Params, levels: int, alpha: float | None
) -> Factors:
  texts = sorted(name for name in state if name.startswith(_TEXT))
  if texts:
    raise ValueError(
      f'it adapts the text encoder too, by {len(texts)} tensors such as '
      f'{texts[0][:200]!r}, and only factors of the U-Net are read'
    )
  kernels = flatten_dict(params)
  layers = {
    _plain(name): path
    for name, path in _layers(params, levels).items()
    if kernels[path].ndim == 2
  }
  found: dict[tuple[str, ...], dict[str, np.ndarray]] = {}
  strange = []
  for name, x in state.items():
    end = next((end for end in _PARTS if name.endswith(end)), None)
    layer = _plain(name.removesuffix(end)) if end else None
    if layer in layers:
      found.setdefault(layers[layer], {})[_PARTS[end]] = x
    else:
      strange.append(name)
  if strange or not found:
    raise ValueError(
      f'{len(strange)} of its {len(state)} tensors are factors of no dense '
      f'layer of this U-Net: {some(set(strange))}'
    )
  factors = {}
  for path, parts in found.items():
    a, b = (np.asarray(parts.get(x, ()), np.float32) for x in 'ab')
    a, b = (x.reshape(x.shape[:2]).T if x.size else x for x in (a, b))
    rows, columns = kernels[path].shape
    rank = b.shape[:1]
    if (a.shape, b.shape) != ((rows, *rank), (*rank, columns)):
      raise ValueError(
        f'the factors of {"/".join(path)} have the shapes {a.shape} and '
        f'{b.shape}, their product must have {kernels[path].shape}'
      )
    own = parts['alpha'].item() if 'alpha' in parts else alpha
    scale = 1.0 if own is None else own / a.shape[1]
    factors[*path, 'a'], factors[*path, 'b'] = a, scale * b
  return unflatten_dict(factors)


def _plain(layer: str) -> str:
  """Joins the parts of a layer's name as older files do."""
  for prefix in _PREFIXES:
    layer = layer.removeprefix(prefix)
  layer = layer.replace('.processor', '').replace('.', '_')
  return f'{layer}_0' if layer.endswith('to_out') else layer


def _alpha(path: Path) -> float | None:
  """Reads the alpha of the U-Net that newer diffusers writes beside."""
  text = read_metadata(path).get(_ABOUT)
  if not isinstance(text, str):
    return None
  about = json.loads(text)
  if not isinstance(about, dict):
    raise ValueError(f'{_ABOUT} is not an object')
  for name in _UNKNOWN:
    if about.get(f'unet.{name}'):
      raise ValueError(f'{name} is not read')
  alpha = about.get('unet.lora_alpha')
  if alpha is not None and not isinstance(alpha, int | float):
    raise ValueError('lora_alpha is no number')
  return alpha
