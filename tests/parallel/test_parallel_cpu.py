"""What is freed stays with the process; convolutions use all threads."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdiff import parallel
from jaxdiff.parallel import cpu

# Faults of a buffer asked for again, filled, by malloc itself.
AGAIN = """
import ctypes, resource
from jaxdiff.parallel import cpu
{}
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.malloc.argtypes = [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
libc.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
def fill():
  before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
  buffer = libc.malloc(2**28)
  libc.memset(buffer, 1, 2**28)
  libc.free(buffer)
  return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
fill()
print(fill())
"""


# By how much the heap is shorter after a trim.
TRIMMED = """
import ctypes
from jaxdiff.parallel import cpu
cpu.keep_memory()
libc = ctypes.CDLL(None)
libc.sbrk.restype = ctypes.c_void_p
end = libc.sbrk(0)
libc.malloc_trim(0)
print(end - libc.sbrk(0))
"""

# Whether, of 1,000 pieces between others, one is what malloc gives, before and
# after they are held, and when they were let go of and joined.
PIECES = """
import ctypes, jax
from jaxdiff.parallel import cpu
cpu.keep_memory()
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.malloc.argtypes = [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
chunks = [libc.malloc(40_000) for _ in range(2_000)]
low, high = min(chunks), max(chunks)
for chunk in chunks[::2]:
  libc.free(chunk)
def given(size):
  chunk = libc.malloc(size)
  libc.free(chunk)
  return int(low <= chunk <= high)
def compiled(seconds):
  event = '/jax/core/compile/backend_compile_duration'
  jax.monitoring.record_event_duration_secs(event, seconds)
print(given(39_000))
compiled(0.1)
print(given(39_000))
compiled(2)
print(given(39_000))
for chunk in chunks[1::2]:
  libc.free(chunk)
compiled(2)
print(given(10_000_000))
"""

# Addresses that `keep_memory` leaves taken where the heap cannot grow: a page
# of another mapping is behind it.
BLOCKED = """
import ctypes, mmap, resource
from jaxdiff.parallel import cpu
libc = ctypes.CDLL(None)
libc.sbrk.restype = libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3]
libc.mmap.argtypes += [ctypes.c_long]
page = mmap.PAGESIZE
behind = (libc.sbrk(0) // page + 1) * page
flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x100000  # fixed, if it is free
assert libc.mmap(behind, page, 0, flags, -1, 0) == behind
def taken():
  return int(open('/proc/self/statm').read().split()[0]) * page
before = taken()
resource.setrlimit(resource.RLIMIT_AS, (before + 2**36, resource.RLIM_INFINITY))
cpu.keep_memory()
print(taken() - before)
"""

MALLOCS = ('GLIBC_TUNABLES', 'LD_PRELOAD', 'MALLOC_ARENA_MAX')  # settings

glibc_alone = pytest.mark.skipif(
  sys.platform != 'linux' or not os.confstr('CS_GNU_LIBC_VERSION'),
  reason='glibc is tuned, no other',
)


def said_by(program, **env):
  plain = {k: v for k, v in os.environ.items() if k not in MALLOCS}
  command = [sys.executable, '-c', program]
  return subprocess.run(
    command,
    env={**plain, 'JAX_PLATFORMS': 'cpu', **env},
    capture_output=True,
    check=True,
    timeout=60,
  ).stdout


def faults(call, **env):
  return int(said_by(AGAIN.format(call), **env))


@glibc_alone
def test_memory_is_kept():
  pages = 2**28 // os.sysconf('SC_PAGE_SIZE')
  assert faults('') > pages // 1000
  assert faults('cpu.keep_memory()') == 0


@glibc_alone
def test_the_heap_outlives_a_trim():
  """Of malloc, which protobuf asks for: addresses and their advice stay."""
  assert int(said_by(TRIMMED)) < 2**28  # of half the memory


@glibc_alone
def test_pieces_that_compiling_leaves_are_held():
  assert said_by(PIECES).split() == [b'1', b'1', b'0', b'1']


def test_jax_tells_how_long_it_compiled():
  """`cpu` listens for it."""
  heard = []
  listener = lambda event, seconds, **_: heard.append(event)
  jax.monitoring.register_event_duration_secs_listener(listener)
  try:
    jax.jit(lambda x: x * 3.25 + 7)(1.0)
  finally:
    jax.monitoring.unregister_event_duration_listener(listener)
  assert any(name.endswith('/backend_compile_duration') for name in heard)


@pytest.mark.parametrize('mode', ['jit', 'pmap'])
def test_a_step_waits_for_the_one_before_it(mode):
  def step(x, batch, axis_name=None):
    # Long enough to be under way still when its call returns.
    x = jax.lax.fori_loop(0, 200, lambda _, x: jnp.cos(batch @ x), x)
    return x, {'loss': x.mean()}

  mesh = parallel.make_mesh(devices=jax.devices()[:1])
  where = parallel.replicated(mesh)
  compiled = parallel.compile_train_step(step, mesh, where, mode=mode)
  batch = np.ones((500, 500), np.float32)
  x, before = compiled(jax.device_put(batch, where), batch)
  for _ in range(3):
    x, metrics = compiled(x, batch)
    assert before['loss'].is_ready()
    before = metrics
  assert not metrics['loss'].is_ready()  # nothing else waited


def test_settings_of_ones_own_are_left_alone():
  tunables = 'glibc.malloc.mmap_max=5'
  assert faults('cpu.keep_memory()', GLIBC_TUNABLES=tunables) > 0


@glibc_alone
def test_a_heap_that_cannot_grow_is_left_alone():
  """Addresses are asked for once and given back to malloc, not more."""
  memory = os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE')
  assert int(said_by(BLOCKED)) < memory


def test_an_accelerator_has_its_own_memory():
  call = (
    "import jax; jax.config.update('jax_platforms', 'tpu'); cpu.keep_memory()"
  )
  assert faults(call) > 0


@pytest.mark.parametrize(
  'before, after',
  [
    ('', cpu.CONVOLUTIONS),
    ('--a=b', f'--a=b {cpu.CONVOLUTIONS}'),
    (
      '--xla_cpu_experimental_ynn_fusion_type=',
      '--xla_cpu_experimental_ynn_fusion_type=',
    ),
  ],
)
def test_convolutions_use_all_threads(monkeypatch, before, after):
  """A flag of one's own is left alone."""
  monkeypatch.setattr(jax, '__version_info__', (0, 10, 2))
  monkeypatch.setenv('XLA_FLAGS', before)
  cpu.divide_convolutions()
  assert os.environ['XLA_FLAGS'] == after


@pytest.mark.parametrize(
  'version, known',
  [
    ((0, 9, 2), False),
    ((0, 10, 0), True),
    ((0, 12, 0, 1), True),
    ((0, 12, 1), False),
  ],
)
def test_a_version_is_given_a_flag_that_it_knows(monkeypatch, version, known):
  monkeypatch.setattr(jax, '__version_info__', version)
  monkeypatch.setenv('XLA_FLAGS', '')
  cpu.divide_convolutions()
  assert bool(os.environ['XLA_FLAGS']) == known


@pytest.mark.parametrize(
  'platforms, before, after',
  [
    ('cpu', '--a=b', f'--a=b {cpu.LEVEL}'),
    ('cpu', '--xla_backend_optimization_level=3', None),
    ('tpu', '--a=b', None),
  ],
)
def test_a_cpu_alone_compiles_quickly(monkeypatch, platforms, before, after):
  """A flag of one's own is left alone, and so is an accelerator."""
  script = (
    f"import jax, os; jax.config.update('jax_platforms', '{platforms}');"
    'from jaxdiff.parallel import cpu; cpu.compile_quickly();'
    "print(os.environ['XLA_FLAGS'])"
  )
  monkeypatch.setenv('XLA_FLAGS', before)
  said = subprocess.run(
    [sys.executable, '-c', script], capture_output=True, check=True, text=True
  )
  assert said.stdout.strip() == (after or before)
