"""XLA's settings for a CPU: memory, flags, one step at a time."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdiff import malloc, parallel
from jaxdiff.parallel import cpu

glibc_alone = pytest.mark.skipif(
  sys.platform != 'linux' or not os.confstr('CS_GNU_LIBC_VERSION'),
  reason='glibc is tuned, no other',
)

# Prints the variable, its arguments and its process, started again or not.
PROGRAM = """
import os, sys
print(os.getpid())
from jaxdiff import malloc
malloc.relaunch()
print(os.environ.get('GLIBC_TUNABLES'), sys.argv[1:], os.getpid())
"""


@pytest.fixture
def program(tmp_path):
  """Runs a program that relaunches itself; returns its lines and its stderr."""
  file = tmp_path / 'program.py'
  file.write_text(PROGRAM)
  kept = {
    k: v
    for k, v in os.environ.items()
    if k != malloc.VARIABLE and not k.startswith('MALLOC_')
  }

  def run(limit='', **env):
    command = f'{limit} exec {sys.executable} {file} a "b c"'
    done = subprocess.run(
      ['bash', '-c', command],
      env={**kept, 'JAX_PLATFORMS': 'cpu', 'PYTHONPATH': os.getcwd(), **env},
      capture_output=True,
      text=True,
      check=True,
      timeout=60,
    )
    return done.stdout.splitlines(), done.stderr

  return run


@glibc_alone
def test_a_program_starts_again_with_the_tunables(program):
  lines, stderr = program()
  first, again, last = lines
  assert first == again  # the same process, from its beginning
  assert last == f"{malloc.TUNABLES} ['a', 'b c'] {first}"
  assert 'starts again with GLIBC_TUNABLES' in stderr


@pytest.mark.parametrize(
  ('limit', 'env'),
  [
    ('', {'GLIBC_TUNABLES': ''}),
    ('', {'GLIBC_TUNABLES': 'glibc.malloc.arena_max=2'}),
    ('', {'MALLOC_ARENA_MAX': '2'}),
    ('', {'JAX_PLATFORMS': 'cuda'}),
    ('ulimit -v 20000000;', {}),
    ('ulimit -d 20000000;', {}),
  ],
)
def test_settings_limits_and_accelerators_are_left_alone(program, limit, env):
  lines, stderr = program(limit, **env)
  assert len(lines) == 2 and lines[1].startswith(
    env.get('GLIBC_TUNABLES', 'None')
  )
  assert 'starts again' not in stderr


def test_the_library_does_not_start_again(monkeypatch):
  """Importing it, and starting the processes of a job, keeps the program."""
  monkeypatch.setattr(os, 'execve', lambda *_: pytest.fail('started again'))
  parallel.start()


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
