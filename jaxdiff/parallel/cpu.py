"""What XLA needs on a CPU to be fast: docs/performance.md has the numbers.

memory        XLA asks malloc for a step's buffers, hundreds of MB in one
              piece, and gives them back when the step is done. glibc returns
              so large a piece to the system, which hands it out again page
              by page, 4 KiB each, every one cleared first. `keep_memory` has
              glibc hold on to what it got, in pages of 2 MiB. And compiling
              leaves the heap in tens of thousands of free pieces, which malloc
              looks through at each request of a step; `hold_pieces` has them.
compilation   LLVM's levels of optimisation above the first made no step that
              was timed faster; a wide network's compiled two thirds longer.
              `compile_quickly` has the first.
convolutions  The library that jax 0.10.2 prefers for them keeps all but the
              widest to one thread. `divide_convolutions` has Eigen do them,
              on all threads.
"""

import ctypes
import functools
import importlib.util
import os
import sys
import threading
from importlib.metadata import entry_points
from typing import Any

import jax

# <malloc.h> and <sys/mman.h>
TRIM_THRESHOLD, MMAP_MAX, ARENA_MAX = -1, -4, -8
MADV_HUGEPAGE = 14
HUGE_PAGE = 2**21
PIECE = 2**21

CONVOLUTIONS = '--xla_cpu_experimental_ynn_fusion_type=-individual_convolution'
LEVEL = '--xla_backend_optimization_level=1'


def divide_convolutions() -> None:
  """Adds `CONVOLUTIONS` to XLA_FLAGS with jax 0.10, unless they speak of it.

  Call it before anything is computed: XLA reads them once.
  """
  if jax.__version_info__[:2] == (0, 10):
    _add_flag(CONVOLUTIONS)


def compile_quickly() -> None:
  """Adds `LEVEL` to XLA_FLAGS, unless they speak of it, or an accelerator is in
  sight: there it would mean another compiler.

  Call it before anything is computed.
  """
  if _cpu_alone():
    _add_flag(LEVEL)


def _add_flag(flag: str) -> None:
  flags = os.environ.get('XLA_FLAGS', '')
  if flag.split('=')[0] not in flags:
    os.environ['XLA_FLAGS'] = f'{flags} {flag}'.strip()


@functools.cache  # once
def keep_memory() -> None:
  """From now on memory that is freed stays with the process.

  For half of the machine's memory addresses are reserved, no memory: what is
  resident is what was in use at most. protobuf, which TFDS and TensorBoard use,
  has malloc return all that is free now and then (`malloc_trim`): the pages
  then come again, once, 2 MiB each. Nothing happens but on Linux with glibc and
  with no accelerator in sight, nor where GLIBC_TUNABLES has malloc's settings
  already. Call it before jax starts its threads: those that have a heap of
  their own keep to it.
  """
  tuned = 'glibc.malloc' in os.environ.get('GLIBC_TUNABLES', '')
  if sys.platform != 'linux' or tuned or not _cpu_alone():
    return
  libc = _libc()
  if not hasattr(libc, 'mallopt'):
    return
  # One heap, that only grows; no piece outside it, however large.
  for name, value in ((ARENA_MAX, 1), (MMAP_MAX, 0), (TRIM_THRESHOLD, -1)):
    libc.mallopt(name, value)
  size = os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') // 2
  start = libc.malloc(size)
  if start:  # else the system promises no memory it may not have
    first = -(-start // HUGE_PAGE) * HUGE_PAGE
    whole = (start + size - first) // HUGE_PAGE * HUGE_PAGE
    libc.madvise(first, whole, MADV_HUGEPAGE)  # may be refused: then 4 KiB
    # Something behind it: what is free at the end of the heap malloc_trim takes
    # off, and it would grow again without the advice.
    while (behind := libc.malloc(HUGE_PAGE)) and behind < start:
      pass
    libc.free(start)
    # Where another malloc was put in glibc's place it is not so.
    if behind and behind - start <= size + 64:
      jax.monitoring.register_event_duration_secs_listener(_compiled)


def hold_pieces() -> None:
  """Asks malloc for all free pieces below `PIECE` and keeps them, so that none
  is in the way of what is asked for next. Called again, it starts anew.

  For glibc's malloc and one heap: after `keep_memory` each compilation of more
  than a second ends with it.
  """
  libc = _libc()
  with _holding:
    while _held:
      libc.free(_held.pop())
    # They were in use, so there are not more than is resident: an end to it
    # should another thread ask for much meanwhile.
    with open('/proc/self/statm') as file:
      left = int(file.read().split()[1]) * os.sysconf('SC_PAGE_SIZE')
    # Those below 2 KiB malloc finds by their size.
    for size in (PIECE >> n for n in range(1, 11)):
      # malloc gives of the smallest that is large enough: it comes to this one
      # when no piece is left.
      whole = libc.malloc(PIECE)
      libc.free(whole)
      while whole and left > 0 and (piece := libc.malloc(size)):
        if whole <= piece < whole + PIECE:
          libc.free(piece)
          break
        _held.append(piece)
        left -= size


_held: list[int] = []
_holding = threading.Lock()


def _compiled(event: str, seconds: float, **_: Any) -> None:
  if event.endswith('/backend_compile_duration') and seconds > 1:
    hold_pieces()


def _libc() -> ctypes.CDLL:
  libc = ctypes.CDLL(None)
  libc.malloc.restype = ctypes.c_void_p
  libc.malloc.argtypes = [ctypes.c_size_t]
  libc.free.argtypes = [ctypes.c_void_p]
  libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
  return libc


def _cpu_alone() -> bool:
  """Whether jax will run on the CPU, as far as can be told before it does."""
  if jax.config.jax_platforms:
    return jax.config.jax_platforms == 'cpu'
  return not (
    entry_points(group='jax_plugins') or importlib.util.find_spec('libtpu')
  )
