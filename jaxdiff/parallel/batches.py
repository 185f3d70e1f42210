"""A compiled step over batches of any size, on all devices, with no row lost.

Each process works on its own range of the examples (`local_range`) with its own
devices, without waiting for the others; `join` puts their rows together.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import jax
import numpy as np
from jax import Array
from jax.experimental import multihost_utils
from jax.sharding import Mesh

from jaxdiff.parallel.hosts import process
from jaxdiff.parallel.mesh import local_mesh, replicated
from jaxdiff.parallel.steps import compile_step

Rows = dict[str, np.ndarray]  # {name: [N, ...]}


def over_batches(
  step: Callable[..., Mapping[str, Array]],
  params: Any,
  *,
  mesh: Mesh | None = None,
  mode: str = 'jit',
) -> Callable[[Iterable[Any]], Iterator[Rows]]:
  """Builds batches -> the results of a step, a part for each batch, in order.

  The next batch is read while the devices work on the one before. A small batch
  is padded with copies of its last row, so all batches share a compilation.

  Args:
    step: (params, batch, axis_name=None) -> {name: [B, ...]}; the batches are
      trees of arrays [b, ...] with any b.
    params: Of the network. As constants they would be in memory twice.
    mesh: This process's devices by default.
    mode: 'jit' or 'pmap'.
  """
  mesh = mesh or local_mesh()
  compiled = compile_step(step, mesh, mode=mode, in_axes=(None, 0), out_axes=0)
  params = jax.device_put(params, replicated(mesh))
  size = mesh.size

  def run(batches: Iterable[Any]) -> Iterator[Rows]:
    nonlocal size
    waiting: list[tuple[Any, int]] = []
    for batch in batches:
      num = len(jax.tree.leaves(batch)[0])
      if not num:
        continue
      size = max(size, -(-num // mesh.size) * mesh.size)
      pad = lambda x, extra=size - num: np.pad(
        x, [(0, extra)] + [(0, 0)] * (x.ndim - 1), mode='edge'
      )
      waiting.append((compiled(params, jax.tree.map(pad, batch)), num))
      if len(waiting) > 1:
        yield _fetch(*waiting.pop(0))
    if waiting:
      yield _fetch(*waiting.pop(0))

  return run


def _fetch(result: Mapping[str, Array], num: int) -> Rows:
  return {name: np.asarray(x)[:num] for name, x in result.items()}


def local_range(num: int) -> tuple[int, int]:
  """Returns (start, stop) of this process's examples among 0 .. num - 1.

  Raises:
    ValueError: Fewer examples than processes.
  """
  index, count = process()
  if num < count:
    raise ValueError(f'{num} examples cannot be divided by {count} processes')
  return num * index // count, num * (index + 1) // count


def join(x: np.ndarray) -> np.ndarray:
  """Concatenates the rows [n, ...] of all processes; all of them must call."""
  if process()[1] == 1:
    return x
  gather = multihost_utils.process_allgather
  nums = gather(np.int32(len(x)))
  # As bytes: jax would round float64 to float32 on the way.
  raw = np.ascontiguousarray(x).reshape(len(x), -1).view(np.uint8)
  raw = np.pad(raw, [(0, max(nums) - len(x)), (0, 0)])
  parts = zip(np.asarray(gather(raw)), nums, strict=True)
  rows = np.ascontiguousarray(np.concatenate([p[:n] for p, n in parts]))
  return rows.view(x.dtype).reshape(-1, *x.shape[1:])
