"""Settings of glibc's malloc for XLA on a CPU, by starting a program again.

XLA asks malloc for a step's buffers, hundreds of MB in one piece, and frees
them after the step. By default glibc returns such a piece to the system, which
hands it out again in pages of 4 KiB, each cleared first. With `TUNABLES` glibc
keeps what it has, in one heap of pages of 2 MiB. It reads them only when a
process starts.

Nothing here imports jax: a program calls `relaunch` before it does.
"""

import importlib.util
import os
import resource
import sys
from importlib.metadata import entry_points

VARIABLE = 'GLIBC_TUNABLES'
TUNABLES = (
  'glibc.malloc.arena_max=1'  # one heap,
  ':glibc.malloc.mmap_max=0'  # nothing outside it, however large,
  ':glibc.malloc.trim_threshold=107374182400'  # nothing returned,
  ':glibc.malloc.hugetlb=1'  # in transparent huge pages
)


def relaunch() -> None:
  """Starts this program again with `TUNABLES`, where that makes it faster.

  That is on Linux with glibc 2.35 or later and no accelerator. The process
  keeps its id, arguments and environment. Nothing happens if GLIBC_TUNABLES
  (also empty) or a MALLOC_* variable is set, or under a limit on addresses or
  data (`ulimit -v`, `-d`): a heap that returns nothing may need more of them.

  Call it first in a program, under `if __name__ == '__main__'`.
  """
  if not _helps() or not _can_start_again():
    return
  print(
    f'malloc: starts again with {VARIABLE} for faster steps on a CPU '
    f'({VARIABLE}= switches it off)',
    file=sys.stderr,
    flush=True,
  )
  env = {**os.environ, VARIABLE: TUNABLES}
  os.execve(sys.executable, sys.orig_argv, env)


def cpu_alone(platforms: str | None) -> bool:
  """Tells whether jax will run on the CPU, before it is imported.

  Args:
    platforms: JAX_PLATFORMS, or jax's setting of that name.
  """
  if platforms:
    return platforms == 'cpu'
  return not (
    entry_points(group='jax_plugins') or importlib.util.find_spec('libtpu')
  )


def _helps() -> bool:
  libc, _, version = (_libc() or '').partition(' ')
  limits = resource.RLIMIT_AS, resource.RLIMIT_DATA
  return (
    libc == 'glibc'
    and tuple(map(int, version.split('.'))) >= (2, 35)  # the first with hugetlb
    and VARIABLE not in os.environ
    and not any(name.startswith('MALLOC_') for name in os.environ)
    and all(resource.getrlimit(n)[0] == resource.RLIM_INFINITY for n in limits)
    and cpu_alone(os.environ.get('JAX_PLATFORMS'))
    and not {'-h', '--help'} & set(sys.argv)
  )


def _libc() -> str | None:
  """Such as 'glibc 2.36'; None where the system has no such name."""
  known = 'CS_GNU_LIBC_VERSION' in getattr(os, 'confstr_names', {})
  return os.confstr('CS_GNU_LIBC_VERSION') if known else None


def _can_start_again() -> bool:
  """Tells whether the interpreter's arguments end in this program and its own.

  In a notebook's `%run` they are the notebook's.
  """
  at = len(sys.orig_argv) - len(sys.argv)
  return sys.orig_argv[at:] == sys.argv or sys.orig_argv[at - 1] == '-m'
