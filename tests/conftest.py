"""Eight fake devices on the CPU, and jax at its strictest."""

import os

# Both must be set before jax starts. The thread pool: XLA's all-reduce over
# fake devices waits for all of them at once, and starves on few cores.
os.environ['NPROC'] = '16'
os.environ['XLA_FLAGS'] = (
  os.environ.get('XLA_FLAGS', '') + ' --xla_force_host_platform_device_count=8'
)

import jax
import pytest

jax.config.update('jax_numpy_rank_promotion', 'raise')
jax.config.update('jax_debug_key_reuse', True)


@pytest.fixture
def key():
  return jax.random.key(0)
