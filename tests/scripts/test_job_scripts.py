"""train.py as a job of several processes: continued anywhere, stopped, lost."""

import re
import shutil
import signal
import time

import chex
import pytest
from digits_run import state_of
from jobs import Job, losses

from jaxdiff.runs import Checkpoints


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_job_continues_on_any_number_of_processes_and_devices(tmp_path):
  whole, stopped = tmp_path / 'whole', tmp_path / 'stopped'
  # SIGTERM to one process: all save the same step.
  job = Job(stopped, 4, 2, '--training.num-steps', '100000')
  end = time.monotonic() + 200
  while not Checkpoints(stopped).steps():
    assert all(p.poll() is None for p in job.processes), job.end()
    assert time.monotonic() < end
    time.sleep(0.05)
  job.processes[2].send_signal(signal.SIGTERM)
  out, _ = job.end()
  step = int(re.search(r'stopped at step (\d+), saved', out[0])[1])
  assert Checkpoints(stopped).steps()[-1] == step
  last = step + 4
  Job(whole, 4, 2, '--training.num-steps', f'{last}').end()
  expected = losses(whole)
  for num, devices in ((4, 2), (1, 8), (2, 2), (1, 1)):
    workdir = tmp_path / f'{num}x{devices}'
    shutil.copytree(stopped, workdir)
    flags = ['--training.num-steps', f'{last}']
    if devices == 8:  # and with parameters divided
      rules = ('emb/kernel=1', 'norm=none')
      flags += ['--parallel.fsdp', '2', '--parallel.rules', *rules]
    out, _ = Job(workdir, num, devices, *flags).end()
    assert f'continues from step {step}' in out[0]
    found = losses(workdir)
    assert list(found) == list(expected) == list(range(1, last + 1))
    for n in range(1, last + 1):
      # Adam turns rounding into 3e-4 a step; another batch would be 10 % off.
      assert found[n] == pytest.approx(expected[n], rel=2e-3), (num, devices, n)
    if (num, devices) == (4, 2):
      here, there = state_of(workdir)[1], state_of(whole)[1]
      chex.assert_trees_all_equal(here, there)


@pytest.mark.slow
@pytest.mark.parametrize('launcher', ['slurm', 'kubernetes'])
def test_processes_find_one_another_by_their_launcher(tmp_path, launcher):
  """As far as its variables tell."""
  job = Job(tmp_path, 2, 1, '--training.num-steps', '4', launcher=launcher)
  job.end()
  assert list(losses(tmp_path)) == [1, 2, 3, 4]


@pytest.mark.slow
def test_a_loss_gone_wrong_is_named_by_all(tmp_path):
  flags = ('--optimizer.learning-rate', '10', '--optimizer.name')
  flags += ('sgd(momentum=1e6)',)
  _, last = Job(tmp_path, 2, 1, *flags, '--training.num-steps', '40').end(1)
  found = {re.search(r'step (\d+): .*(nan|inf)', line)[1] for line in last}
  assert len(found) == 1, last


@pytest.mark.slow
@pytest.mark.parametrize('launcher', [None, 'slurm', 'kubernetes'])
def test_a_peer_that_never_starts_is_named(tmp_path, launcher):
  job = Job(tmp_path, 2, 1, '--parallel.timeout', '3', launcher=launcher)
  job.processes.pop().kill()
  _, (last,) = job.end(1)
  assert re.search('of 2 processes 1 did not come within 3 s', last), last


@pytest.mark.slow
@pytest.mark.parametrize('launcher', [None, 'slurm', 'kubernetes'])
def test_a_peer_that_dies_is_named_with_what_is_saved(tmp_path, launcher):
  flags = '--training.num-steps', '100000'
  job = Job(tmp_path, 2, 1, *flags, launcher=launcher)
  while not Checkpoints(tmp_path).steps():
    assert all(p.poll() is None for p in job.processes), job.end()
    time.sleep(0.05)
  lost = job.processes.pop()
  lost.kill()
  lost.communicate()
  _, (last,) = job.end(1)
  assert last.startswith('process 1 has died')
  assert re.search(r'step \d+ is saved in .*: start all again', last)
