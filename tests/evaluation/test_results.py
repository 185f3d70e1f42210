"""References and their cache, and the result cards."""

import json
import shutil
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest

from jaxdiff import data, parallel
from jaxdiff.evaluation import (
  features,
  frechet,
  images,
  metrics,
  references,
  spaces,
)
from jaxdiff.evaluation.flags import Drawing
from jaxdiff.evaluation.spaces import FeatureSpace
from jaxdiff.generation.flags import suffix
from jaxdiff.parallel.batches import local_range
from jaxdiff.pretrained import resize
from jaxdiff.runs import results

SPACE = FeatureSpace('classifier', 'digits, seed 0', 'ab' * 32, 'none')
INCEPTION = FeatureSpace(
  spaces.INCEPTION, 'published', spaces.INCEPTION_SHA256, 'tf1'
)


def pixels(num=7, size=4, channels=3):
  shape = (num, size, size, channels)
  return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def read(path):
  return images.parse(str(path)).load()


def features_of(x):
  flat = x.reshape(len(x), -1).astype(np.float32)
  return {'pool': flat[:, :5], 'spatial': flat[:, 5:9]}


def reference(tmp_path, x, space=SPACE, calls=None):
  np.savez(tmp_path / 'x.npz', arr_0=x)

  def compute():
    if calls is not None:
      calls.append(1)
    return {k: frechet.moments(f) for k, f in features_of(x).items()}

  source = read(tmp_path / 'x.npz')
  return references.cached(source, space, compute, tmp_path / 'cache')


def test_a_reference_is_computed_once(tmp_path):
  calls = []
  first = reference(tmp_path, pixels(), calls=calls)
  again = reference(tmp_path, pixels(), calls=calls)
  assert len(calls) == 1
  assert again.sha256 == first.sha256 and again.num == first.num == 7
  assert again.name == str(tmp_path / 'x.npz')
  for name, (mean, cov, num) in first.features.items():
    np.testing.assert_array_equal(again.features[name].mean, mean)
    np.testing.assert_array_equal(again.features[name].cov, cov)
    assert again.features[name].num == num == 7
    assert again.features[name].cov.dtype == np.float64
  # Anything else makes another.
  reference(tmp_path, pixels()[:5], calls=calls)
  for field in SPACE._fields:
    reference(tmp_path, pixels(), SPACE._replace(**{field: 'other'}), calls)
  assert len(calls) == 6
  assert len(list((tmp_path / 'cache').iterdir())) == 6


def test_a_damaged_cache_is_computed_again(tmp_path, capsys):
  exact = reference(tmp_path, pixels())
  (path,) = (tmp_path / 'cache').iterdir()
  whole = path.read_bytes()
  changed = [whole[:length] for length in (0, 10, len(whole) - 1)]
  for place in range(0, len(whole), 97):
    flipped = bytearray(whole)
    flipped[place] ^= 4
    changed.append(bytes(flipped))
  for content in changed:
    path.write_bytes(content)
    calls = []
    found = reference(tmp_path, pixels(), calls=calls)
    assert calls == [1] and path.read_bytes() == whole
    assert f'{path} is damaged' in capsys.readouterr().err
    cov = found.features['pool'].cov
    np.testing.assert_array_equal(cov, exact.features['pool'].cov)


def test_published_statistics(tmp_path):
  rng = np.random.default_rng(0)
  x, y = rng.normal(size=(2, 30, 5)).astype(np.float32)
  a, b = frechet.moments(x), frechet.moments(y)
  path = tmp_path / 'stats.npz'
  np.savez(path, mu=a.mean, sigma=a.cov, mu_s=b.mean, sigma_s=b.cov)
  assert references.has_statistics(path)
  found = references.read_statistics(path, INCEPTION)
  assert found.num is None and len(found.sha256) == 64
  ours = {'pool': y, 'spatial': y}
  values, _ = metrics.measure(INCEPTION, ours, found.features)
  assert abs(values['FID']['value'] - frechet.distance(a, b)) < 1e-9
  assert abs(values['sFID']['value']) < 1e-9

  np.savez(path, mu=a.mean, sigma=a.cov)
  assert list(references.read_statistics(path, INCEPTION).features) == ['pool']
  with pytest.raises(ValueError, match='give the reference images'):
    references.read_statistics(path, SPACE)
  np.savez(path, mu=a.mean)
  assert not references.has_statistics(path)
  with pytest.raises(ValueError, match='mu and sigma'):
    references.read_statistics(path, INCEPTION)
  with pytest.raises(FileNotFoundError):
    references.read_statistics(tmp_path / 'nowhere.npz', INCEPTION)


def test_a_result_is_stamped(tmp_path, capsys):
  value = {'FD (a/pool, b)': {'value': 1.25, 'standard_error': float('nan')}}
  path = tmp_path / 'below' / 'fd.json'
  result = results.save(
    path,
    {'metrics': value, 'terms': [(1.0, float('inf'))], 'warnings': ['few']},
    'shown',
  )
  found = json.loads(path.read_text())
  assert found == json.loads(json.dumps(result))
  assert [p.name for p in path.parent.iterdir()] == ['fd.json']
  values = found['metrics']['FD (a/pool, b)']
  assert values == {'value': 1.25, 'standard_error': None}
  assert found['terms'] == [[1.0, None]] and found['warnings'] == ['few']
  assert len(found['commit']) >= 7 and found['versions']['jax'][0].isdigit()
  assert found['date'].startswith('20')
  printed = capsys.readouterr()
  assert printed.out == f'shown\n{path}\n'
  assert printed.err == 'warning: few\n'


def test_the_data_of_a_result():
  train, test = data.load('digits'), data.load('digits', 'test')
  (a, b) = results.of_data(train, test)
  assert (a['name'], a['split'], a['num']) == ('digits', 'train', 1497)
  # That of the data set, whatever the split.
  assert a['sha256'] == b['sha256'] == train.digest()


def test_what_is_not_default_is_in_the_name():
  assert suffix(Drawing()) == ''
  names = {
    suffix(Drawing(**flags))
    for flags in (
      {'eta': 0.0},
      {'eta': 1.0},
      {'scale': 2.0},
      {'seed': 1},
      {'ema': False},
      {'labels': 'test'},
      {'times': 'quadratic'},
    )
  }
  assert len(names) == 7 and {'_eta0', '_eta1', '_scale2', '_seed1'} < names
  assert suffix(Drawing(seed=3), 'seed') == ''


def test_from_images_to_metrics(tmp_path):
  """29 images against 31, whatever the batch size."""
  rng = np.random.default_rng(0)
  draw = lambda num: rng.integers(0, 256, (num, 5, 5, 1), np.uint8)
  np.savez(tmp_path / 'reference.npz', arr_0=draw(31))
  np.savez(tmp_path / 'samples.npz', arr_0=draw(29))
  weights = rng.normal(size=(12, 12, 3)).astype(np.float32)
  rule = resize.RULES['tf1'](6)
  space = SPACE._replace(resize='tf1')

  def feature_fn(params, x):
    x = rule.device(x).reshape(len(x), 9, 12)
    return {'pool': jnp.einsum('bij,jjk->bk', x, params, precision='highest')}

  def value(batch_size, folder):
    mesh = parallel.make_mesh()
    run = features.extraction(feature_fn, weights, mesh=mesh, prepare=rule.host)

    def moments(source):
      span = local_range(len(source))
      return features.reduce(run(images.batches(source, batch_size, *span)), [])

    against = read(tmp_path / 'reference.npz')
    compute = lambda: moments(against)
    found = references.cached(against, space, compute, folder)
    ours = moments(read(tmp_path / 'samples.npz'))
    values, _ = metrics.measure(space, ours, found.features)
    return values['FD (classifier/pool, digits, seed 0)']['value']

  first = value(4, tmp_path / 'a')
  assert first > 0
  for again in (value(29, tmp_path / 'b'), value(5, tmp_path / 'a')):
    np.testing.assert_allclose(again, first, 1e-4)


@pytest.mark.slow
def test_the_commit_of_a_checkout_and_elsewhere(tmp_path, monkeypatch):
  """A copy of the package in a repository of its own, then untracked in it."""
  git = shutil.which('git')
  if git is None:
    pytest.skip('no git')

  def run(*args):
    command = [git, '-C', str(tmp_path), '-c', 'user.name=a']
    command += ['-c', 'user.email=a@b', *args]
    return subprocess.run(command, check=True, capture_output=True, text=True)

  package = tmp_path / 'jaxdiff'
  shutil.copytree(
    results.Path(results.__file__).parents[1],
    package,
    ignore=shutil.ignore_patterns('__pycache__'),
  )
  script = 'from jaxdiff.runs import results; print(results.commit())'

  def commit(**environment):
    result = subprocess.run(
      [sys.executable, '-B', '-c', script],
      cwd=tmp_path,
      env={'PYTHONPATH': str(tmp_path), 'PATH': '/usr/bin:/bin'} | environment,
      capture_output=True,
      text=True,
      timeout=60,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()

  run('init', '-q')
  run('commit', '-q', '--allow-empty', '-m', 'empty')
  assert commit().startswith('version ')  # below a checkout, not of it
  run('add', 'jaxdiff')
  run('commit', '-q', '-m', 'all')
  head = run('rev-parse', 'HEAD').stdout.strip()
  assert commit() == head
  (package / '__init__.py').write_text('')
  assert commit() == head + '-dirty'
  assert commit(PATH='/nowhere').startswith('version ')
