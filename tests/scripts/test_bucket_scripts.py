"""A run in a bucket: trained, killed, continued and sampled by its commands."""

import json
import signal
import subprocess
import sys
import time

import chex
import numpy as np
import pytest
from bucket_server import installed
from digits_run import ROOT, state_of
from PIL import Image

from jaxdiff import files
from jaxdiff.runs import Checkpoints

pytestmark = installed


@pytest.mark.slow
def test_a_run_in_a_bucket_survives_a_kill(finished, launch, bucket):
  workdir = files.as_path(bucket) / 'run'
  process = launch(workdir, '--training.num-steps', '30')
  end = time.monotonic() + 200
  while len(Checkpoints(workdir).steps()) < 2:
    assert process.poll() is None, process.communicate()[1]
    assert time.monotonic() < end
    time.sleep(0.05)
  process.send_signal(signal.SIGKILL)
  process.communicate(timeout=60)
  process = launch(workdir, '--training.num-steps', '30')
  out, err = process.communicate(timeout=400)
  assert process.returncode == 0, err
  assert 'gs://bucket/run continues from step' in out
  (step, state), (_, whole) = state_of(workdir), state_of(finished[0])
  assert step == 30
  chex.assert_trees_all_equal(state, whole)
  rows = files.read_text(workdir / 'metrics.jsonl').splitlines()
  steps = [json.loads(row)['step'] for row in rows]
  assert steps == sorted(set(steps)) and steps[-1] == 30
  assert not (workdir / '.lock').exists()
  for name in ('loss.png', 'config.json', 'samples/0000030.png'):
    assert (workdir / name).exists()
  assert list(workdir.glob('events.out.tfevents.*'))

  def sample(run, *flags):
    command = [sys.executable, 'sample.py', str(run), '--num', '3', *flags]
    subprocess.run(command, cwd=ROOT, check=True, timeout=300)

  sample(workdir, '--out', f'{bucket}/x.png')
  sample(finished[0], '--out', str(finished[0] / 'x.png'))
  with (files.as_path(bucket) / 'x.png').open('rb') as file:
    here = np.asarray(Image.open(file))
  there = np.asarray(Image.open(finished[0] / 'x.png'))
  np.testing.assert_array_equal(here, there)
