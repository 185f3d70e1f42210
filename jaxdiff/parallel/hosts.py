"""The processes of a job: their start and end, and what all of them must do."""

import contextlib
import functools
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding

from jaxdiff.parallel import cpu
from jaxdiff.parallel.mesh import replicated

_peers: Any = None  # of this process, in a job of several


def start(
  coordinator: str | None = None,
  num_processes: int | None = None,
  process_id: int | None = None,
  timeout: float = 300,
  *,
  stops: bool = False,
) -> None:
  """Joins the other processes of the job and turns the compile cache on.

  Compiled programs are kept in `JAX_COMPILATION_CACHE_DIR`, by default
  `~/.cache/jaxdiff/xla`; a second start is faster for it. What a CPU needs to
  be fast is settled too (`cpu`), so call this before anything else of jax.

  Args:
    coordinator: None for one process; 'auto' under Slurm, with TPUs on GKE, and
      where jax finds the others by itself (TPU VMs, Open MPI, ...); else
      host:port of process 0.
    num_processes: with host:port, how many there are.
    process_id: with host:port, which one this is.
    timeout: seconds to wait for a process that is not there or falls silent.
    stops: whether SIGTERM waits for `stopping` in a job of several processes.

  Raises:
    OSError: a process is missing, the message names it; or 'auto' finds none.
  """
  global _peers
  cpu.divide_convolutions()
  cpu.compile_quickly()
  _keep_compiled()
  if coordinator:
    from jaxdiff.parallel import launchers, peers

    jax.config.update('jax_enable_preemption_service', stops)
  later = 2 * int(timeout) + 60  # than `Peers`, who have more to say
  if coordinator == 'auto' and (found := launchers.place(os.environ)):
    coordinator, num_processes, process_id = found
  if coordinator == 'auto':
    line = (
      f'of the processes that coordinator auto has found, not all came within '
      f'{timeout:g} s: start all, or give a larger --parallel.timeout'
    )
    # Before jax, which would end the process with a trace of its own.
    late = threading.Timer(timeout, peers.end, (f'\n{line}', 1))
    late.daemon = True
    late.start()
    try:
      jax.distributed.initialize(
        initialization_timeout=later, heartbeat_timeout_seconds=later
      )
    except (ValueError, RuntimeError) as error:
      raise OSError(
        'coordinator auto finds no other processes, as it does on TPU pods, '
        'under Slurm, Open MPI and Kubernetes: give host:port of process 0 '
        f'({" ".join(str(error).split())})'
      ) from error
    finally:
      late.cancel()
    _peers = _found_peers(timeout)
  elif coordinator:
    _peers = peers.Peers(coordinator, num_processes, process_id, timeout)
    jax.distributed.initialize(
      coordinator, num_processes, process_id, heartbeat_timeout_seconds=later
    )


def _keep_compiled() -> None:
  if jax.config.jax_compilation_cache_dir:
    return
  with contextlib.suppress(RuntimeError):  # HOME is not set: nowhere to keep it
    cache = Path.home() / '.cache' / 'jaxdiff' / 'xla'
    jax.config.update('jax_compilation_cache_dir', str(cache))


def _found_peers(timeout: float) -> Any:
  """Connects the processes that jax has found, at a free port of process 0.

  Returns None for one process, and where no port is open between them: then jax
  alone notices a lost one.
  """
  from jaxdiff.parallel import peers

  index, num = process()
  if num == 1:
    return None
  address = gather_texts(peers.free_address() if index == 0 else '')[0]
  try:
    return peers.Peers(address, num, index, timeout, min(timeout, 30))
  except OSError as error:
    print(f'no watch over lost processes: {error}', file=sys.stderr)
    return None


def advise(advice: Callable[[], str]) -> None:
  """Sets what a process says last when another one is lost."""
  if _peers:
    _peers.advice = advice


def leave() -> None:
  """Waits until all processes of the job are done."""
  if _peers:
    _peers.leave()


def fail(line: str, code: int = 1) -> NoReturn:
  """Ends this process with a last line, and the job with it."""
  if _peers:
    _peers.fail(line, code)
  if code == 1:
    sys.exit(line)
  print(line, file=sys.stderr)
  sys.exit(code)


def is_primary() -> bool:
  """Tells whether this is process 0, which writes and prints."""
  return jax.process_index() == 0


def process() -> tuple[int, int]:
  """Returns the index of this process and the number of processes."""
  return jax.process_index(), jax.process_count()


def alone() -> bool:
  """Tells whether this is the only process of its job."""
  return jax.process_count() == 1


def any_process(flag: bool) -> bool:
  """Tells whether the flag is up on any process. All of them must ask."""
  if alone():
    return flag
  return bool(multihost_utils.process_allgather(np.asarray(flag)).any())


def stopping(step: int, signalled: bool) -> bool:
  """Tells whether to stop after a step: all processes say yes at the same one.

  In a job of several SIGTERM is caught by jax, which chooses the step; all must
  ask after every step.
  """
  if alone():
    return signalled
  return multihost_utils.reached_preemption_sync_point(step)


def from_first(number: int) -> int:
  """Returns the number that process 0 has. All of them must ask."""
  if alone():
    return number
  return int(multihost_utils.broadcast_one_to_all(np.int64(number)))


def gather_texts(text: str) -> list[str]:
  """Returns the text of each process. All of them must ask."""
  if alone():
    return [text]
  gather, raw = multihost_utils.process_allgather, text.encode()
  sizes = gather(np.int32(len(raw))).reshape(-1)
  padded = np.frombuffer(raw.ljust(max(sizes), b'\0'), np.uint8)
  rows = zip(np.asarray(gather(padded)), sizes, strict=True)
  return [bytes(row[:n]).decode() for row, n in rows]


def joined(tree: Any, sharding: Any) -> Any:
  """A state under pmap, where each process has its own, as one that all share.

  Nothing is copied. With one process, or under jit, it is that already.
  """
  if alone():
    return tree

  def join(x: Any, where: NamedSharding) -> Any:
    if x.sharding == where:
      return x
    parts = [shard.data for shard in x.addressable_shards]
    return jax.make_array_from_single_device_arrays(x.shape, where, parts)

  return jax.tree.map(join, tree, sharding)


def host_copy(arrays: dict[str, Any]) -> dict[str, Any]:
  """Copies arrays to the host; of each, a process copies what it holds.

  No buffer is shared, so that the next step may be given those of `arrays`.
  """
  if alone():
    for x in arrays.values():
      if isinstance(x, jax.Array):
        x.copy_to_host_async()
    return {name: np.array(x) for name, x in arrays.items()}
  copy = _copier(tuple(x.sharding for x in arrays.values()))
  copied = jax.block_until_ready(copy(list(arrays.values())))
  return dict(zip(arrays, copied, strict=True))


@functools.lru_cache(maxsize=4)  # a run copies the same arrays again and again
def _copier(shardings: tuple[Any, ...]) -> Callable[[list[Any]], list[Any]]:
  # One program: `device_put` takes 0.2 ms of Python for each array.
  where = [s.with_memory_kind('pinned_host') for s in shardings]
  return jax.jit(_same, out_shardings=where)


def _same(x: Any) -> Any:
  return x


def gather(tree: Any, mesh: Mesh) -> Any:
  """A whole copy of each array on this process's first device.

  All processes must ask. What is already replicated is not moved.
  """
  if not all(x.is_fully_replicated for x in jax.tree.leaves(tree)):
    tree = jax.jit(lambda x: x, out_shardings=replicated(mesh))(tree)
  return jax.tree.map(lambda x: x.addressable_data(0), tree)
