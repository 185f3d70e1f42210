"""python -m jaxdiff.evaluation fid and clip-score, and what they stand on."""

import dataclasses
import itertools
import json

import jax
import numpy as np
import pytest
import safetensors.numpy
from measured import make_classifier, make_run
from networks import test_clip

from jaxdiff import build, conditioning, data, tokenizers
from jaxdiff import config as configs
from jaxdiff.evaluation import (
  blocks,
  extractors,
  frechet,
  generate,
  images,
  inloop,
  measuring,
  named,
  spaces,
  subjects,
)
from jaxdiff.evaluation.__main__ import main
from jaxdiff.evaluation.clip_score import clip_score
from jaxdiff.evaluation.flags import Against
from jaxdiff.evaluation.images import Images
from jaxdiff.networks.inception import Inception
from jaxdiff.pretrained.inception_weights import InceptionWeights


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
  # Of as many real images as samples.
  exact = frechet.distance(pool(trained, real('test', 40)['x0']), train)
  floor = result['floor']['FD (classifier/pool, digits, seed 0)']['value']
  np.testing.assert_allclose(floor, exact, rtol=1e-3)
  assert result['options']['floor'] == 'digits test'

  assert result['num_samples'] == 40 and result['num_references'] == 1497
  assert result['reference'] == 'digits train'
  assert result['samples_sha256'] == images.digest(
    images.read(tmp_path / 'x.npz')
  )
  assert result['options']['classifier_test_accuracy'] == 0.125
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
  assert result['scale'] == 2.0 and result['checkpoint'] == 'step 3, average'
  assert len(result['metrics']) == 7

  machine = measuring.machine()
  run = build.load_run(workdir, machine.mesh)
  traced = {
    **build.options(
      run.config,
      cond={'label': np.arange(10)},
      null={'label': np.array([10])},
    ),
    'seed': 5,
    'scale': 2.0,
  }
  draw = jax.jit(build.make_sampler(run.config, run.spec))
  drawn = np.asarray(draw(run.params, traced, np.arange(24)))
  x = np.clip(np.rint((drawn + 1) * 127.5), 0, 255).astype(np.uint8)
  exact = frechet.distance(pool(trained, x), pool(trained, noise(24, 1)))
  np.testing.assert_allclose(fd(result), exact, rtol=2e-2)


def test_in_the_loop(workdir, trained, tmp_path):
  run = build.load_run(workdir, measuring.machine().mesh)
  config = dataclasses.replace(run.config, workdir=str(tmp_path / 'run'))
  evaluate = inloop.make(
    config, run.spec, features=f'classifier:{trained[0]}', num=16, batch_size=16
  )
  values = evaluate(run.params, 7)
  folder = tmp_path / 'run' / 'evaluation'
  result = json.loads((folder / '0000007.json').read_text())
  assert (
    result['num_samples'] == 16 and result['labels'] == 'as in digits train'
  )
  assert values['FD (classifier/pool, digits, seed 0)'] == fd(result)
  # Other weights, other samples: nothing is taken from the last time.
  other = jax.tree.map(lambda x: x + 0.5, run.params)
  assert evaluate(other, 8) != values


def test_every_sample_has_its_own_condition(workdir):
  mesh = measuring.machine().mesh
  run = build.load_run(workdir, mesh)

  def draw(params, options, index):
    cond = conditioning.rows(options['cond'], index)['label']
    value = np.asarray(cond, np.float32) / 127.5 - 1
    return np.broadcast_to(value[:, None, None, None], (len(index), 8, 8, 1))

  for policy in ('train', 'uniform'):
    asked = generate.asked_as(policy, run, workdir)
    expected = asked.rows(np.arange(50))['label']
    for size, start in ((8, 0), (24, 0), (24, 13)):
      source = generate.images(
        run, draw, asked, mesh, num=50, seed=0, batch_size=size
      )
      parts = list(source.batches(99, start, 50))
      found = np.concatenate(parts)[:, 0, 0, 0]
      np.testing.assert_array_equal(found, expected[start:])
  # As in the training set: each of its labels once, then again.
  labels = data.load('digits').gather(np.arange(1497))['label']
  asked = generate.asked_as('train', run, workdir).rows(np.arange(2 * 1497))
  count = lambda x: np.bincount(x, minlength=10)
  np.testing.assert_array_equal(count(asked['label']), 2 * count(labels))
  assert np.any(asked['label'][:50] != labels[:50])


def test_blocks_go_on_and_are_checked(tmp_path, capsys):
  x = noise(23)
  source = Images(
    'x',
    23,
    (8, 8, 1),
    lambda b, i, j: iter([x[k : min(k + b, j)] for k in range(i, j, b)]),
  )
  seen = []

  def extract(batches, most=99):
    for batch in batches:
      if len(seen) + len(batch) > most:
        raise KeyboardInterrupt
      seen.extend(batch[:, 0, 0, 0])
      yield {'pool': batch.reshape(len(batch), -1)[:, :3].astype(np.float32)}

  options = {'batch_size': 4, 'block_size': 10}
  read = lambda fn: list(blocks.read(source, 2, 23, fn, tmp_path, **options))
  with pytest.raises(KeyboardInterrupt):
    read(lambda batches: extract(batches, 17))
  seen.clear()
  found = np.concatenate([part['pool'] for part in read(extract)])
  np.testing.assert_array_equal(found, x[2:].reshape(21, -1)[:, :3])
  # Of 2-12 the features were there; 12-22 and 22-23 were not.
  np.testing.assert_array_equal(seen, x[12:, 0, 0, 0])

  seen.clear()
  (path,) = tmp_path.glob('12-22.*')
  content = bytearray(path.read_bytes())
  content[-3] ^= 1
  path.write_bytes(content)
  again = np.concatenate([part['pool'] for part in read(extract)])
  np.testing.assert_array_equal(again, found)
  np.testing.assert_array_equal(seen, x[12:22, 0, 0, 0])
  assert 'damaged' in capsys.readouterr().out


@pytest.mark.parametrize(
  ('source', 'expected'),
  [
    ('digits', named.Named('digits', 'train')),
    ('captioned_shapes:test', named.Named('captioned_shapes', 'test')),
    ('tfds:cifar10', named.Named('tfds:cifar10', 'train')),
    ('tfds:mnist:3.0.1', named.Named('tfds:mnist:3.0.1', 'train')),
    ('tfds:mnist:3.0.1:test', named.Named('tfds:mnist:3.0.1', 'test')),
    ('folder:a/b:test', named.Named('folder:a/b', 'test')),
    ('folder:C:b', named.Named('folder:C:b', 'train')),
  ],
)
def test_names_of_references(source, expected):
  assert named.parse(source) == expected
  assert named.other_split(expected).split != expected.split


@pytest.mark.parametrize(
  ('flags', 'message'),
  [
    ('--reference digits', r'fetch pt_inception.*https.*classifier:WORKDIR'),
    ('--features classifier:C', 'reference is needed'),
    ('--features classifier:none --reference digits', 'no classifier in none'),
    ('--features vgg --reference digits', "inception, clip:.*got 'vgg'"),
    ('--features classifier:C --reference x.npz', r'8, 8, 1.*4, 4, 3'),
    ('--features classifier:C --reference digits --resize tf1', 'own size'),
    ('--features classifier:C --reference digits --steps 3', 'no use'),
    ('--features clip:C --reference digits', 'must hold a CLIP'),
    ('--features classifier:C --reference s.npz --floor', 'two splits'),
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


def test_how_a_run_may_be_drawn(workdir):
  run = build.load_run(workdir, measuring.machine().mesh)
  config = dataclasses.replace(run.config, condition=configs.Condition())
  free = run._replace(config=config)
  assert generate.asked_as('train', free, workdir).name == 'none'
  for call in (
    lambda: generate.chosen(free, scale=3.0),
    lambda: generate.asked_as('uniform', free, workdir),
    lambda: generate.asked_as('train', run, workdir, ['a cat']),
  ):
    with pytest.raises(ValueError, match='no condition|takes label'):
      call()
  assert generate.chosen(run, scale=3.0).config.sampling.scale == 3.0
  large = generate.chosen(run, sampler='ancestral:large').config
  assert large.diffusion.variance == 'large'
  assert large.sampling.sampler == 'ancestral'
  with pytest.raises(ValueError, match='small or large'):
    generate.chosen(run, sampler='ancestral:huge')


@pytest.fixture(scope='module')
def clip_folder(tmp_path_factory):
  """A CLIP of a few thousand weights, as open_clip lays it out."""
  folder = tmp_path_factory.mktemp('clips') / 'small'
  folder.mkdir()
  state = test_clip.open_clip()
  table = np.random.default_rng(0).normal(size=(49_408, 16))
  state['token_embedding.weight'] = table.astype(np.float32)
  state = {name: np.array(x, order='C') for name, x in state.items()}
  safetensors.numpy.save_file(state, folder / 'open_clip_model.safetensors')
  config = {
    'embed_dim': 8,
    'quick_gelu': True,
    'vision_cfg': {
      'image_size': 12,
      'layers': 1,
      'width': 12,
      'head_width': 4,
      'patch_size': 4,
      'mlp_ratio': 20 / 12,
    },
    'text_cfg': {
      'context_length': 7,
      'vocab_size': 49_408,
      'width': 16,
      'heads': 2,
      'layers': 1,
      'mlp_ratio': 1.5,
    },
  }
  path = folder / 'open_clip_config.json'
  path.write_text(json.dumps({'model_cfg': config}))
  # As many merges as CLIP has, none of which is needed.
  letters = tokenizers._byte_symbols()
  pairs = itertools.islice(itertools.product(letters, letters), 48_894)
  lines = ['#version', *(f'{a} {b}' for a, b in pairs), '']
  (folder / 'merges.txt').write_text('\n'.join(lines))
  return folder


def test_clip_score(clip_folder, tmp_path, capsys):
  pytest.importorskip('tokenizers')
  rng = np.random.default_rng(0)
  x = rng.integers(0, 256, (5, 12, 12, 3), np.uint8)
  np.savez(tmp_path / 'x.npz', arr_0=x)
  lines = ['a cat', 'two dogs']
  (tmp_path / 'prompts.txt').write_text('\n'.join(lines))
  out = tmp_path / 'score.json'
  flags = f'--weights {clip_folder} --prompts {tmp_path / "prompts.txt"}'
  samples = ['--samples', str(tmp_path / 'x.npz'), '--out', str(out)]
  main(['clip-score', *samples, *flags.split()])
  result = json.loads(out.read_text())

  weights = extractors.read_clip(clip_folder)
  assert weights.network.vision == test_clip.VISION
  tokens = tokenizers.clip_tokenizer(clip_folder, 7).encode(lines)
  extractor = extractors.clip(weights, 'small')
  seen = jax.jit(extractor.feature_fn)(extractor.params, extractor.rule.host(x))
  read = jax.jit(extractors.text_fn(weights.network))(weights.params, tokens)
  pairs = np.asarray(read['text'])[[0, 1, 0, 1, 0]]
  exact = clip_score(np.asarray(seen['image']), pairs)
  ((name, score),) = result['metrics'].items()
  assert name == 'CLIP score (clip-vit-w12-4-12, small)'
  np.testing.assert_allclose(score['value'], exact.value, rtol=1e-5)
  assert result['warnings'] == [] and result['options']['prompts'] == 2
  assert 'against their prompts' in capsys.readouterr().out


def test_a_distance_by_clip_is_named_so(clip_folder, tmp_path):
  for name in ('x', 'y'):
    rng = np.random.default_rng(len(name))
    x = rng.integers(0, 256, (6, 12, 12, 3), np.uint8)
    np.savez(tmp_path / f'{name}.npz', arr_0=x)
  paths = [str(tmp_path / f'{name}.npz') for name in 'xy']
  flags = ['--features', f'clip:{clip_folder}', '--out', str(tmp_path / 'o')]
  flags += ['--cache', str(tmp_path / 'cache')]
  main(['fid', '--samples', paths[0], '--reference', paths[1], *flags])
  result = json.loads((tmp_path / 'o').read_text())
  ((name, distance),) = result['metrics'].items()
  assert name == 'FD (clip-vit-w12-4-12/image, small)'
  # The same images twice.
  assert abs(distance['value']) < 1e-4
  assert result['space']['resize'] == 'clip'
  assert not spaces.is_published(spaces.FeatureSpace(**result['space']))


def test_inception_gives_what_the_metrics_take(monkeypatch, tmp_path):
  blank = jax.ShapeDtypeStruct((1, 299, 299, 3), np.float32)
  shapes = jax.eval_shape(Inception().init, jax.random.key(0), blank)
  weights = InceptionWeights(shapes['params'], spaces.INCEPTION_SHA256)
  monkeypatch.setattr(extractors, 'load_inception', lambda path: weights)
  found = extractors.load('inception', 'pt_inception.pth', 'tf1')
  images = jax.ShapeDtypeStruct((2, 32, 32, 3), np.uint8)
  features = jax.eval_shape(found.feature_fn, found.params, images)
  assert {name: x.shape for name, x in features.items()} == {
    'pool': (2, 2048),
    'spatial': (2, 2023),
    'logits': (2, 1008),
  }
  assert found.space.resize == 'tf1' and spaces.is_published(found.space)
  # The resize rule of published statistics, unless told.
  np.savez(tmp_path / 'adm.npz', mu=np.zeros(2), sigma=np.zeros((2, 2)))
  against = Against(weights='pt_inception.pth')
  rule = lambda path: subjects.extractor_of(against, path).space.resize
  assert rule(tmp_path / 'adm.npz') == 'tf1'
  assert rule(tmp_path / 'images.npz') == 'pytorch-fid'
