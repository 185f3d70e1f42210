"""Jobs of real processes: killed again and again, damaged files, full disks."""

import os
import re
import resource
import time

import pytest
from digits_run import FLAGS
from jobs import Job, losses

from benchmarks import faults


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_twenty_kills_leave_no_wrong_state(tmp_path):
  assert faults.wrong_states(tmp_path, tuple(FLAGS), 20) == 0


@pytest.mark.slow
def test_a_truncated_shard_is_named_and_the_job_continues(tmp_path):
  whole, cut = tmp_path / 'whole', tmp_path / 'cut'
  Job(whole, 2, 1, '--training.num-steps', '12').end()
  Job(cut, 2, 1, '--training.num-steps', '8').end()
  newest = cut / 'checkpoints' / '8'
  files = [path for path in newest.rglob('*') if path.is_file()]
  largest = max(files, key=lambda path: path.stat().st_size)
  os.truncate(largest, largest.stat().st_size // 2)
  job = Job(cut, 2, 1, '--training.num-steps', '12')
  out, _ = job.end()
  assert 'continues from step 4' in out[0]
  said = job.errors[0]
  assert re.search(f'damaged checkpoint, 4 is used.*{newest}', said)
  assert losses(cut) == losses(whole)


@pytest.mark.slow
@pytest.mark.parametrize('full', [0, 1])
def test_a_full_disk_of_one_ends_all_with_what_is_saved(tmp_path, full):
  """A limit on the size of files stands for the disk."""
  Job(tmp_path, 2, 1, '--training.num-steps', '4').end()
  limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000))
  flags = '--training.num-steps', '100000'
  _, last = Job(tmp_path, 2, 1, *flags, limits={full: limit}).end(1)
  for line in last:
    assert re.search('could not be saved, older ones are whole: File too', line)
  out, _ = Job(tmp_path, 2, 1, '--training.num-steps', '8').end()
  assert 'continues from step 4' in out[0]


@pytest.mark.slow
@pytest.mark.parametrize('lost', [0, 1])
def test_a_lost_process_that_slurm_started_is_named(tmp_path, lost):
  flags = '--training.num-steps', '100000'
  job = Job(tmp_path, 2, 1, *flags, launcher='slurm')
  while not (tmp_path / 'metrics.jsonl').exists():
    time.sleep(0.5)
  job.processes[lost].kill()
  _, said = job.processes[1 - lost].communicate(timeout=60)
  assert f'process {lost} has died' in said.splitlines()[-1]
