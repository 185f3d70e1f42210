"""A state as a flat dictionary of named arrays, and back.

The leaf `state.params['dense']['kernel']` is named `params/dense/kernel`. A
typed PRNG key becomes its key data, and the name of its algorithm goes into a
note beside the arrays.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array


def named_leaves(tree: Any) -> dict[str, Any]:
  """Name -> leaf, in the order of `jax.tree.leaves`.

  Raises:
    TypeError: if a leaf is not an array, or the shape and dtype of one.
    ValueError: if two leaves have the same name.
  """
  named = {}
  for path, leaf in jax.tree.leaves_with_path(tree):
    name = jax.tree_util.keystr(path, simple=True, separator='/')
    if not hasattr(leaf, 'dtype') or not hasattr(leaf, 'shape'):
      raise TypeError(f'{name} must be an array, got {leaf!r}')
    if name in named:
      raise ValueError(f'two leaves are named {name}; rename one')
    named[name] = leaf
  return named


def to_arrays(state: Any) -> tuple[dict[str, Array], dict[str, Any]]:
  """The arrays to be stored, and a note for JSON that says what they were."""
  leaves = named_leaves(state)
  keys = {
    name: leaf
    for name, leaf in leaves.items()
    if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)
  }
  note = {
    'leaves': {name: _describe(leaf) for name, leaf in leaves.items()},
    'keys': {n: str(jax.random.key_impl(key)) for n, key in keys.items()},
  }
  data = {name: jax.random.key_data(key) for name, key in keys.items()}
  return leaves | data, note


def from_arrays(
  arrays: Mapping[str, Any], note: Mapping[str, Any], like: Any
) -> Any:
  """The inverse of `to_arrays`, as a tree of the structure of `like`."""
  leaves = {name: jnp.asarray(array) for name, array in arrays.items()}
  for name, impl in note['keys'].items():
    if name not in leaves:
      continue
    leaves[name] = jax.random.wrap_key_data(leaves[name], impl=impl)
  return jax.tree.unflatten(
    jax.tree.structure(like), [leaves[name] for name in named_leaves(like)]
  )


def differences(
  note: Mapping[str, Any], like: Any, partial: bool = False
) -> list[str]:
  """Lists how the leaves in `note` differ from those of `like`.

  Args:
    note: from `to_arrays`.
    like: a tree of arrays, or of their shapes.
    partial: leaves that `like` has not are no difference.
  """
  saved = note['leaves']
  wanted = {name: _describe(x) for name, x in named_leaves(like).items()}
  return [
    f'{name}: checkpoint has {saved.get(name, "no such leaf")}, expected'
    f' {wanted.get(name, "no such leaf")}'
    for name in (wanted if partial else wanted | saved)
    if saved.get(name) != wanted.get(name)
  ]


def _describe(leaf: Any) -> str:
  """`float32[3,64]` or `key<fry>[]`."""
  return f'{leaf.dtype}[{",".join(str(n) for n in leaf.shape)}]'
