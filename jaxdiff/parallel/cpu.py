"""What XLA needs on a CPU to be fast: docs/performance.md has the numbers.

memory        XLA asks malloc for a step's buffers, hundreds of MB in one
              piece, and gives them back when the step is done. glibc returns
              so large a piece to the system, which hands it out again page
              by page, 4 KiB each, every one cleared first. `keep_memory` has
              glibc hold on to what it got, in pages of 2 MiB. And compiling
              leaves the heap in tens of thousands of free pieces, which malloc
              looks through at each request of a step; `hold_pieces` has them.
              `one_at_a_time` has one step's buffers asked for, not two's.
compilation   LLVM's levels of optimisation above the first made no step that
              was timed faster; a wide network's compiled two thirds longer.
              `compile_quickly` has the first.
convolutions  The library that XLA prefers for them keeps all but the widest to
              one thread with jax 0.10.2, and with 0.12 takes up to half as
              long again in a large batch. `divide_convolutions` has Eigen do
              them, on all threads.
"""

import ctypes
import functools
import importlib.util
import itertools
import os
import resource
import sys
import threading
import time
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any

import jax

# <malloc.h> and <sys/mman.h>
TRIM_THRESHOLD, MMAP_MAX, ARENA_MAX = -1, -4, -8
MADV_HUGEPAGE = 14
HUGE_PAGE = 2**21
PIECE = 2**21  # bytes: a free chunk below is a piece of something
SHORT = 0.1  # seconds: after a longer step a pause does not show

CONVOLUTIONS = '--xla_cpu_experimental_ynn_fusion_type=-individual_convolution'
LEVEL = '--xla_backend_optimization_level=1'

_held: list[int] = []  # addresses, by `hold_pieces`
_holding = threading.Lock()


def divide_convolutions() -> None:
  """Adds `CONVOLUTIONS` to XLA_FLAGS, unless they speak of it.

  With jax 0.10 to 0.12.0 alone, whose XLA knows it: the flag is experimental,
  and XLA ends a process that has one it does not know.

  Call it before anything is computed: XLA reads them once.
  """
  if (0, 10) <= jax.__version_info__[:3] <= (0, 12, 0):
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

  For half of the machine's memory addresses are reserved, no memory. protobuf,
  which TFDS and TensorBoard use, has malloc return all that is free now and
  then (`malloc_trim`): the pages then come again, once, 2 MiB each.

  Nothing happens but on Linux with glibc's own malloc and with no accelerator
  in sight, nor where GLIBC_TUNABLES or MALLOC_* have malloc's settings already,
  nor where the heap's end has no room. Call it on the main thread, before jax
  starts its threads: those that have a heap of their own keep to it.
  """
  tuned = 'glibc.malloc' in os.environ.get('GLIBC_TUNABLES', '')
  tuned = tuned or any(name.startswith('MALLOC_') for name in os.environ)
  if sys.platform != 'linux' or tuned or not _cpu_alone():
    return
  libc = _libc()
  if not _of_glibc(libc):
    return
  # One heap, that only grows; no piece outside it, however large.
  for name, value in ((ARENA_MAX, 1), (MMAP_MAX, 0), (TRIM_THRESHOLD, -1)):
    libc.mallopt(name, value)
  size = os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') // 2
  start = libc.malloc(size)
  if not start:  # the system promises no memory it may not have
    return
  if not 0 <= libc.sbrk(0) - start - size < HUGE_PAGE:  # not at the heap's end
    libc.free(start)
    return
  first = -(-start // HUGE_PAGE) * HUGE_PAGE
  whole = (start + size - first) // HUGE_PAGE * HUGE_PAGE
  libc.madvise(first, whole, MADV_HUGEPAGE)  # may be refused: then 4 KiB
  # Something behind it: what is free at the end of the heap malloc_trim takes
  # off, and it would grow again without the advice.
  before = []
  while (behind := libc.malloc(HUGE_PAGE)) and behind < start:
    before.append(behind)
  for chunk in (*before, start):
    libc.free(chunk)
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
    # They were in use: no more than has been resident, whatever happens.
    left = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    # Those below 2 KiB malloc finds by their size.
    for size in (PIECE >> n for n in range(1, 11)):
      whole = None
      for count in itertools.count():
        # malloc gives of the smallest that is large enough: it comes to this
        # one when no piece is left. Now and then anew, for another thread may
        # have taken it.
        if count % 100 == 0:
          whole = libc.malloc(PIECE)
          libc.free(whole)
        piece = libc.malloc(size)
        if not whole or not piece or whole <= piece < whole + PIECE or left < 0:
          libc.free(piece)
          break
        _held.append(piece)
        left -= size


def one_at_a_time(step: Callable[..., Any]) -> Callable[..., Any]:
  """(state, ...) -> (state, ...), called when the state it is given is there.

  XLA asks for a step's buffers as soon as it can, so of two steps that are
  under way both have theirs.
  """
  called = 0.0

  def call(state: Any, *args: Any) -> Any:
    nonlocal called
    jax.block_until_ready(state)
    # Its buffers are given back just after: by another thread, which may have
    # to wait for this one's core.
    if time.monotonic() - called > SHORT:
      time.sleep(SHORT / 100)
    called = time.monotonic()
    return step(state, *args)

  return call


def _compiled(event: str, seconds: float, **_: Any) -> None:
  if event.endswith('/backend_compile_duration') and seconds > 1:
    hold_pieces()


def _libc() -> ctypes.PyDLL:
  # PyDLL, which keeps the GIL: a hundred thousand short calls that each gave it
  # up would each wait for it.
  libc = ctypes.PyDLL(None)
  libc.malloc.restype = libc.sbrk.restype = ctypes.c_void_p
  libc.malloc.argtypes = [ctypes.c_size_t]
  libc.sbrk.argtypes = [ctypes.c_ssize_t]
  libc.free.argtypes = [ctypes.c_void_p]
  libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
  return libc


def _of_glibc(libc: ctypes.PyDLL) -> bool:
  """Whether malloc is glibc's: not musl's, nor one that was put before it."""
  try:
    own = ctypes.PyDLL('libc.so.6')
  except OSError:
    return False
  address = lambda function: ctypes.cast(function, ctypes.c_void_p).value
  same = address(libc.malloc) == address(own.malloc)
  return same and hasattr(libc, 'mallopt')


def _cpu_alone() -> bool:
  """Whether jax will run on the CPU, as far as can be told before it does."""
  if jax.config.jax_platforms:
    return jax.config.jax_platforms == 'cpu'
  return not (
    entry_points(group='jax_plugins') or importlib.util.find_spec('libtpu')
  )
