"""The cache of latents: the same loss as without, and no other's latents."""

import dataclasses
import os

import jax
import numpy as np
import pytest
import tiny

from jaxdiff import config as c
from jaxdiff import data, models
from jaxdiff.data.dataset import in_memory
from jaxdiff.runs import examples, latent_cache


@pytest.fixture(scope='module')
def made(tmp_path_factory):
  """A configuration of latents of the digits with a cache, and its spec."""
  config = dataclasses.replace(
    tiny.config,
    latent=c.Latent(autoencoder='wherever', num=128),
    sampling=c.Sampling(steps=2, num=4, threshold='none'),
  )
  folder = tmp_path_factory.mktemp('autoencoder')
  config, spec = tiny.with_latents(config, tiny.SPEC, folder)
  cache = str(tmp_path_factory.mktemp('cache'))
  return tiny.changed(config, latent={'cache': cache}), spec


@pytest.fixture(autouse=True)
def short_files(monkeypatch):
  monkeypatch.setattr(latent_cache, 'SHARD', 40)


def images(num=100, seed=0, **more):
  rng = np.random.default_rng(seed)
  arrays = {
    'x0': rng.integers(0, 256, (num, 8, 8, 1), np.uint8),
    'label': np.arange(num, dtype=np.int32) % 10,
    'caption': np.array([f'número {i}' for i in range(num)], object),
    **more,
  }
  content = lambda: [('images', arrays['x0'].tobytes())]
  return in_memory('made', 'train', 'image', arrays, 10, content=content)


def cached(dataset, config, folder):
  return latent_cache.cached(dataset, config.latent.autoencoder, str(folder))


@pytest.mark.slow
def test_the_training_loss_is_that_of_images(made, tmp_path):
  config, spec = made
  model = models.make(config, spec)
  params = tiny.random_params(config, spec)
  alone = tiny.changed(config, latent={'cache': None})
  losses = []
  for c_ in (config, alone):
    found = examples.load(c_, tmp_path, training=True)
    batches = data.batches(found.dataset, 8, seed=0, start_step=3)
    batch = next(batches)
    batches.close()
    batch['u'] = np.linspace(0.1, 0.9, 8, dtype=np.float32)
    keys = jax.random.split(jax.random.key(0), 8)
    losses.append(jax.jit(model.loss)(params, keys, batch)[0])
    assert found.spec.latents['shape'] == (4, 4, 2)
  np.testing.assert_allclose(*losses, rtol=1e-6)
  assert np.ptp(losses[0]) > 0


def test_labels_and_captions_are_kept(made, tmp_path):
  dataset = images()
  found = cached(dataset, made[0], tmp_path).gather(np.array([99, 3, 41]))
  expected = dataset.gather(np.array([99, 3, 41]))
  np.testing.assert_array_equal(found['label'], expected['label'])
  assert list(found['caption']) == list(expected['caption'])
  assert found['x0']['mean'].shape == (3, 4, 4, 2)
  with pytest.raises(ValueError, match="also has \\['depth'\\]"):
    cached(images(seed=1, depth=np.zeros(100)), made[0], tmp_path)


def test_an_interrupted_encoding_goes_on(made, tmp_path, monkeypatch):
  encoded, write = [], latent_cache._write

  def stopping(path, records):
    if len(encoded) == 2:
      raise KeyboardInterrupt
    encoded.append(path.name)
    write(path, records)

  monkeypatch.setattr(latent_cache, '_write', stopping)
  with pytest.raises(KeyboardInterrupt):
    cached(images(), made[0], tmp_path)
  monkeypatch.setattr(
    latent_cache, '_write', lambda *args: encoded.append(0) or write(*args)
  )
  whole = cached(images(), made[0], tmp_path)
  assert encoded == ['00000.array_record', '00001.array_record', 0]
  other = cached(images(), made[0], tmp_path / 'other')
  every = np.arange(100)
  jax.tree.map(
    np.testing.assert_array_equal, whole.gather(every), other.gather(every)
  )


def test_two_jobs_at_once_make_one_cache(made, tmp_path, monkeypatch):
  """The second begins, and ends, while the first writes its first file."""
  every, encoded, second = np.arange(100), [], []
  write, pid = latent_cache._write, os.getpid()

  def at_once(path, records):
    encoded.append(path.name)
    if len(encoded) > 1:
      return write(path, records)
    records = list(records)
    with monkeypatch.context() as other:
      other.setattr(os, 'getpid', lambda: pid + 1)
      second.append(cached(images(), made[0], tmp_path))
    write(path, records)

  monkeypatch.setattr(latent_cache, '_write', at_once)
  first = cached(images(), made[0], tmp_path)
  names = [f'0000{i}.array_record' for i in range(3)]
  assert encoded == [names[0], *names]
  (place,) = tmp_path.iterdir()
  assert sorted(x.name for x in place.iterdir()) == [*names, 'about.json']
  jax.tree.map(
    np.testing.assert_array_equal, first.gather(every), second[0].gather(every)
  )


@pytest.mark.parametrize('change', ['flip', 'cut', 'swap'])
def test_a_damaged_file_is_refused(made, tmp_path, change):
  cached(images(), made[0], tmp_path)
  path = next(tmp_path.glob('*/00001.array_record'))
  content = bytearray(path.read_bytes())
  if change == 'flip':
    used = np.flatnonzero(np.frombuffer(content, np.uint8))
    content[used[len(used) // 2]] ^= 1
  elif change == 'cut':
    content = content[: len(content) // 2]
  else:
    content = path.with_name('00002.array_record').read_bytes()
  path.write_bytes(content)
  with pytest.raises(ValueError, match='00001.array_record is damaged'):
    cached(images(), made[0], tmp_path).gather(np.arange(100))


def test_latents_of_others_are_not_taken(made, tmp_path):
  config, spec = made
  cached(images(), config, tmp_path)
  places = lambda: set(tmp_path.iterdir())
  first = places()
  cached(images(seed=1), config, tmp_path)
  other, _ = tiny.with_latents(config, spec, tmp_path / 'weights', seed=1)
  cached(images(), other, tmp_path)
  new = places() - first - {tmp_path / 'weights'}
  assert len(first) == 1 and len(new) == 2
  # Neither under a name that is not theirs.
  place = first.pop()
  (place / 'about.json').write_bytes((new.pop() / 'about.json').read_bytes())
  with pytest.raises(ValueError, match='has latents of another set'):
    cached(images(), config, tmp_path)


def test_mirrored_images_have_no_cache(made):
  with pytest.raises(ValueError, match='no --data.flip'):
    tiny.changed(made[0], data={'flip': True})
