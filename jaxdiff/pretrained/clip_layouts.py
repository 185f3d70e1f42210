"""Layouts of published CLIP weights, renamed to our parameters.

Hugging Face's files name the towers `text_model.` and `vision_model.`. A file
of one tower may leave that out. A Stable Diffusion 1 checkpoint has the text
tower under `cond_stage_model.transformer.`. OpenAI's and open_clip's files have
other names, keep q, k and v in one tensor, and a projection as [in, out].
"""

from collections.abc import Iterable, Mapping

import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict

from jaxdiff.networks.clip import Clip, ClipText, ClipVision
from jaxdiff.pretrained.files import State
from jaxdiff.pretrained.state_dicts import Params, Path, Source, arranged

# Our layer -> theirs, to which '.weight' or '.bias' is added; or the whole path
# of our parameter -> the whole of their name.
_HUGGING_FACE = {
  'text': {
    'token_embedding': 'text_model.embeddings.token_embedding',
    'position_embedding': 'text_model.embeddings.position_embedding.weight',
    'block': 'text_model.encoder.layers',
    'norm_out': 'text_model.final_layer_norm',
    'projection': 'text_projection',
  },
  'vision': {
    'class_embedding': 'vision_model.embeddings.class_embedding',
    'patches': 'vision_model.embeddings.patch_embedding',
    'position_embedding': 'vision_model.embeddings.position_embedding.weight',
    'norm_in': 'vision_model.pre_layrnorm',
    'block': 'vision_model.encoder.layers',
    'norm_out': 'vision_model.post_layernorm',
    'projection': 'visual_projection',
  },
  'in a block': {
    'norm_0': 'layer_norm1',
    'q': 'self_attn.q_proj',
    'k': 'self_attn.k_proj',
    'v': 'self_attn.v_proj',
    'out': 'self_attn.out_proj',
    'norm_1': 'layer_norm2',
    'mlp_0': 'mlp.fc1',
    'mlp_1': 'mlp.fc2',
  },
}
_OPEN_CLIP = {
  'text': {
    'token_embedding': 'token_embedding',
    'position_embedding': 'positional_embedding',
    'block': 'transformer.resblocks',
    'norm_out': 'ln_final',
    'projection/kernel': 'text_projection',
  },
  'vision': {
    'class_embedding': 'visual.class_embedding',
    'patches': 'visual.conv1',
    'position_embedding': 'visual.positional_embedding',
    'norm_in': 'visual.ln_pre',
    'block': 'visual.transformer.resblocks',
    'norm_out': 'visual.ln_post',
    'projection/kernel': 'visual.proj',
  },
  'in a block': {
    'norm_0': 'ln_1',
    **{f'{name}/kernel': 'attn.in_proj_weight' for name in 'qkv'},
    **{f'{name}/bias': 'attn.in_proj_bias' for name in 'qkv'},
    'out': 'attn.out_proj',
    'norm_1': 'ln_2',
    'mlp_0': 'mlp.c_fc',
    'mlp_1': 'mlp.c_proj',
  },
}
_STABLE_DIFFUSION = 'cond_stage_model.transformer.'
# First parts of the names that stand beside a tower in a file of both.
_BESIDE = {
  'text': ('vision_model.', 'visual', 'logit_scale'),
  'vision': (
    'text_',
    'logit_scale',
    'transformer.',
    'token_embedding.',
    'positional_embedding',
    'ln_final.',
  ),
}


def clip_params(state: State, network: Clip) -> Params:
  """Renames the tensors of both towers: {'text', 'vision', 'logit_scale'}.

  Raises:
    ValueError: Tensors are missing, left over or of another shape.
  """
  shapes = {
    'text': _text_shapes(network.text),
    'vision': _vision_shapes(network.vision),
    'logit_scale': jax.ShapeDtypeStruct((), jnp.float32),
  }
  sources = {('logit_scale',): Source('logit_scale')}
  for tower in ('text', 'vision'):
    paths = flatten_dict(shapes[tower])
    for path, source in _sources(state, paths, tower).items():
      sources[(tower, *path)] = source
  return arranged(state, sources, shapes, _position_ids(state))


def clip_text_params(state: State, network: ClipText) -> Params:
  """Renames the tensors of the text tower.

  Tensors of the image tower and of Stable Diffusion's other networks are
  skipped, and so is a projection if `network` has none.

  Raises:
    ValueError: As in `clip_params`.
  """
  return _tower_params(state, _text_shapes(network), 'text')


def clip_vision_params(state: State, network: ClipVision) -> Params:
  """Renames the tensors of the image tower, as `clip_text_params`."""
  return _tower_params(state, _vision_shapes(network), 'vision')


def _text_shapes(network: ClipText) -> Params:
  tokens = jax.ShapeDtypeStruct((1, 1), jnp.int32)
  return jax.eval_shape(network.init, jax.random.key(0), tokens)['params']


def _vision_shapes(network: ClipVision) -> Params:
  size = network.image_size
  images = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
  return jax.eval_shape(network.init, jax.random.key(0), images)['params']


def _tower_params(state: State, shapes: Params, tower: str) -> Params:
  sources = _sources(state, flatten_dict(shapes), tower)
  beside = _BESIDE[tower]
  if 'projection' not in shapes:
    beside += ('text_projection', 'visual_projection', 'visual.proj')
  checkpoint = _in_checkpoint(state)
  others = {
    name
    for name in state
    if name.startswith(beside)
    or (checkpoint and not name.startswith(_STABLE_DIFFUSION))
  }
  return arranged(state, sources, shapes, others | _position_ids(state))


def _position_ids(names: Iterable[str]) -> set[str]:
  """The tensors 0, 1, 2, .. of Hugging Face's older files."""
  return {name for name in names if name.endswith('position_ids')}


def _in_checkpoint(names: Iterable[str]) -> bool:
  return any(name.startswith(_STABLE_DIFFUSION) for name in names)


def _sources(
  names: Iterable[str], paths: Iterable[Path], tower: str
) -> dict[Path, Source]:
  """The place of each parameter of a tower, in the layout of `names`."""
  if any('resblocks.' in name for name in names):
    return {path: _open_clip(path, tower) for path in paths}
  prefix = _STABLE_DIFFUSION if _in_checkpoint(names) else ''
  bare = not any(
    name.startswith((f'{prefix}text_model.', f'{prefix}vision_model.'))
    for name in names
  )
  outer = {'text': 'text_model.', 'vision': 'vision_model.'}[tower]
  sources = {}
  for path in paths:
    name = _name(_HUGGING_FACE, path, tower)
    sources[path] = Source(
      prefix + (name.removeprefix(outer) if bare else name)
    )
  return sources


def _open_clip(path: Path, tower: str) -> Source:
  layer = path[-2] if len(path) > 1 else ''
  return Source(
    _name(_OPEN_CLIP, path, tower),
    part='qkv'.index(layer) if layer in ('q', 'k', 'v') else None,
    stored_as_ours=layer == 'projection',
  )


def _name(layout: Mapping, path: Path, tower: str) -> str:
  """('block_3', 'mlp_0', 'kernel') -> '(blocks).3.(mlp_0).weight'."""
  if path[0].startswith('block_'):
    number = path[0].removeprefix('block_')
    inner = _leaf(layout['in a block'], path[1:])
    return f'{layout[tower]["block"]}.{number}.{inner}'
  return _leaf(layout[tower], path)


def _leaf(table: Mapping[str, str], path: Path) -> str:
  whole = '/'.join(path)
  if whole in table:
    return table[whole]
  return f'{table[path[0]]}.{"bias" if path[-1] == "bias" else "weight"}'
