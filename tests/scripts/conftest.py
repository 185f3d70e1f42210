"""A trained run of digits that the tests of the scripts share."""

import os
import subprocess
import sys

import pytest
from digits_run import FLAGS, ROOT


@pytest.fixture(autouse=True)
def in_the_repository(monkeypatch):
  monkeypatch.chdir(ROOT)


@pytest.fixture(scope='session')
def launch():
  """Starts train.py in a process of its own, on one device."""
  settings = {
    'XLA_FLAGS': '--xla_backend_optimization_level=0',
    'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0',
  }

  def start(workdir, *flags):
    return subprocess.Popen(
      [sys.executable, 'train.py', '--workdir', str(workdir), *FLAGS, *flags],
      cwd=ROOT,
      env={**os.environ, **settings},
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
      text=True,
    )

  return start


@pytest.fixture(scope='session')
def finished(launch, tmp_path_factory):
  """A run of 30 steps that nothing disturbed."""
  workdir = tmp_path_factory.mktemp('runs') / 'whole'
  process = launch(workdir, '--training.num-steps', '30')
  out, err = process.communicate(timeout=400)
  assert process.returncode == 0, err
  return workdir, out
