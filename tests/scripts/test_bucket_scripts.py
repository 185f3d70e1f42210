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


@pytest.mark.slow
def test_runs_in_a_bucket_are_evaluated_there(launch, bucket, tmp_path):
  """The numbers are those of the same run on a disk."""

  def run(module, *flags):
    command = [sys.executable, '-m', f'jaxdiff.{module}', *flags]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

  def evaluated(root):
    """Trains a run and its judge under a root, and measures there."""
    process = launch(f'{root}/run', '--training.num-steps', '4')
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    training = ['--num-steps', '4', '--batch-size', '16', '--width', '4']
    run(
      'classifier', 'train', 'digits', '--workdir', f'{root}/judge', *training
    )
    features = ['--features', f'classifier:{root}/judge', '--num', '8']
    few = ['--num', '4', '--steps', '4', '--no-ode']
    run('evaluation', 'likelihood', f'{root}/run', *few)
    of = ['--samples', f'{root}/run', '--steps', '2']
    run('evaluation', 'fid', *of, *features, '--out', f'{root}/fid.json')
    run('evaluation', 'sweep', f'{root}/run', '--steps', '1', '2', *features)
    out = files.as_path(root)
    (bound,) = out.glob('run/evaluation/likelihood*.json')
    read = lambda path: json.loads(files.read_text(path))
    rows = sorted(out.glob('run/sweep/rows/*.json'), key=lambda p: p.name)
    assert len(rows) == 2
    metrics = [read(path)['metrics'] for path in (out / 'fid.json', *rows)]
    return read(bound)['bound'], metrics

  assert evaluated(str(tmp_path)) == evaluated(bucket)
