"""A run of few steps: started from another run, and sampled."""

import json

import jax
import numpy as np
import pytest

import sample
import train
from jaxdiff import models, parallel, runs
from jaxdiff.evaluation.__main__ import main as evaluate

FLAGS = (
  '--config configs/two_moons.py --network.width 8 --network.depth 1 '
  '--training.num-steps 2 --training.batch-size 8 --training.log-every 2 '
  '--training.steps-per-execution 1 --training.preview-every 1000 '
  '--optimizer.warmup-steps 0 --sampling.num 8 --sampling.steps 2'
).split()
MAPPED = '--diffusion.loss mean_flow --sampling.sampler flow_map'.split()


@pytest.fixture(scope='module')
def teacher(tmp_path_factory):
  workdir = tmp_path_factory.mktemp('runs') / 'teacher'
  train.main([*FLAGS, '--workdir', str(workdir)])
  return workdir


def weights(workdir):
  return runs.load(workdir, parallel.local_mesh())


@pytest.mark.slow
def test_a_run_starts_from_another(teacher, tmp_path):
  workdir = tmp_path / 'few'
  flags = [*FLAGS, *MAPPED, '--workdir', str(workdir), '--init', str(teacher)]
  train.main(flags)
  config, spec = runs.read_config(workdir)
  start = weights(teacher).params
  assert spec.init == runs.digest(start) and config.init == str(teacher)
  # The weights that both have are the same; the second time has no effect yet.
  model = models.make(config, spec, start=start)
  params = model.init(jax.random.key(0))
  new = set(params) - set(start)
  assert new == {'length_0', 'length_1'}
  jax.tree.map(
    np.testing.assert_array_equal,
    {name: params[name] for name in start},
    start,
  )
  x, t = np.ones((3, 2), np.float32), np.full(3, 0.7, np.float32)
  s = {'s': np.float32([0.0, 0.3, 0.7])}
  found = model.denoiser(params, s)(x, t)
  old = models.make(*runs.read_config(teacher)).denoiser(start, {})(x, t)
  np.testing.assert_array_equal(found, old)

  for steps in (1, 2, 4):
    out = workdir / f'{steps}.npz'
    sample.main([str(workdir), '--steps', str(steps), '--out', str(out)])
    assert np.isfinite(np.load(out)['arr_0']).all()
  # It is a diffusion model still, where s = t.
  sample.main([str(workdir), '--sampler', 'heun', '--steps', '2'])
  for wrong, text in {
    '--threshold clip': '--threshold must be none',
    '--scale 2': 'has no condition',
  }.items():
    with pytest.raises(SystemExit, match=text):
      sample.main([str(workdir), *wrong.split()])


@pytest.mark.slow
def test_a_teacher_is_needed_and_stays(teacher, tmp_path):
  loss = ['--diffusion.loss', 'progressive(2)', '--sampling.sampler', 'ddim']
  flags = [*FLAGS, *loss, '--workdir', str(tmp_path)]
  with pytest.raises(SystemExit, match='needs --init'):
    train.main(flags)
  train.main([*flags, '--init', str(teacher)])
  # The teacher is not needed for samples, and has no likelihood.
  config = json.loads((tmp_path / 'config.json').read_text())
  config['init'] = 'gone'
  (tmp_path / 'config.json').write_text(json.dumps(config))
  sample.main([str(tmp_path), '--steps', '2'])
  with pytest.raises(SystemExit, match='no likelihood'):
    evaluate(['likelihood', str(tmp_path)])
  edit = '--edit interpolate --image a.png --other b.png'.split()
  with pytest.raises(SystemExit, match='interpolate follows the ODE, and'):
    sample.main([str(tmp_path), *edit])
  # Its student may be one of fewer steps, and not of another kind.
  kind = ['--diffusion.loss', 'consistency_distillation', '--init']
  kind += [str(tmp_path), '--sampling.sampler', 'lcm', '--workdir']
  with pytest.raises(SystemExit, match='of consistency_distillation must esti'):
    train.main([*FLAGS, *kind, str(tmp_path / 'student')])
  # Another one is refused.
  other = tmp_path / 'other'
  train.main([*FLAGS, '--workdir', str(other), '--seed', '1'])
  with pytest.raises(SystemExit, match='began with other weights'):
    train.main([*flags, '--training.num-steps', '4', '--init', str(other)])
  with pytest.raises(SystemExit, match='network.width 8, and this run has 4'):
    train.main([*flags, '--init', str(teacher), '--network.width', '4'])


def test_settings_that_do_not_fit(teacher, tmp_path):
  flags = [*FLAGS, '--workdir', str(tmp_path), '--init', str(teacher)]
  for wrong, text in {
    '--sampling.sampler flow_map': 'needs --diffusion.loss mean_flow or',
    '--diffusion.loss consistency': 'needs --sampling.sampler lcm, got ddim',
    '--diffusion.loss shortcut --diffusion.weighting simple': (
      'needs --diffusion.weighting None'
    ),
    '--diffusion.loss shortcut(finest=3)': 'power of two',
    f'--workdir {teacher}': 'is the --workdir itself',
    '--diffusion.loss shortcut --diffusion.schedule rectified_flow': (
      "has diffusion.schedule 'cosine'"
    ),
  }.items():
    with pytest.raises(SystemExit, match=text):
      train.main([*flags, *wrong.split()])


def test_a_network_larger_than_any_machine(tmp_path):
  wide = '--network.width 65536 --network.depth 1024 --workdir'.split()
  with pytest.raises(SystemExit, match='is the most: take a smaller network'):
    train.main([*FLAGS, *wide, str(tmp_path / 'run')])
