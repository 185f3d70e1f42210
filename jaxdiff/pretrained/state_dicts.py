"""A state dict into a tree of our parameters, each tensor accounted for.

torch keeps kernels output first: a convolution is [out, in, H, W] where ours is
[H, W, in, out], a matrix [out, in] where ours is [in, out].
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

Path = tuple[str, ...]


class Source(NamedTuple):
  """Where a parameter comes from.

  Attributes:
    key: name in the state dict.
    part: of three equal ones along the first axis (q, k and v in one); None
      for the whole.
    stored_as_ours: the tensor has our order of axes already.
  """

  key: str
  part: int | None = None
  stored_as_ours: bool = False


def arranged(
  state: Mapping[str, np.ndarray],
  sources: Mapping[Path, Source],
  shapes: Any,
  ignored: Iterable[str] = (),
) -> Any:
  """Fills the tree of `shapes` from `state`.

  Args:
    state: name to array.
    sources: path in the tree to where its values are, for every leaf.
    shapes: the tree, of anything with a shape: `jax.eval_shape(net.init, ..)`.
    ignored: names that may be in `state` and are of no use.

  Returns:
    The tree of float32 arrays, on jax's default device.

  Raises:
    ValueError: tensors missing, left over, of another shape, or not of
      floating point. The first twenty of each kind are named.
  """
  shapes = {path: leaf.shape for path, leaf in flatten_dict(shapes).items()}
  used = {source.key for source in sources.values()}
  missing = sorted(used - set(state))
  unexpected = sorted(set(state) - used - set(ignored))
  wrong = sorted(
    {
      f'{source.key} {state[source.key].shape} {state[source.key].dtype} '
      f'(expected {_their_shape(path, shapes[path], source)})'
      for path, source in sources.items()
      if source.key in state
      and not (
        state[source.key].shape == _their_shape(path, shapes[path], source)
        and jnp.issubdtype(state[source.key].dtype, jnp.floating)
      )
    }
  )
  faults = {'missing': missing, 'unexpected': unexpected, 'wrong': wrong}
  if any(faults.values()):
    lists = [f'{kind}: {_some(v)}' for kind, v in faults.items() if v]
    raise ValueError(
      'these are not the weights of this network; ' + '; '.join(lists)
    )
  return unflatten_dict(
    {path: _ours(path, state[s.key], s) for path, s in sources.items()}
  )


def _some(names: list[str], most: int = 20) -> str:
  more = f' and {len(names) - most} more' if len(names) > most else ''
  return ', '.join(names[:most]) + more


def _axes(path: Path, ndim: int, source: Source) -> tuple[int, ...]:
  """The order in which our axes stand in theirs."""
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
