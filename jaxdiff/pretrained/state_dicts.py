"""State dicts of torch, renamed to trees of our parameters.

torch keeps kernels output first: a convolution is [out, in, H, W] where ours is
[H, W, in, out], a matrix [out, in] where ours is [in, out].
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

Params = Mapping[str, Any]  # a tree of arrays
Path = tuple[str, ...]  # to a leaf of it


class Source(NamedTuple):
  """The place of a parameter in a state dict."""

  key: str
  part: int | None = None  # of three along the first axis: q, k, v in one
  stored_as_ours: bool = False  # in our order of axes


def arranged(
  state: Mapping[str, np.ndarray],
  sources: Mapping[Path, Source],
  shapes: Params,
  ignored: Iterable[str] = (),
) -> Params:
  """Fills a tree of float32 parameters from a state dict.

  Args:
    state: Name to array.
    sources: Path in the tree to the place of its values, for every leaf.
    shapes: The tree, of anything with a shape: `jax.eval_shape(net.init, ..)`.
    ignored: Names that may be in `state` and are not used.

  Raises:
    ValueError: Tensors are missing, left over, of another shape, or not of
      floating point. The first twenty of each kind are named.
  """
  expected = {
    path: _their_shape(path, leaf.shape, sources[path])
    for path, leaf in flatten_dict(shapes).items()
  }
  used = {source.key for source in sources.values()}
  wrong = {
    f'{source.key} {state[source.key].shape} {state[source.key].dtype} '
    f'(expected {expected[path]})'
    for path, source in sources.items()
    if source.key in state and not _fits(state[source.key], expected[path])
  }
  faults = {
    'missing': used - set(state),
    'unexpected': set(state) - used - set(ignored),
    'wrong': wrong,
  }
  if any(faults.values()):
    lists = [
      f'{kind}: {some(names)}' for kind, names in faults.items() if names
    ]
    raise ValueError(
      'these are not the weights of this network; ' + '; '.join(lists)
    )
  return unflatten_dict(
    {path: _ours(path, state[s.key], s) for path, s in sources.items()}
  )


def without_pointwise(
  state: Mapping[str, np.ndarray],
  sources: Mapping[Path, Source],
  shapes: Params,
) -> dict[str, np.ndarray]:
  """Makes matrices of the 1x1 convolutions that are dense layers of ours."""
  leaves = flatten_dict(shapes)
  dense = {s.key for path, s in sources.items() if leaves[path].ndim == 2}

  def squeezed(name: str, x: np.ndarray) -> np.ndarray:
    pointwise = name in dense and x.ndim == 4 and x.shape[2:] == (1, 1)
    return x[:, :, 0, 0] if pointwise else x

  return {name: squeezed(name, x) for name, x in state.items()}


def exported(
  params: Params, sources: Mapping[Path, Source]
) -> dict[str, np.ndarray]:
  """Renames a tree of parameters to a state dict: the inverse of `arranged`.

  Args:
    params: The tree.
    sources: Path in it to the place in the state dict, of whole tensors.
  """
  state = {}
  for path, leaf in flatten_dict(params).items():
    axes = np.argsort(_axes(path, leaf.ndim, sources[path]))
    theirs = np.asarray(leaf).transpose(axes)
    state[sources[path].key] = np.ascontiguousarray(theirs)
  return state


def some(names: set[str], most: int = 20) -> str:
  more = f' and {len(names) - most} more' if len(names) > most else ''
  # Escaped, without the quotes: names of a file may hold any character.
  return (
    ', '.join(repr(name)[1:-1][:200] for name in sorted(names)[:most]) + more
  )


def _fits(tensor: np.ndarray, shape: tuple[int, ...]) -> bool:
  floating = jnp.issubdtype(tensor.dtype, jnp.floating)
  return tensor.shape == shape and floating


def _axes(path: Path, ndim: int, source: Source) -> tuple[int, ...]:
  """Returns the order in which our axes stand in theirs."""
  if path[-1] == 'kernel' and not source.stored_as_ours:
    return {2: (1, 0), 4: (2, 3, 1, 0)}[ndim]
  return tuple(range(ndim))


def _their_shape(
  path: Path, shape: tuple[int, ...], source: Source
) -> tuple[int, ...]:
  axes = _axes(path, len(shape), source)
  theirs = [shape[axes.index(i)] for i in range(len(shape))]
  if source.part is not None:
    theirs[0] *= 3
  return tuple(theirs)


def _ours(path: Path, theirs: np.ndarray, source: Source) -> jax.Array:
  if source.part is not None:
    theirs = np.split(theirs, 3)[source.part]
  ours = theirs.transpose(_axes(path, theirs.ndim, source))
  return jnp.asarray(np.asarray(ours, np.float32))
