"""The command fid, and the samples it measures."""

import dataclasses
import json

import jax
import numpy as np
import pytest
from measured import make_classifier, make_run

from jaxdiff import conditioning, data, runs
from jaxdiff import config as c
from jaxdiff.data.shuffling import permutation
from jaxdiff.evaluation import (
  extractors,
  frechet,
  images,
  inloop,
  measuring,
  samples,
)
from jaxdiff.evaluation.__main__ import main
from jaxdiff.evaluation.flags import Drawing, Running
from jaxdiff.evaluation.spaces import FeatureSpace
from jaxdiff.generation.sampler import Samples, make_sampler, traced_options
from jaxdiff.pretrained import resize
from jaxdiff.runs.config_json import save_config


@pytest.fixture(autouse=True)
def two_devices(monkeypatch):
  """Programs for eight take several times as long to compile."""
  monkeypatch.setattr(jax, 'local_devices', lambda: jax.devices()[:2])


@pytest.fixture(scope='module')
def workdir(tmp_path_factory):
  path = tmp_path_factory.mktemp('runs') / 'digits'
  make_run(path)
  return path


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
  path = tmp_path_factory.mktemp('classifier')
  return path, *make_classifier(path)


def machine(batch_size=64, mode='jit'):
  return measuring.machine(Running(batch_size=batch_size, mode=mode))


def noise(num, seed=0):
  shape = (num, 8, 8, 1)
  return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def pool(trained, x):
  """Features without any of the machinery."""
  _, network, params = trained
  found = jax.jit(lambda params, x: network.apply({'params': params}, x))(
    params, x.astype(np.float32) / 127.5 - 1
  )
  return frechet.moments(np.asarray(found.pool))


def fid(samples, trained, tmp_path, *flags):
  out = tmp_path / 'result.json'
  common = ['--features', f'classifier:{trained[0]}', '--out', str(out)]
  common += ['--cache', str(tmp_path / 'cache')]
  main(['fid', '--samples', str(samples), *common, *map(str, flags)])
  return json.loads(out.read_text())


def fd(result):
  return result['metrics']['FD (classifier/pool, digits, seed 0)']['value']


def test_stored_images_against_a_set_with_its_floor(trained, tmp_path, capsys):
  x = noise(40)
  np.savez(tmp_path / 'x.npz', arr_0=x)
  flags = ['--reference', 'digits', '--floor', '--batch-size', 300]
  result = fid(tmp_path / 'x.npz', trained, tmp_path, *flags)
  real = lambda split, num: data.load('digits', split).gather(np.arange(num))
  train = pool(trained, real('train', 1497)['x0'])
  exact = frechet.distance(pool(trained, x), train)
  np.testing.assert_allclose(fd(result), exact, rtol=1e-3)
  # Of as many real images as samples, from all over the split.
  few = data.subset(data.load('digits', 'test'), 40).gather(np.arange(40))
  exact = frechet.distance(pool(trained, few['x0']), train)
  floor = result['floor']['FD (classifier/pool, digits, seed 0)']['value']
  np.testing.assert_allclose(floor, exact, rtol=1e-3)
  assert (result['floor_data'], result['floor_num']) == ('digits test', 40)

  assert result['num_samples'] == 40 and result['num_references'] == 1497
  assert result['reference'] == 'digits train'
  stored = images.parse(str(tmp_path / 'x.npz')).load()
  assert result['samples_sha256'] == images.digest(stored)
  assert result['classifier_test_accuracy'] == 0.125
  # Nothing of a stand-in may be taken for FID.
  assert not any('FID' in name or name == 'IS' for name in result['metrics'])
  printed = capsys.readouterr()
  assert 'FD (classifier/pool' in printed.out and 'floor' in printed.out
  assert '50000' in printed.err
  # Blocks are gone once the result is there.
  assert not list(tmp_path.glob('*.parts'))


def test_a_run_is_measured_as_its_stored_samples_are(
  workdir, trained, tmp_path
):
  flags = ['--reference', tmp_path / 'real.npz', '--metrics', 'all']
  np.savez(tmp_path / 'real.npz', arr_0=noise(24, 1))
  drawing = [
    '--mode',
    'pmap',
    '--num',
    24,
    '--scale',
    2,
    '--labels',
    'uniform',
    '--seed',
    5,
  ]
  result = fid(workdir, trained, tmp_path, *flags, *drawing)
  assert result['labels'] == 'each class in turn' and result['seed'] == 5
  assert (result['sampler'], result['steps']) == ('ddim', 1)
  assert result['scale'] == 2.0 and result['eta'] == 0.0
  assert result['checkpoint_step'] == 3 and result['ema'] is True
  assert len(result['metrics']) == 7

  run = runs.load(workdir, machine().mesh)
  assert result['params_sha256'] == runs.digest(run.params)
  assert len(result['config_sha256']) == 64
  rows = {'cond': {'label': np.arange(10)}, 'null': {'label': np.array([10])}}
  options = {**traced_options(run.config, **rows, seed=5), 'scale': 2.0}
  draw = jax.jit(make_sampler(run.model, run.config.sampling))
  drawn = np.asarray(draw(run.params, options, np.arange(24)).x)
  x = np.clip(np.rint((drawn + 1) * 127.5), 0, 255).astype(np.uint8)
  exact = frechet.distance(pool(trained, x), pool(trained, noise(24, 1)))
  np.testing.assert_allclose(fd(result), exact, rtol=2e-2)


def test_in_the_loop(workdir, trained, tmp_path):
  run = runs.load(workdir, machine().mesh)
  config = dataclasses.replace(
    run.config,
    workdir=str(tmp_path / 'run'),
    evaluation=c.Evaluation(
      every=1, features=f'classifier:{trained[0]}', num=16
    ),
  )
  save_config(config.workdir, c.describe(config, run.spec))
  evaluate = inloop.make(config, run.model, batch_size=16)
  values = evaluate(run.params, 7)
  folder = tmp_path / 'run' / 'evaluation'
  result = json.loads((folder / '0000007.json').read_text())
  assert result['num_samples'] == 16 and result['checkpoint_step'] == 7
  assert result['labels'] == 'as in digits train'
  assert values['FD (classifier/pool, digits, seed 0)'] == fd(result)
  # Other weights, other samples: nothing is taken from the last time.
  other = jax.tree.map(lambda x: x + 0.5, run.params)
  assert evaluate(other, 8) != values


def test_every_sample_has_its_own_condition(workdir):
  run = runs.load(workdir, machine().mesh)

  def draw(params, options, index):
    cond = conditioning.rows(options['cond'], index)['label']
    value = np.asarray(cond, np.float32) / 127.5 - 1
    shape = (len(index), 8, 8, 1)
    return Samples(np.broadcast_to(value[:, None, None, None], shape))

  train = data.load('digits')
  order = permutation(1497, 0)
  labels = train.gather(order)['label']
  for name, expected in (('train', labels), ('uniform', np.arange(50) % 10)):
    rows = samples.conditions_of(run, name)
    for size, start in ((8, 0), (24, 0), (24, 13)):
      found = samples.of_run(run, rows, Drawing(), machine(size), 50, draw)
      parts = images.batches(found.dataset, 19, start, 50)
      found = np.concatenate(list(parts))[:, 0, 0, 0]
      np.testing.assert_array_equal(found, expected[start:50])
  # As in the training set, and not the first of them.
  assert np.any(labels[:50] != train.gather(np.arange(50))['label'])


def test_an_interrupted_job_continues(tmp_path, capsys, monkeypatch):
  monkeypatch.setattr(measuring, 'BLOCK', 10)
  x, seen = noise(23), []

  def gather(indices):
    if len(seen) + len(indices) > most:
      raise KeyboardInterrupt
    seen.extend(indices)
    return {'x0': x[indices]}

  dataset = data.Dataset('x', 'all', 'image', 23, (8, 8, 1), None, gather)
  fn = lambda params, x: {'pool': x.reshape(len(x), -1)[:, :3] * params}
  space = FeatureSpace('sum', 'none', '0' * 64, 'none')
  rule = resize.none()
  network = extractors.Extractor(space, 'pool', fn, np.float32(1), rule)
  extract = lambda: measuring.extract(
    dataset, network, machine(2), ['pool'], folder=tmp_path
  )['pool']
  most = 17
  with pytest.raises(KeyboardInterrupt):
    extract()
  seen.clear()
  most = 99
  found = extract()
  np.testing.assert_array_equal(found, x.reshape(23, -1)[:, :3])
  # The features of 0-10 were there; those of 10-20 and 20-23 were not.
  np.testing.assert_array_equal(seen, np.arange(10, 23))

  seen.clear()
  (path,) = tmp_path.glob('10-20.*')
  content = bytearray(path.read_bytes())
  content[-3] ^= 1
  path.write_bytes(content)
  np.testing.assert_array_equal(extract(), found)
  np.testing.assert_array_equal(seen, np.arange(10, 20))
  assert 'damaged' in capsys.readouterr().err


@pytest.mark.parametrize(
  ('flags', 'message'),
  [
    ('--reference digits', r'fetch https.*pt_inception.*classifier:WORKDIR'),
    ('--features classifier:C', 'reference is needed'),
    ('--features classifier:none --reference digits', 'no classifier in none'),
    ('--features vgg --reference digits', "inception, clip:.*got 'vgg'"),
    ('--features classifier:C --reference x.npz', r'8, 8, 1.*4, 4, 3'),
    ('--features classifier:C --reference digits --resize tf1', 'own size'),
    (
      '--features classifier:C --reference digits --steps 3',
      '--steps has no ef',
    ),
    ('--features clip:C --reference digits', 'must hold a CLIP'),
    ('--features classifier:C --reference s.npz --floor', 'two splits'),
    ('--features classifier:C --reference s.npz --image-size 6', 'image-size'),
    (
      '--features classifier:C --reference digits --labels train',
      '--labels has no',
    ),
    (
      '--features classifier:C --reference digits --num 1',
      'at least 2 samples',
    ),
    ('--features classifier:C --reference digits --num 99', r'1 .. 12.*got 99'),
  ],
)
def test_what_is_wrong_is_said(flags, message, trained, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  np.savez('x.npz', arr_0=np.zeros((12, 4, 4, 3), np.uint8))
  np.savez('s.npz', arr_0=noise(12))
  flags = flags.replace('classifier:C', f'classifier:{trained[0]}')
  cache = ['--cache', str(tmp_path / 'cache')]
  with pytest.raises(SystemExit, match=message):
    main(['fid', '--samples', 's.npz', *flags.split(), *cache])


@pytest.mark.parametrize(
  ('flags', 'message'),
  [
    ('--sampler ancestral:huge', 'small or large'),
    ('--sampler heun --eta 1', '--eta is for ddim'),
    ('--temperature 0.5', '--temperature'),
    ('--block 3', '--block'),
    ('--sampler ddim(eta=0.5) --eta 1', '--eta is for'),
    ('--sampler dpmpp_2m_sde --eta 1', '--eta is for .*dpmpp_sde.0.5'),
    ('--num-processes 2', 'need --coordinator'),
    ('--out /', 'is a folder'),
  ],
)
def test_flags_without_effect_on_a_run(workdir, trained, flags, message):
  command = ['fid', '--samples', str(workdir), '--num', '16']
  command += ['--features', f'classifier:{trained[0]}', *flags.split()]
  with pytest.raises(SystemExit, match=message):
    main(command)


def test_few_images_have_the_metrics_they_can(trained, tmp_path):
  np.savez(tmp_path / 'x.npz', arr_0=noise(3))
  flags = ['--reference', 'digits', '--metrics', 'all']
  result = fid(tmp_path / 'x.npz', trained, tmp_path, *flags)
  assert fd(result) > 0 and len(result['metrics']) == 2
  assert any('no kernel distance' in text for text in result['warnings'])
