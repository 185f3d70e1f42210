"""train.py as a person runs it, and as a machine kills it."""

import json
import re
import shutil
import signal
import sys
import time

import chex
import numpy as np
import pytest
from digits_run import run, state_of
from PIL import Image

from jaxdiff.evaluation import __main__ as evaluation
from jaxdiff.runs import Checkpoints, loop
from jaxdiff.runs.config_json import only_writer


def wait_for(condition, process, seconds=300):
  end = time.monotonic() + seconds
  while not condition():
    assert process.poll() is None, process.communicate()[1]
    assert time.monotonic() < end, 'waited too long'
    time.sleep(0.002)


def test_a_run_leaves_what_it_says(finished):
  workdir, out = finished
  paths = re.findall(r'^(?:samples|denoising|loss curve) +(\S+)$', out, re.M)
  assert len(paths) == 3
  for path in paths:
    assert np.asarray(Image.open(path)).std() > 0
  rows = [json.loads(x) for x in (workdir / 'metrics.jsonl').open()]
  assert [r['step'] for r in rows] == sorted(
    {*range(3, 31, 3), *range(4, 31, 4)}
  )
  assert all(np.isfinite(r['loss']) for r in rows)
  assert list(workdir.glob('events.out.tfevents.*'))
  assert Checkpoints(workdir).steps() == [24, 28, 30]
  assert f'python sample.py {workdir}' in out
  said = re.search(r'^goodput +([\d.]+) %', out, re.M)
  # Logged at the last step, and said later: after the last checkpoint.
  assert 0 < float(said[1]) <= 100 * rows[-1]['goodput'] + 0.1
  assert 0 < rows[-1]['goodput'] < 1


def test_killed_anywhere_it_ends_the_same(finished, launch, tmp_path):
  workdir = tmp_path / 'killed'
  metrics, seen = workdir / 'metrics.jsonl', 0
  size = lambda: metrics.stat().st_size if metrics.exists() else 0
  # Orbax's unfinished directory, or the finished one should it be missed.
  saving = lambda: list((workdir / 'checkpoints').glob('4*'))
  between = lambda: size() > seen + 300
  # During the first save, and at some moment between later ones.
  for when in (saving, between):
    process = launch(workdir, '--training.num-steps', '30')
    wait_for(when, process)
    seen = size()
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
  process = launch(workdir, '--training.num-steps', '30')
  _, err = process.communicate(timeout=400)
  assert process.returncode == 0, err
  (step, state), (_, whole) = state_of(workdir), state_of(finished[0])
  assert step == 30
  chex.assert_trees_all_equal(state, whole)
  # The record has each step once, whatever was killed after it was written.
  steps = [json.loads(x)['step'] for x in (workdir / 'metrics.jsonl').open()]
  assert steps == sorted(set(steps))


def test_sigterm_saves_and_exits(launch, tmp_path):
  workdir = tmp_path / 'stopped'
  process = launch(workdir, '--training.num-steps', '100000')
  wait_for((workdir / 'checkpoints' / '4').exists, process)
  process.send_signal(signal.SIGTERM)
  out, err = process.communicate(timeout=120)
  assert process.returncode == 0, err
  stopped = int(re.search(r'stopped at step (\d+), saved', out).group(1))
  assert Checkpoints(workdir).steps()[-1] == stopped


def test_a_loss_gone_wrong_stops_the_run(tmp_path, monkeypatch):
  real = loop.data.batches

  class Poisoned:
    """The batches, with a nan in the seventh."""

    def __init__(self, *args, **kwargs):
      self.batches, self.step = real(*args, **kwargs), 0
      self.close = self.batches.close

    def __next__(self):
      self.step += 1
      batch = next(self.batches)
      if self.step == 7:
        batch['x0'][3, 0, 0, 0] = np.nan
      return batch

  monkeypatch.setattr(loop.data, 'batches', Poisoned)
  with pytest.raises(SystemExit, match=r'step 7: .*loss = nan'):
    run('--workdir', tmp_path, '--training.num-steps', 40)
  step, state = state_of(tmp_path)
  chex.assert_tree_all_finite(state)
  assert step == 4


@pytest.mark.slow
def test_steps_in_one_program_train_as_single_ones_do(finished, tmp_path):
  several = '--training.steps-per-execution 3 --checkpoint.every 12'.split()
  run('--workdir', tmp_path, *several, '--training.num-steps', 30)
  rows = [json.loads(x) for x in (tmp_path / 'metrics.jsonl').open()]
  assert [r['step'] for r in rows] == list(range(3, 31, 3))
  assert Checkpoints(tmp_path).steps() == [12, 24, 30]
  first = json.loads((finished[0] / 'metrics.jsonl').open().readline())
  for name in ('loss', 'grad_norm'):
    assert rows[0][name] == pytest.approx(first[name], rel=1e-3)


# tests/parallel compares the modes without a run.
@pytest.mark.slow
def test_pmap_over_eight_devices_trains_as_one_device_does(finished, tmp_path):
  run(
    '--workdir',
    tmp_path,
    '--training.num-steps',
    30,
    '--parallel.mode',
    'pmap',
  )
  losses = lambda path: [
    json.loads(line)['loss'] for line in (path / 'metrics.jsonl').open()
  ]
  here, there = losses(tmp_path), losses(finished[0])
  # Adam turns rounding into 3e-4 a step.
  np.testing.assert_allclose(here[:4], there[:4], rtol=1e-3)
  assert len(here) == len(there)


def test_bits_per_dim_of_a_run(finished, capsys):
  flags = '--steps 4 --num 16 --batch-size 16 --no-ode'
  evaluation.main(['likelihood', str(finished[0]), *flags.split()])
  assert 'bits per value of 16 examples' in capsys.readouterr().out
  report = json.loads((finished[0] / 'likelihood.json').read_text())
  assert report['checkpoint_step'] == 30 and report['bound'][0] > 0
  assert Image.open(finished[0] / 'likelihood.png').size[0] > 500
  (named,) = (finished[0] / 'evaluation').glob('likelihood_step30_num16_*.json')
  assert json.loads(named.read_text())['bound'] == report['bound']


def test_another_network_is_refused(finished):
  with pytest.raises(SystemExit, match=r'network\.channels.* 8.* 16'):
    run('--workdir', finished[0], '--network.channels', 16)


def test_one_run_at_a_time(finished):
  with only_writer(finished[0]):
    with pytest.raises(SystemExit, match='another run is writing'):
      run('--workdir', finished[0], '--training.num-steps', 30)


@pytest.mark.parametrize(
  ('flags', 'message'),
  [
    ('--training.batch-size 12', 'multiple of 8'),
    ('--training.num-steps 0', 'num-steps must be in'),
    ('--training.steps-per-execution 0', 'execution must be in'),
    ('--data.name no-such-set', 'digits'),
    ('--data.name tfds:cifar10', 'jaxdiff.data prepare tfds:cifar10'),
    ('--diffusion.prediction epsilon', "'eps'.*got 'epsilon'"),
    ('--network.channel-mults 1 2 3 4 5 6', 'levels|small|size'),
    ('--sampling.steps 0', 'steps must be in'),
  ],
)
def test_impossible_runs_are_refused_at_once(flags, message, tmp_path):
  data = '--data.data-dir', tmp_path / 'data'
  data = data if 'tfds' in flags else ()
  with pytest.raises(SystemExit, match=message):
    run('--workdir', tmp_path / 'run', *data, *flags.split())
  assert not (tmp_path / 'run').exists()


@pytest.mark.slow
def test_a_longer_cosine_run_says_so_and_keeps_its_history(
  finished, tmp_path, capsys
):
  workdir = tmp_path / 'longer'
  shutil.copytree(finished[0], workdir)
  run('--workdir', workdir, '--training.num-steps', 33)
  out = capsys.readouterr().out
  assert 'continues from step 30' in out
  assert 'num-steps is 33 and was 30' in out and 'cosine' in out
  (change,) = json.loads((workdir / 'config.json').read_text())['history']
  assert change == {'step': 30, 'changed': {'training.num_steps': [30, 33]}}


def test_a_warmup_longer_than_the_run_is_shortened_and_said(
  tmp_path, monkeypatch, capsys
):
  monkeypatch.setattr(loop, 'fit', lambda *_: sys.exit('before any step'))
  flags = ['--optimizer.warmup-steps', 100, '--training.num-steps', 4]
  with pytest.raises(SystemExit, match='before any step'):
    run('--workdir', tmp_path / 'short', *flags)
  assert (
    'warmup-steps 100 would last longer than the run' in capsys.readouterr().out
  )
