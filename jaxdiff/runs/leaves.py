"""A state as a flat dictionary of named arrays, and back.

The leaf `state.params['dense']['kernel']` is named `params/dense/kernel`. A
typed PRNG key becomes its key data, and the name of its algorithm goes into a
note beside the arrays.
"""

import functools
from collections import Counter
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array


def named_leaves(tree: Any) -> dict[str, Any]:
  """Name -> leaf, in the order of `jax.tree.leaves`.

  Raises:
    TypeError: if a leaf is not an array, or the shape and dtype of one.
    ValueError: if two leaves have the same name.
  """
  leaves, structure = jax.tree.flatten(tree)
  named = dict(zip(_names(structure), leaves, strict=True))
  for name, leaf in named.items():
    if not hasattr(leaf, 'dtype') or not hasattr(leaf, 'shape'):
      raise TypeError(f'{name} must be an array, got {leaf!r}')
  return named


@functools.lru_cache(maxsize=8)  # a run saves one structure again and again
def _names(structure: Any) -> tuple[str, ...]:
  """The name of each leaf of a structure."""
  places = range(structure.num_leaves)
  paths = jax.tree.leaves_with_path(jax.tree.unflatten(structure, places))
  keystr = functools.partial(jax.tree_util.keystr, simple=True, separator='/')
  names = tuple(keystr(path) for path, _ in paths)
  twice = {name for name, n in Counter(names).items() if n > 1}
  if twice:
    raise ValueError(f'two leaves are named {min(twice)}; rename one')
  return names


def to_arrays(state: Any) -> dict[str, Array]:
  """The arrays to be stored: name -> array.

  Raises:
    TypeError, ValueError: as `named_leaves`.
  """
  return {
    name: jax.random.key_data(leaf) if _is_key(leaf) else leaf
    for name, leaf in named_leaves(state).items()
  }


def note_of(state: Any) -> dict[str, Any]:
  """A note for JSON that says what the arrays were; buffers are not read."""
  leaves = named_leaves(state)
  return {
    'leaves': {name: _describe(leaf) for name, leaf in leaves.items()},
    'keys': {
      name: str(jax.random.key_impl(leaf))
      for name, leaf in leaves.items()
      if _is_key(leaf)
    },
  }


def from_arrays(
  arrays: Mapping[str, Any], note: Mapping[str, Any], like: Any
) -> Any:
  """The inverse of `to_arrays` and `note_of`, a tree as `like` is."""
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
    note: from `note_of`.
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


def _is_key(leaf: Any) -> bool:
  # Of numpy's dtypes none is a key, and this asks faster than `issubdtype`.
  return not isinstance(leaf.dtype, np.dtype) and jax.dtypes.issubdtype(
    leaf.dtype, jax.dtypes.prng_key
  )


def _describe(leaf: Any) -> str:
  """`float32[3,64]` or `key<fry>[]`."""
  return f'{leaf.dtype}[{",".join(str(n) for n in leaf.shape)}]'
