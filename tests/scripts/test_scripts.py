"""train.py and sample.py as a person runs them, and as a machine kills them."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import chex
import jax
import numpy as np
import pytest
from PIL import Image

import sample
import train
from jaxdiff import config as configs
from jaxdiff import models, runs, training
from jaxdiff.evaluation import __main__ as evaluation
from jaxdiff.generation.flags import Flags
from jaxdiff.models import optimizer as optimizers
from jaxdiff.runs import Checkpoints, loop
from jaxdiff.runs.config_json import only_writer

ROOT = Path(__file__).parents[2]
FLAGS = (
  '--network.channels 8 --network.channel-mults 1 2 '
  '--training.batch-size 16 --training.log-every 3 --sampling.steps 2 '
  '--sampling.num 4 --optimizer.warmup-steps 2 --checkpoint.every 4 '
  '--training.preview-every 1000'
).split()


@pytest.fixture(autouse=True)
def in_the_repository(monkeypatch):
  monkeypatch.chdir(ROOT)


def state_of(workdir, step=None):
  """The newest state of a run, as numpy arrays."""
  config, spec = runs.read_config(workdir)
  model = models.make(config, spec)
  optimizer = optimizers.make(config.optimizer, config.training.num_steps)
  task = training.make_task(model.init, model.loss, optimizer)
  abstract = jax.eval_shape(task.init, jax.random.key(0))
  found, state = Checkpoints(workdir).restore(abstract, step)
  key = jax.random.key_data(state.key)
  return found, jax.device_get(state._replace(key=key))


@pytest.fixture(scope='module')
def cache(tmp_path_factory):
  return str(tmp_path_factory.mktemp('cache'))


@pytest.fixture(scope='module')
def launch(cache):
  """Starts train.py in a process of its own, on one device."""
  environment = {
    **os.environ,
    'XLA_FLAGS': '',
    'JAX_COMPILATION_CACHE_DIR': cache,
    'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0',
  }

  def start(workdir, *flags):
    return subprocess.Popen(
      [sys.executable, 'train.py', '--workdir', str(workdir), *FLAGS, *flags],
      cwd=ROOT,
      env=environment,
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
      text=True,
    )

  return start


@pytest.fixture(scope='module')
def finished(launch, tmp_path_factory):
  """A run of 30 steps that nothing disturbed."""
  workdir = tmp_path_factory.mktemp('runs') / 'whole'
  process = launch(workdir, '--training.num-steps', '30')
  out, err = process.communicate(timeout=400)
  assert process.returncode == 0, err
  return workdir, out


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


def test_killed_anywhere_it_ends_the_same(finished, launch, tmp_path):
  workdir = tmp_path / 'killed'
  saved = lambda step: (workdir / 'checkpoints' / str(step)).exists
  # Orbax's unfinished directory, or the finished one should it be missed.
  saving = lambda step: lambda: list((workdir / 'checkpoints').glob(f'{step}*'))
  # During the first save, right after one, and at some moment in between.
  for when in (saving(4), saved(8), None):
    process = launch(workdir, '--training.num-steps', '30')
    if when:
      wait_for(when, process)
    else:
      known = len((workdir / 'metrics.jsonl').read_text())
      wait_for(
        lambda known=known: (
          (workdir / 'metrics.jsonl').stat().st_size > known + 300
        ),
        process,
      )
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


def run(*args):
  train.main([*FLAGS, *map(str, args)])


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


def test_steps_in_one_program_train_as_single_ones_do(finished, tmp_path):
  several = '--training.steps-per-execution 3 --checkpoint.every 12'.split()
  run('--workdir', tmp_path, *several, '--training.num-steps', 30)
  rows = [json.loads(x) for x in (tmp_path / 'metrics.jsonl').open()]
  assert [r['step'] for r in rows] == list(range(3, 31, 3))
  assert Checkpoints(tmp_path).steps() == [12, 24, 30]
  first = json.loads((finished[0] / 'metrics.jsonl').open().readline())
  for name in ('loss', 'grad_norm'):
    assert rows[0][name] == pytest.approx(first[name], rel=1e-3)
  with pytest.raises(SystemExit, match='must divide 30, the step'):
    run(
      '--workdir',
      tmp_path,
      *several[:1],
      *'4 --training.num-steps 40 --training.log-every 4'.split(),
    )


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
    ('--training.steps-per-execution 2', 'must divide --training.log-every 3'),
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


def draw(workdir, *args):
  sample.main([str(workdir), *map(str, args)])


def read(path):
  return np.load(path)['arr_0']


def test_samples_as_files_npz_and_grid(finished, tmp_path, capsys):
  workdir, _ = finished
  many = tmp_path / 'many.npz'
  draw(workdir, '--num', 11, '--steps', 2, '--batch-size', 3, '--out', many)
  images = read(many)
  assert images.shape == (11, 8, 8, 1) and images.dtype == np.uint8
  draw(workdir, '--num', 5, '--steps', 2, '--out', tmp_path / 'files')
  files = sorted((tmp_path / 'files').glob('*.png'))
  assert len(files) == 5
  for image, file in zip(images, files, strict=False):
    difference = np.asarray(Image.open(file), int) - image[..., 0]
    assert abs(difference).max() <= 1  # rounding of equal floats
  draw(workdir, '--num', 5, '--steps', 2, '--out', tmp_path / 'grid.png')
  assert np.asarray(Image.open(tmp_path / 'grid.png')).std() > 0
  described = json.loads((tmp_path / 'many.npz.json').read_text())
  assert described['seed'] == 0 and described['checkpoint_step'] == 30
  assert described['sampler'] == 'ancestral' and 'jax' in described['versions']
  assert not list(tmp_path.glob('*.parts'))


def test_an_interrupted_job_goes_on(finished, tmp_path):
  workdir, _ = finished
  out = tmp_path / 'files'
  args = ('--num', 6, '--steps', 2, '--batch-size', 2, '--out', out)
  draw(workdir, *args)
  before = {p.name: p.stat().st_mtime_ns for p in out.glob('*.png')}
  whole = (out / '000003.png').read_bytes()
  (out / '000003.png').unlink()
  draw(workdir, *args)
  after = {p.name: p.stat().st_mtime_ns for p in out.glob('*.png')}
  assert (out / '000003.png').read_bytes() == whole
  assert {n for n in after if after[n] != before[n]} == {'000003.png'}
  with pytest.raises(SystemExit, match='another job.*seed: 0 there, 1 here'):
    draw(workdir, *args, '--seed', 1)


def test_samples_that_are_not_finite_are_named(finished, tmp_path):
  broken = tmp_path / 'broken'
  shutil.copytree(finished[0], broken)
  step, state = state_of(broken)
  spoil = lambda x: np.full_like(x, np.nan)
  key = jax.random.wrap_key_data(state.key)
  state = state._replace(
    ema_params=jax.tree.map(spoil, state.ema_params), key=key
  )
  with Checkpoints(broken) as store:
    store.save(step + 1, state)
  with pytest.raises(SystemExit, match='4 of .* are not finite .sample 0, 1'):
    draw(broken, '--num', 4, '--steps', 2, '--threshold', 'none')
  assert not list(broken.glob('*.png.parts/*.png'))


def test_only_the_averaged_weights_are_restored(finished, monkeypatch):
  read = []
  real = Checkpoints._read

  def seen(self, directory, abstract, partial):
    read.extend(jax.tree.leaves(abstract))
    return real(self, directory, abstract, partial)

  monkeypatch.setattr(Checkpoints, '_read', seen)
  mesh = jax.make_mesh((1, 1), ('data', 'fsdp'), devices=jax.devices()[:1])
  found = runs.load(finished[0], mesh)
  size = lambda leaves: sum(x.size * x.dtype.itemsize for x in leaves)
  assert size(read) == size(jax.tree.leaves(found.params))


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


def test_a_warmup_longer_than_the_run_is_shortened_and_said(tmp_path, capsys):
  flags = ['--optimizer.warmup-steps', 100, '--training.num-steps', 4]
  run('--workdir', tmp_path / 'short', *flags)
  assert 'warmup-steps 100 is as long as the run' in capsys.readouterr().out


def test_editing_an_image(finished, tmp_path):
  image = tmp_path / 'image.png'
  pixels = np.tile(np.arange(8, dtype=np.uint8) * 30, (8, 1))
  Image.fromarray(pixels).save(image)
  out = tmp_path / 'out.npz'
  flags = ('--num', 3, '--steps', 4, '--image', image, '--out', out)
  draw(finished[0], *flags, '--edit', 'img2img', '--strength', 0.5)
  changed = read(out)
  assert changed.shape == (3, 8, 8, 1) and not (changed == changed[0]).all()
  mask = np.zeros((8, 8), np.uint8)
  mask[:, 4:] = 255
  Image.fromarray(mask).save(tmp_path / 'mask.png')
  draw(
    finished[0], *flags, '--edit', 'inpaint', '--mask', tmp_path / 'mask.png'
  )
  filled = read(out)[..., 0].astype(int)
  assert abs(filled - pixels)[..., :4].max() <= 1
  assert abs(filled - pixels)[..., 4:].max() > 1
  with pytest.raises(SystemExit, match='edit'):
    draw(finished[0], '--edit', 'img2img')


@pytest.mark.parametrize(
  ('args', 'message'),
  [
    (('--out', 'x.gif'), r'must end in \.png'),
    (('--num', 0), '--num must be in'),
    (('--eta', 0.5), '--eta is for ddim'),
    (('--scale', 2), 'no condition'),
    (('--temperature', 0.5), 'temperature is for categories'),
    (
      ('--edit', 'interpolate', '--sampler', 'heun'),
      'interpolate has --sampler ddim',
    ),
    (('--sampler', 'dddim'), "must be one of .*'ddim'"),
    (('--checkpoint', 5), r'no step 5 .*\[24, 28, 30\]'),
  ],
)
def test_impossible_samples_are_refused(finished, args, message):
  with pytest.raises(SystemExit, match=message):
    draw(finished[0], *args)


def test_a_base_without_use_is_refused(finished):
  with pytest.raises(SystemExit, match='enlarges nothing: --base'):
    draw(finished[0], '--base', finished[0])


def test_no_run_no_samples(tmp_path):
  with pytest.raises(SystemExit, match='holds no run'):
    draw(tmp_path)


def test_the_readme_example_runs(tmp_path, monkeypatch):
  text = (ROOT / 'README.md').read_text()
  (code,) = re.findall(r'```python\n(.*?)```', text, re.S)
  monkeypatch.chdir(tmp_path)
  exec(compile(code, 'README.md', 'exec'), {})


def test_the_readme_commands_parse(monkeypatch):
  text = (ROOT / 'README.md').read_text()
  commands = re.findall(r'python (train|sample)\.py *(.*)', text)
  assert len(commands) >= 3
  for script, flags in commands:
    flags = shlex.split(flags.split('#')[0].replace('`', ' '))
    if script == 'train':
      configs.parse(flags)
    else:
      configs.parse_flags(Flags, flags)
