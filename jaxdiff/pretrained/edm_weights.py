"""The U-Nets of EDM, DDPM++ and NCSN++, as our parameters.

Their published files are pickles that hold programs. Their state dict, saved as
safetensors, has `model.enc.32x32_block0.conv0.weight` and so on. The nine
numbers of their augmentation are zero in sampling, and are left out.

Source: Karras et al. 2022 (arXiv:2206.00364), appendix F.2.
"""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict

from jaxdiff.pretrained.files import State
from jaxdiff.pretrained.state_dicts import (
  Params,
  Path,
  Source,
  arranged,
  without_pointwise,
)

MAX_SIDE, MAX_BLOCKS = 1 << 12, 64

_IN = re.compile(r'enc\.(\d{1,4})x\1_conv\.weight')
_BLOCK = re.compile(r'enc\.(\d{1,4})x\1_block(\d{1,2})\.(conv1|qkv)\.weight')
_FREQUENCIES, _LABELS = 'map_noise.freqs', 'map_label.weight'
_LAYERS = {
  'norm_0': 'norm0',
  'conv_0': 'conv0',
  'emb': 'affine',
  'norm_1': 'norm1',
  'conv_1': 'conv1',
  'shortcut': 'skip',
  'norm': 'norm2',
  'out': 'proj',
  **dict.fromkeys('qkv', 'qkv'),
}


def is_edm(state: State) -> bool:
  """Tells whether these are the tensors of a U-Net of EDM."""
  return any(map(_IN.fullmatch, _plain(state)))


def edm_settings(
  state: State,
) -> tuple[dict[str, Any], int, int, int | None]:
  """Reads the sizes off the tensors.

  Returns:
    The settings of `config.networks.UNet`; the side length of the images, their
    channels, and the number of classes.

  Raises:
    ValueError: They are of none that is known here.
  """
  state = _plain(state)
  name = next(filter(_IN.fullmatch, state))
  side = int(_IN.fullmatch(name)[1])
  blocks = filter(None, map(_BLOCK.fullmatch, state))
  found: dict[tuple[int, int, str], int] = {
    (int(x[1]), int(x[2]), x[3]): len(state[x[0]]) for x in blocks
  }
  heights = sorted({height for height, _, _ in found}, reverse=True)
  num = 1 + max((i for _, i, _ in found), default=-1)
  widths = [found.get((height, 0, 'conv1'), 0) for height in heights]
  channels, images = state[name].shape[:2]
  good = 0 < num <= MAX_BLOCKS and 0 < side <= MAX_SIDE and channels
  if (
    not good
    or heights != [side >> i for i in range(len(heights))]
    or any(width < channels or width % channels for width in widths)
  ):
    raise ValueError(
      f'the U-Net of EDM must have blocks on every level, of widths that are '
      f'multiples of {channels}, got {widths} at {heights}'
    )
  ncsn = _FREQUENCIES in state
  settings = {
    'variant': 'ncsn++' if ncsn else 'ddpm++',
    'channels': channels,
    'channel_mults': tuple(width // channels for width in widths),
    'num_res_blocks': num,
    'attention_resolutions': tuple(
      height for height in heights if (height, 0, 'qkv') in found
    ),
    'resblock_updown': True,
    'time_scale': 1.0,
  }
  labels = state.get(_LABELS)
  classes = None if labels is None else labels.shape[-1]
  return settings, side, images, classes


def edm_params(state: State, shapes: Params, side: int, levels: int) -> Params:
  """Renames the tensors.

  Args:
    state: For which `is_edm` holds.
    shapes: Of the parameters, from `jax.eval_shape`.
    side: Of the images.
    levels: Of the U-Net.

  Raises:
    ValueError: Tensors are missing, left over or of another shape.
  """
  flat = flatten_dict(shapes)
  sources = {path: _source(path, side, levels) for path in flat}
  found = _rearranged(_plain(state))
  return arranged(without_pointwise(found, sources, shapes), sources, shapes)


def _plain(state: State) -> dict[str, np.ndarray]:
  """Leaves out the wrapper's name, filters that are fixed, augmentation."""
  left = '.resample_filter', 'map_augment.weight'
  return {
    name.removeprefix('model.'): x
    for name, x in state.items()
    if not name.endswith(left)
  }


def _rearranged(state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
  """Takes q, k, v apart, which alternate, and makes a table of the labels.

  The embedding of label i is sqrt(num) W[:, i] + b, of no label b.
  """
  found = {}
  for name, x in state.items():
    if '.qkv.' in name and len(x) % 3 == 0:
      x = x.reshape(-1, 3, *x.shape[1:]).swapaxes(0, 1).reshape(x.shape)
    found[name] = x
  if _LABELS in found:
    w, b = found.pop(_LABELS), found.pop('map_label.bias', None)
    if w.ndim != 2 or b is None or b.shape != w.shape[:1]:
      raise ValueError(f'{_LABELS} must be a matrix, with a bias')
    rows = [*(w.shape[1] ** 0.5 * w.T + b), b]
    found['map_label'] = np.stack(rows)
  return found


def _source(path: Path, side: int, levels: int) -> Source:
  """('encoder_1_0', 'conv_0', 'kernel') -> enc.16x16_block0.conv0.weight."""
  block, *inside, leaf = path
  if block == 'label':
    return Source('map_label')
  if leaf == 'frequencies':
    return Source(_FREQUENCIES)
  leaf = 'bias' if leaf == 'bias' else 'weight'
  kind, *numbers = block.removesuffix('_attention').split('_')
  numbers = numbers or ['0']
  level = int(numbers[0]) if numbers[0].isdecimal() else 0
  at = lambda level: f'{side >> level}x{side >> level}'
  if kind == 'time':
    return Source(f'map_layer{numbers[0]}.{leaf}')
  where = {
    'conv': f'enc.{at(0)}_conv'
    if numbers == ['in']
    else f'dec.{at(0)}_aux_conv',
    'norm': f'dec.{at(0)}_aux_norm',
    'down': f'enc.{at(level)}_down',
    'side': f'enc.{at(level)}_aux_residual',
    'encoder': f'enc.{at(level)}_block{numbers[-1]}',
    'middle': f'dec.{at(levels - 1)}_in{level}',
    'up': f'dec.{at(level - 1)}_up' if level else '',
    'decoder': f'dec.{at(level)}_block{numbers[-1]}',
  }[kind]
  if not inside:
    return Source(f'{where}.{leaf}')
  layer = inside[-1]
  part = 'qkv'.index(layer) if layer in ('q', 'k', 'v') else None
  return Source(f'{where}.{_LAYERS[layer]}.{leaf}', part)
