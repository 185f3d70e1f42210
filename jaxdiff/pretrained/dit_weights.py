"""The original files of DiT, such as DiT-XL-2-256x256.pt, as our parameters.

Their tensors are `blocks.N.attn.qkv.weight` and so on. The positions, which are
fixed, are compared with ours and left out.

Source: Peebles and Xie 2022 (arXiv:2212.09748), the released code.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxdiff.networks import dit
from jaxdiff.pretrained.files import State
from jaxdiff.pretrained.state_dicts import Params, Path, Source, arranged

MAX_DEPTH = 256
HEADS = {384: 6, 768: 12, 1024: 16, 1152: 16}  # S, B, L, XL by their width

_PATCHES, _TIME = 'x_embedder.proj.weight', 't_embedder.mlp.0.weight'
_LABELS, _POSITIONS = 'y_embedder.embedding_table.weight', 'pos_embed'
_OUT = 'final_layer.linear.weight'
_NAMES = {
  'patch_in': 'x_embedder.proj',
  'time_0': 't_embedder.mlp.0',
  'time_1': 't_embedder.mlp.2',
  'label': 'y_embedder.embedding_table',
  'modulation': 'final_layer.adaLN_modulation.1',
  'patch_out': 'final_layer.linear',
}
_BLOCK = {
  ('modulation',): 'adaLN_modulation.1',
  ('attention', 'out'): 'attn.proj',
  ('mlp_0',): 'mlp.fc1',
  ('mlp_1',): 'mlp.fc2',
  **{('attention', x): 'attn.qkv' for x in 'qkv'},
}


def is_dit(state: State) -> bool:
  """Tells whether these are the tensors of a DiT."""
  return {_PATCHES, _LABELS, _POSITIONS, _OUT} <= set(state)


def dit_settings(
  state: State, num_heads: int | None = None
) -> tuple[dict[str, Any], int, int, int]:
  """Reads the sizes off the tensors.

  Args:
    state: For which `is_dit` holds.
    num_heads: None: that of the published width.

  Returns:
    The settings of `config.networks.DiT`; the side length of the latents, their
    channels, and the number of classes.

  Raises:
    ValueError: They are of no DiT that is known here.
  """
  names = _PATCHES, _LABELS, _POSITIONS, _OUT
  depth = len({x.split('.')[1] for x in state if x.startswith('blocks.')})
  match [state[name].shape for name in names]:
    case [
      (int(width), int(channels), int(patch), _),
      (int(labels), _),
      (1, int(places), _),
      (int(out), _),
    ]:
      side = round(places**0.5)
    case shapes:
      raise ValueError(f'{", ".join(names)} have shapes {shapes}')
  if out != 2 * channels * patch**2:
    raise ValueError(f'{_OUT} must be of a DiT that learns the variance')
  if not 0 < depth <= MAX_DEPTH:
    raise ValueError(f'it has {depth} blocks, and 1 to {MAX_DEPTH} are read')
  heads = num_heads or HEADS.get(width)
  if heads is None:
    raise ValueError(
      f'a DiT of width {width} is none of S, B, L and XL: give --num-heads'
    )
  settings = {
    'patch_size': patch,
    'width': width,
    'depth': depth,
    'num_heads': heads,
    'frequency_shift': 0,
  }
  return settings, side * patch, channels, labels - 1


def dit_params(state: State, shapes: Params) -> Params:
  """Renames the tensors; blocks are stacked.

  Args:
    state: For which `is_dit` holds.
    shapes: Of the parameters, from `jax.eval_shape`.

  Raises:
    ValueError: Tensors are missing, left over or of another shape, or positions
      are not the fixed ones.
  """
  theirs = state[_POSITIONS]
  side = round(theirs.shape[1] ** 0.5)
  positions = dit.positions(side, side, theirs.shape[2])[None]
  if theirs.shape != positions.shape or not np.allclose(
    theirs, positions, atol=1e-4
  ):
    raise ValueError(f'{_POSITIONS} is not the fixed embedding of a grid')
  flat = flatten_dict(shapes)
  stacks = {path: x for path, x in flat.items() if path[0] == 'blocks'}
  depth = next(iter(stacks.values())).shape[0]
  single = {path: x for path, x in flat.items() if path not in stacks}
  for path, x in stacks.items():
    one = jax.ShapeDtypeStruct(x.shape[1:], x.dtype)
    single |= {('blocks', str(i), *path[1:]): one for i in range(depth)}
  sources = {path: _source(path) for path in single}
  found = flatten_dict(
    arranged(_as_matrices(state), sources, unflatten_dict(single), [_POSITIONS])
  )
  stacked = {
    path: jnp.stack(
      [found.pop(('blocks', str(i), *path[1:])) for i in range(depth)]
    )
    for path in stacks
  }
  return unflatten_dict({**found, **stacked})


def _as_matrices(state: State) -> dict[str, np.ndarray]:
  """Makes the patches rows of a matrix, and puts sines before cosines."""
  found = dict(state)
  patches, time = found[_PATCHES], found.get(_TIME)
  # A patch is a row of ours, pixel by pixel.
  found[_PATCHES] = patches.transpose(0, 2, 3, 1).reshape(len(patches), -1)
  if time is not None and time.ndim == 2:
    found[_TIME] = np.roll(time, time.shape[1] // 2, axis=1)
  return found


def _source(path: Path) -> Source:
  """('blocks', '3', 'mlp_0', 'kernel') -> 'blocks.3.mlp.fc1.weight'."""
  *layers, leaf = path
  ending = 'bias' if leaf == 'bias' else 'weight'
  if layers[0] != 'blocks':
    return Source(f'{_NAMES[layers[0]]}.{ending}')
  inside = tuple(layers[2:])
  part = 'qkv'.index(inside[-1]) if inside[-1] in ('q', 'k', 'v') else None
  return Source(f'blocks.{layers[1]}.{_BLOCK[inside]}.{ending}', part)
