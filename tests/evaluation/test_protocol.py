"""Images, references and their caches, and what is written beside a number."""

import json
import shutil
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxdiff import parallel
from jaxdiff.data.dataset import Dataset
from jaxdiff.evaluation import (
  features,
  frechet,
  images,
  metrics,
  protocol,
  references,
  resize,
  spaces,
)
from jaxdiff.evaluation.spaces import FeatureSpace

SPACE = FeatureSpace('classifier', 'digits, seed 0', 'ab' * 32, 'none')
INCEPTION = FeatureSpace(
  spaces.INCEPTION, 'published', spaces.INCEPTION_SHA256, 'tf1'
)


def pixels(num=7, size=4, channels=3):
  shape = (num, size, size, channels)
  return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def everything(source, batch_size=3):
  batches = list(source.batches(batch_size, 0, source.num))
  assert all(b.dtype == np.uint8 for b in batches)
  assert [len(b) for b in batches[:-1]] == [batch_size] * (len(batches) - 1)
  return np.concatenate(batches)


def write_folder(path, x):
  path.mkdir()
  for i, image in enumerate(x):
    image = image[..., 0] if image.shape[-1] == 1 else image
    Image.fromarray(image).save(path / f'{i:03d}.png')
  (path / 'metadata.json').write_text('{}')
  return path


@pytest.mark.parametrize('channels', [1, 3])
def test_one_set_of_images_wherever_it_is(tmp_path, channels):
  x = pixels(channels=channels)
  np.savez(tmp_path / 'plain.npz', arr_0=x, arr_1=np.arange(7))
  np.savez_compressed(tmp_path / 'small.npz', arr_0=x)
  gather = lambda indices: {'x0': x[indices]}
  dataset = Dataset('set', 'test', 'image', 7, x.shape[1:], None, gather)
  sources = [
    images.read(source)
    for source in (
      dataset,
      tmp_path / 'plain.npz',
      str(tmp_path / 'small.npz'),
      write_folder(tmp_path / 'folder', x),
    )
  ]
  assert sources[0].name == 'set test'
  for source in sources:
    assert source.num == 7 and source.shape == x.shape[1:]
    np.testing.assert_array_equal(everything(source), x)
    (part,) = source.batches(9, 2, 5)
    np.testing.assert_array_equal(part, x[2:5])
  assert len({images.digest(source) for source in sources}) == 1
  assert images.digest(sources[0], 2) == images.digest(sources[1], 100)


def test_the_digest_sees_every_pixel_the_order_and_the_shape(tmp_path):
  x = pixels()
  other = x.copy()
  other[-1, -1, -1, -1] ^= 1
  variants = [x, other, x[::-1], x[:-1], x.reshape(7, 2, 8, 3)]
  digests = set()
  for variant in variants:
    np.savez(tmp_path / 'x.npz', arr_0=np.ascontiguousarray(variant))
    digests.add(images.digest(images.read(tmp_path / 'x.npz')))
  assert len(digests) == len(variants)


def test_the_first_of_them(tmp_path):
  np.savez(tmp_path / 'x.npz', arr_0=pixels())
  few = images.read(tmp_path / 'x.npz', 5)
  np.testing.assert_array_equal(everything(few), pixels()[:5])
  with pytest.raises(ValueError, match='8 images are asked for.*has 7'):
    images.read(tmp_path / 'x.npz', 8)


def test_images_that_are_refused(tmp_path):
  folder = write_folder(tmp_path / 'folder', pixels())
  Image.fromarray(pixels(1, 6)[0]).save(folder / '100.png')
  with pytest.raises(ValueError, match='one size'):
    images.read(folder)
  for missing in ('nowhere', 'nowhere.npz'):
    with pytest.raises(FileNotFoundError, match='nowhere'):
      images.read(tmp_path / missing)
  (tmp_path / 'empty').mkdir()
  with pytest.raises(FileNotFoundError, match='no image'):
    images.read(tmp_path / 'empty')
  path = tmp_path / 'x.npz'
  for arrays in (
    {'arr_0': pixels().astype(np.float32)},
    {'arr_0': pixels()[0]},
    {'arr_0': pixels()[:0]},
    {'mu': np.zeros(3)},
  ):
    np.savez(path, **arrays)
    with pytest.raises(ValueError, match='arr_0'):
      images.read(path)
  np.savez(path, arr_0=pixels())
  whole, source = bytearray(path.read_bytes()), images.read(path)
  whole[300] ^= 1
  path.write_bytes(whole)
  with pytest.raises(ValueError, match='arr_0.*CRC'):
    everything(source)
  path.write_bytes(b'nothing of the kind')
  with pytest.raises(ValueError, match='arr_0'):
    images.read(path)


def features_of(x):
  flat = x.reshape(len(x), -1).astype(np.float32)
  return {'pool': flat[:, :5], 'spatial': flat[:, 5:9]}


def reference(tmp_path, x, space=SPACE, calls=None):
  np.savez(tmp_path / 'x.npz', arr_0=x)

  def compute():
    if calls is not None:
      calls.append(1)
    return {k: frechet.moments(f) for k, f in features_of(x).items()}

  source = images.read(tmp_path / 'x.npz')
  return references.cached(source, space, compute, tmp_path / 'cache')


def test_a_reference_is_computed_once(tmp_path):
  calls = []
  first = reference(tmp_path, pixels(), calls=calls)
  again = reference(tmp_path, pixels(), calls=calls)
  assert len(calls) == 1
  assert again.sha256 == first.sha256 and again.num == first.num == 7
  assert again.name == str(tmp_path / 'x.npz')
  for name, (mean, cov, num) in first.moments.items():
    np.testing.assert_array_equal(again.moments[name].mean, mean)
    np.testing.assert_array_equal(again.moments[name].cov, cov)
    assert again.moments[name].num == num == 7
  # Anything else makes another.
  reference(tmp_path, pixels()[:5], calls=calls)
  for field in SPACE._fields:
    reference(tmp_path, pixels(), SPACE._replace(**{field: 'other'}), calls)
  assert len(calls) == 6
  assert len(list((tmp_path / 'cache').iterdir())) == 6


def test_a_damaged_cache_is_refused(tmp_path):
  reference(tmp_path, pixels())
  (path,) = (tmp_path / 'cache').iterdir()
  whole = path.read_bytes()
  # Among them the zip's own headers, which its checksums do not cover.
  for place in range(0, len(whole), 97):
    changed = bytearray(whole)
    changed[place] ^= 4
    path.write_bytes(changed)
    try:
      found = reference(tmp_path, pixels())
    except ValueError as error:
      assert 'cached reference' in str(error)
    else:
      # Bytes that mean nothing, such as a file's date.
      exact = frechet.moments(features_of(pixels())['pool'])
      np.testing.assert_array_equal(found.moments['pool'].cov, exact.cov)
  for length in (0, 10, len(whole) // 2, len(whole) - 1):
    path.write_bytes(whole[:length])
    with pytest.raises(ValueError, match='damaged.*delete it'):
      reference(tmp_path, pixels())


def test_a_cache_of_something_else_is_refused(tmp_path):
  mine = reference(tmp_path, pixels())
  (path,) = (tmp_path / 'cache').iterdir()
  with pytest.raises(ValueError, match="space: .*'tf1'"):
    references.load(path, mine.sha256, SPACE._replace(resize='tf1'))
  with pytest.raises(ValueError, match='images_sha256'):
    references.load(path, 'f' * 64, SPACE)
  # Arrays that are valid, but not those of the header.
  with np.load(path) as file:
    arrays = dict(file)
  arrays['mean/pool'] = arrays['mean/pool'] + 1e-9
  np.savez(path, **arrays)
  with pytest.raises(ValueError, match='not what was written'):
    references.load(path, mine.sha256, SPACE)
  moments = {'pool': frechet.moments(np.ones((3, 2)))}
  with pytest.raises(ValueError, match='of 3 examples'):
    references.save(path, mine._replace(moments=moments), SPACE)


def test_published_statistics(tmp_path):
  rng = np.random.default_rng(0)
  x, y = rng.normal(size=(2, 30, 5)).astype(np.float32)
  a, b = frechet.moments(x), frechet.moments(y)
  path = tmp_path / 'stats.npz'
  np.savez(path, mu=a.mean, sigma=a.cov, mu_s=b.mean, sigma_s=b.cov)
  assert references.has_statistics(path)
  found = references.read_statistics(path, INCEPTION)
  assert found.num is None and len(found.sha256) == 64
  result = metrics.measure(INCEPTION, {'pool': y, 'spatial': y}, found.moments)
  assert abs(result['FID']['value'] - frechet.distance(a, b)) < 1e-9
  assert abs(result['sFID']['value']) < 1e-9

  np.savez(path, mu=a.mean, sigma=a.cov)
  assert list(references.read_statistics(path, INCEPTION).moments) == ['pool']
  with pytest.raises(ValueError, match='give the reference images'):
    references.read_statistics(path, SPACE)
  np.savez(path, mu=a.mean)
  assert not references.has_statistics(path)
  with pytest.raises(ValueError, match='mu and sigma'):
    references.read_statistics(path, INCEPTION)
  with pytest.raises(FileNotFoundError):
    references.read_statistics(tmp_path / 'nowhere.npz', INCEPTION)


def described(**changes):
  settings = {
    'space': SPACE,
    'num_samples': 50_000,
    'reference': 'set train',
    'reference_sha256': '12' * 32,
    'num_references': 60_000,
    'sampler': 'ddim',
    'scale': 1.5,
  }
  return protocol.Protocol(**settings | changes)


def test_the_stamp_says_everything(tmp_path):
  value = {'FD (a/pool, b)': {'value': 1.25, 'standard_error': float('nan')}}
  floor = {'FD (a/pool, b)': {'value': 0.5}}
  result = protocol.stamp(value, described(), floor=floor)
  path = tmp_path / 'below' / 'fd.json'
  protocol.write(result, path)
  read = json.loads(path.read_text())
  assert read == result
  assert [p.name for p in path.parent.iterdir()] == ['fd.json']
  assert read['metrics']['FD (a/pool, b)'] == {
    'value': 1.25,
    'standard_error': None,
  }
  assert read['floor'] == floor and read['warnings'] == []
  assert read['space'] == SPACE._asdict() and read['labels'] == 'none'
  assert set(protocol.Protocol._fields) < set(read)
  assert len(read['commit']) >= 7 and read['versions']['jax'][0].isdigit()
  with pytest.raises(ValueError, match='FD is nan'):
    protocol.stamp({'FD': {'value': float('nan')}}, described())


def test_warnings():
  warnings = lambda **changes: protocol.stamp({}, described(**changes))[
    'warnings'
  ]
  (few,) = warnings(num_samples=49_999)
  assert '49999 samples' in few
  (unknown,) = warnings(num_references=None)
  assert "'none'" in unknown
  assert warnings(reference=None, num_references=None) == []


def test_from_images_to_a_result(tmp_path):
  """All of it on 29 images against 31, whatever the batch size."""
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

  def result(batch_size, directory):
    options = {'mesh': parallel.make_mesh(), 'prepare': rule.host}

    def stream(source):
      batches = source.batches(batch_size, *features.share(source.num))
      return features.stream(feature_fn, weights, batches, **options)

    samples = images.read(tmp_path / 'samples.npz')
    against = images.read(tmp_path / 'reference.npz')
    compute = lambda: features.join_moments(frechet.accumulate(stream(against)))
    found = references.cached(against, space, compute, directory)
    moments = features.join_moments(frechet.accumulate(stream(samples)))
    return protocol.stamp(
      metrics.measure(space, moments, found.moments),
      protocol.Protocol(
        space,
        samples.num,
        reference=found.name,
        reference_sha256=found.sha256,
        num_references=found.num,
        samples_sha256=images.digest(samples),
      ),
    )

  first = result(4, tmp_path / 'a')
  (name,) = first['metrics']
  assert name == 'FD (classifier/pool, digits, seed 0)'
  assert first['metrics'][name]['value'] > 0
  assert (first['num_samples'], first['num_references']) == (29, 31)
  for again in (result(29, tmp_path / 'b'), result(5, tmp_path / 'a')):
    value = again['metrics'].pop(name)['value']
    np.testing.assert_allclose(value, first['metrics'][name]['value'], 1e-4)
    assert again['reference_sha256'] == first['reference_sha256']


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
    protocol.Path(protocol.__file__).parents[1],
    package,
    ignore=shutil.ignore_patterns('__pycache__'),
  )
  script = 'from jaxdiff.evaluation import protocol; print(protocol.commit())'

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
