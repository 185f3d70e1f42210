"""Eight fake devices on the CPU, and jax at its strictest."""

import atexit
import os
import shutil
import tempfile

# All must be set before jax starts. The thread pool: XLA's all-reduce over
# fake devices waits for all of them at once, and starves on few cores. The
# level: compiling takes most of the tests' time, and half as long without
# LLVM's optimiser. The cache: each program is compiled once by all processes
# of these tests, however small.
os.environ['NPROC'] = '16'
os.environ['XLA_FLAGS'] = ' '.join(
  [
    '--xla_backend_optimization_level=0',
    '--xla_force_host_platform_device_count=8',
    os.environ.get('XLA_FLAGS', ''),  # of a flag set twice the last counts
  ]
)
if not os.environ.get('JAX_COMPILATION_CACHE_DIR'):
  cache = tempfile.mkdtemp(prefix='jaxdiff-tests-')
  atexit.register(shutil.rmtree, cache, ignore_errors=True)
  os.environ['JAX_COMPILATION_CACHE_DIR'] = cache
os.environ['JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS'] = '0'
os.environ['JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES'] = '-1'

import jax
import pytest

jax.config.update('jax_numpy_rank_promotion', 'raise')
jax.config.update('jax_debug_key_reuse', True)


pytest_plugins = ['bucket_server']  # the fixture `bucket`


@pytest.fixture
def key():
  return jax.random.key(0)
