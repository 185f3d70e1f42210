"""The processes of a job: how one starts, and what all of them must do."""

from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding

from jaxdiff.parallel import cpu
from jaxdiff.parallel.mesh import replicated


def start(
  coordinator: str | None = None,
  num_processes: int | None = None,
  process_id: int | None = None,
) -> None:
  """Joins the other processes of the job and turns the compile cache on.

  Compiled programs are kept in `JAX_COMPILATION_CACHE_DIR`, by default
  `~/.cache/jaxdiff/xla`; a second start is faster for it. What a CPU needs to
  be fast is settled too (`cpu`), so call this before anything else of jax.

  Args:
    coordinator: None for one process; 'auto' where jax finds the others by
      itself (TPU pods, SLURM, ...); else host:port of process 0.
    num_processes: with host:port, how many there are.
    process_id: with host:port, which one this is.
  """
  cpu.divide_convolutions()
  cpu.compile_quickly()
  if coordinator == 'auto':
    jax.distributed.initialize()
  elif coordinator:
    jax.distributed.initialize(coordinator, num_processes, process_id)
  if not jax.config.jax_compilation_cache_dir:
    cache = Path.home() / '.cache' / 'jaxdiff' / 'xla'
    jax.config.update('jax_compilation_cache_dir', str(cache))


def is_primary() -> bool:
  """Tells whether this is process 0, which writes and prints."""
  return jax.process_index() == 0


def process() -> tuple[int, int]:
  """Returns the index of this process and the number of processes."""
  return jax.process_index(), jax.process_count()


def any_process(flag: bool) -> bool:
  """Whether the flag is up on any process. All of them must ask."""
  if jax.process_count() == 1:
    return flag
  return bool(multihost_utils.process_allgather(np.asarray(flag)).any())


def joined(tree: Any, sharding: Any) -> Any:
  """A state under pmap, where each process has its own, as one that all share.

  Nothing is copied. With one process, or under jit, it is that already.
  """
  if jax.process_count() == 1:
    return tree

  def join(x: Any, where: NamedSharding) -> Any:
    if x.sharding == where:
      return x
    parts = [shard.data for shard in x.addressable_shards]
    return jax.make_array_from_single_device_arrays(x.shape, where, parts)

  return jax.tree.map(join, tree, sharding)


def gather(tree: Any, mesh: Mesh) -> Any:
  """A whole copy of each array on this process's first device.

  All processes must ask. What is already replicated is not moved.
  """
  if not all(x.is_fully_replicated for x in jax.tree.leaves(tree)):
    tree = jax.jit(lambda x: x, out_shardings=replicated(mesh))(tree)
  return jax.tree.map(lambda x: x.addressable_data(0), tree)
