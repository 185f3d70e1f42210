"""Sharding rules: which dimension of each array of a state is divided, as data.

  attention/.*kernel=0     dimension 0 of all arrays whose names have this
  norm=none                not divided

The first rule whose pattern is found in the name of an array decides. A name is
`params/conv_in/kernel`; the optimizer's moments and the averages have that of
their parameter at the end, so a rule for one is a rule for all. An array that
no rule names is divided along the largest dimension that fits.
"""

import re
from collections.abc import Sequence
from typing import Any

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxdiff.parallel.mesh import replicated


def state_sharding(
  state: Any, mesh: Mesh, min_size: int = 2**16, rules: Sequence[str] = ()
) -> Any:
  """Says where each array of a training state lies.

  Args:
    state: a tree of arrays or of their shapes (`jax.eval_shape`).
    mesh: from `make_mesh`; arrays are divided over its axis fsdp.
    min_size: elements below which an array that no rule names is not divided.
    rules: PATTERN=DIMENSION or PATTERN=none, the first that fits decides.

  Returns:
    A tree of NamedSharding.

  Raises:
    ValueError: a rule names no array, or a dimension that cannot be divided.
  """
  fsdp = mesh.shape['fsdp']
  parsed = [rule.rsplit('=', 1) for rule in rules]
  used = set()

  def place(path: Any, x: Any) -> NamedSharding:
    name = jax.tree_util.keystr(path, simple=True, separator='/')
    for rule, (pattern, dim) in zip(rules, parsed, strict=True):
      if re.search(pattern, name):
        used.add(rule)
        if dim == 'none':
          return replicated(mesh)
        if int(dim) >= len(x.shape) or x.shape[int(dim)] % fsdp:
          raise ValueError(
            f'--parallel.rules {rule} cannot divide {name} '
            f'{list(x.shape)} over {fsdp} devices'
          )
        return _along(mesh, int(dim))
    fitting = [n for n in x.shape if n % fsdp == 0]
    if fsdp == 1 or x.size < min_size or not fitting:
      return replicated(mesh)
    return _along(mesh, x.shape.index(max(fitting)))

  placed = jax.tree_util.tree_map_with_path(place, state)
  if unused := [rule for rule in rules if rule not in used]:
    raise ValueError(f'--parallel.rules {unused[0]} is the first for no array')
  return placed


def _along(mesh: Mesh, dim: int) -> NamedSharding:
  if mesh.shape['fsdp'] == 1:
    return replicated(mesh)
  return NamedSharding(mesh, PartitionSpec(*[None] * dim, 'fsdp'))
