"""The data pipeline: what is read, in which order, and what it refuses."""

import hashlib
import json
import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from PIL import Image

from jaxdiff.data import Dataset, batches, epoch, load
from jaxdiff.data.__main__ import prepare

# What a process reads, and what it had to import for it.
READ_DIGITS = """
import hashlib, json, sys
import jaxdiff.data
early = sorted(sys.modules)
digits = jaxdiff.data.load('digits', data_dir=sys.argv[1])
x0 = digits.gather(range(len(digits)))['x0']
digest = hashlib.sha256(x0.tobytes()).hexdigest()
print(json.dumps([digest, early, sorted(sys.modules)]))
"""


def start_reader(data_dir):
  return subprocess.Popen(
    [sys.executable, '-c', READ_DIGITS, str(data_dir)],
    stdout=subprocess.PIPE,
    text=True,
    env=os.environ | {'JAX_PLATFORMS': 'cpu'},
  )


@pytest.fixture(scope='session')
def readers(tmp_path_factory):
  """A process killed while it prepares the digits, then two at once."""
  data_dir = tmp_path_factory.mktemp('data')
  killed = start_reader(data_dir)
  deadline = time.monotonic() + 60
  while not list(data_dir.glob('digits/*incomplete*')):
    assert killed.poll() is None, 'prepared the digits in one step'
    assert time.monotonic() < deadline
    time.sleep(0.002)
  killed.kill()
  killed.wait()
  both = [start_reader(data_dir) for _ in range(2)]
  outputs = []
  for process in both:
    outputs.append(process.communicate(timeout=120)[0])
    assert process.returncode == 0
  # TFDS announces what it prepares before the line of results.
  return data_dir, outputs


@pytest.fixture(scope='session')
def digits(readers):
  return load('digits', data_dir=readers[0])


def numbered(size, shape=(2, 2, 1), num_classes=None):
  """A set in which an image's first pixels spell its index."""

  def gather(indices):
    x0 = np.zeros((len(indices), *shape), np.uint8)
    x0[:, 0, 0, 0], x0[:, 1, 0, 0] = np.divmod(indices, 256)
    return {'x0': x0, 'label': np.asarray(indices, np.int32)}

  return Dataset('numbered', 'train', size, shape, num_classes, gather)


def take(iterator, count):
  taken = [next(iterator) for _ in range(count)]
  iterator.close()
  return taken


def labels(taken):
  return np.concatenate([batch['cond']['label'] for batch in taken])


def assert_same(a, b):
  np.testing.assert_array_equal(a['x0'], b['x0'])
  np.testing.assert_array_equal(a['cond']['label'], b['cond']['label'])


def test_processes_preparing_at_once_read_the_same(readers, digits):
  everything = digits.gather(np.arange(len(digits)))['x0']
  digest = hashlib.sha256(everything.tobytes()).hexdigest()
  results = [json.loads(out.splitlines()[-1]) for out in readers[1]]
  assert [result[0] for result in results] == [digest, digest]
  # One of the two prepared, the other waited and had nothing to prepare.
  assert sum('sklearn' in result[2] for result in results) == 1


def test_imports_stay_light(readers):
  for out in readers[1]:
    _, early, late = json.loads(out.splitlines()[-1])
    assert not {'tensorflow', 'torch'} & set(late)
    assert not {'tensorflow_datasets', 'sklearn'} & set(early)


def test_digits_are_the_scans_of_scikit_learn(readers, digits):
  from sklearn.datasets import load_digits

  scans = load_digits()
  test = load('digits', 'test', data_dir=readers[0])
  assert (len(digits), len(test)) == (1497, 300)
  assert digits.image_shape == (8, 8, 1) and digits.num_classes == 10
  ours = [d.gather(np.arange(len(d))) for d in (digits, test)]
  found = sorted(
    # Levels 0..16 come back exactly, and every scan exactly once.
    (int(label), np.round(image[..., 0] / 255 * 16).astype(int).tolist())
    for part in ours
    for image, label in zip(part['x0'], part['label'], strict=True)
  )
  wanted = sorted(
    (int(label), image.astype(int).tolist())
    for image, label in zip(scans.images, scans.target, strict=True)
  )
  assert found == wanted
  assert set(ours[0]['x0'].ravel()) == {round(i * 255 / 16) for i in range(17)}
  for part in ours:
    assert np.bincount(part['label'], minlength=10).min() >= 20


def test_reading_by_index_is_reading_from_memory(readers, digits):
  streamed = load('digits', data_dir=readers[0], cache_bytes=0)
  indices = np.array([5, 1496, 5, 0])
  for key, value in digits.gather(indices).items():
    np.testing.assert_array_equal(streamed.gather(indices)[key], value)
  # A prepared set has nothing special: it can be read by its TFDS name.
  by_name = load('tfds:digits', 'train[:8]', data_dir=readers[0], image_size=4)
  assert len(by_name) == 8 and by_name.image_shape == (4, 4, 1)


def test_batch_values(digits):
  (batch,) = take(batches(digits, 64, seed=0), 1)
  assert batch['x0'].dtype == np.float32
  assert batch['x0'].min() == -1 and batch['x0'].max() == 1
  assert batch['cond']['label'].dtype == np.int32
  unlabelled = Dataset(
    'u', 'train', 4, (1, 1, 1), None, lambda i: {'x0': np.zeros((len(i), 1))}
  )
  assert take(batches(unlabelled, 2, seed=0), 1)[0]['cond'] == {}


@pytest.mark.parametrize('batch_size', [8, 72])
def test_batch_depends_on_seed_and_step_alone(batch_size):
  data = numbered(30)
  whole = take(batches(data, batch_size, seed=3, flip=True), 9)
  later = take(batches(data, batch_size, seed=3, start_step=7, flip=True), 2)
  assert_same(whole[7], later[0])
  assert_same(whole[8], later[1])
  far = take(batches(data, batch_size, seed=3, start_step=10**12), 1)
  assert far[0]['x0'].shape[0] == batch_size
  other = take(batches(data, batch_size, seed=4), 9)
  assert (labels(whole) != labels(other)).any()


@pytest.mark.parametrize('process_count', [2, 4])
def test_hosts_side_by_side_are_one_host(process_count):
  data = numbered(30)
  whole = take(batches(data, 8, seed=1, flip=True, start_step=2), 5)
  parts = [
    take(
      batches(
        data,
        8,
        seed=1,
        flip=True,
        start_step=2,
        process_index=p,
        process_count=process_count,
      ),
      5,
    )
    for p in range(process_count)
  ]
  for step, batch in enumerate(whole):
    joined = {
      'x0': np.concatenate([part[step]['x0'] for part in parts]),
      'cond': {'label': labels([part[step] for part in parts])},
    }
    assert_same(joined, batch)


@pytest.mark.parametrize(('size', 'batch_size'), [(30, 8), (7, 40), (1, 3)])
def test_every_example_once_an_epoch(size, batch_size):
  taken = take(batches(numbered(size), batch_size, seed=0), 20)
  orders = labels(taken)[: 20 * batch_size // size * size].reshape(-1, size)
  np.testing.assert_array_equal(
    np.sort(orders, axis=1), np.broadcast_to(np.arange(size), orders.shape)
  )
  if size > 1:
    assert len(np.unique(orders, axis=0)) > 1


def test_seeds_do_not_share_epochs():
  orders = [
    tuple(labels(take(batches(numbered(30), 30, seed=s, start_step=e), 1)))
    for s in range(3)
    for e in range(3)
  ]
  assert len(set(orders)) == 9


def test_shuffle_is_uniform():
  # Each of 6 examples in each of 6 places: 1/6 each, 4.5 standard deviations.
  orders = labels(take(batches(numbered(6), 600, seed=0), 20)).reshape(-1, 6)
  share = (orders[:, :, None] == np.arange(6)).mean(axis=0)
  assert abs(share - 1 / 6).max() < 4.5 * np.sqrt(5 / 36 / len(orders))


def test_flips_are_mirrored_fair_and_independent_of_the_rest():
  data = numbered(256, num_classes=256)
  plain = take(batches(data, 128, seed=0), 16)
  mixed = take(batches(data, 128, seed=0, flip=True), 16)
  x0 = np.concatenate([batch['x0'] for batch in plain])
  flipped = np.concatenate([batch['x0'] for batch in mixed])
  np.testing.assert_array_equal(labels(plain), labels(mixed))
  same = (flipped == x0).all(axis=(1, 2, 3))
  mirrored = (flipped == x0[:, :, ::-1]).all(axis=(1, 2, 3))
  assert (same | mirrored).all()
  # Index 0 is its own mirror image.
  share = (mirrored & ~same).mean()
  assert abs(share - 0.5) < 4.5 * 0.5 / np.sqrt(len(x0)) + 1 / 256
  per_step = mirrored.reshape(16, 128)
  assert len(np.unique(per_step, axis=0)) == 16


def test_flips_leave_the_set_as_it_was(digits):
  before = digits.gather(np.arange(64))['x0']
  take(batches(digits, 1497, seed=0, flip=True), 2)
  np.testing.assert_array_equal(digits.gather(np.arange(64))['x0'], before)


@pytest.mark.parametrize('batch_size', [7, 30, 100])
def test_epoch_is_everything_in_order(batch_size):
  taken = list(epoch(numbered(30), batch_size))
  np.testing.assert_array_equal(labels(taken), np.arange(30))
  assert all(len(batch['x0']) == batch_size for batch in taken[:-1])


@pytest.mark.parametrize(
  ('arguments', 'message'),
  [
    ({'batch_size': 6, 'process_count': 4}, 'multiple of the number'),
    ({'batch_size': 0}, 'at least 1'),
    ({'batch_size': 4, 'process_index': 1}, 'process_index must be in'),
    ({'batch_size': 4, 'start_step': -1}, 'must not be negative'),
  ],
)
def test_batches_refuses(arguments, message):
  with pytest.raises(ValueError, match=message):
    batches(numbered(30), seed=0, **arguments)


def test_empty_set_is_refused():
  with pytest.raises(ValueError, match='no examples'):
    epoch(numbered(0), 4)


def test_closing_ends_the_thread():
  before = set(threading.enumerate())
  iterator = batches(numbered(30), 8, seed=0)
  next(iterator)
  started = set(threading.enumerate()) - before
  assert started
  iterator.close()
  for thread in started:
    thread.join(timeout=10)
    assert not thread.is_alive()


def test_failure_in_the_thread_reaches_the_consumer():
  def gather(indices):
    raise OSError('the disk is gone')

  data = Dataset('broken', 'train', 8, (1, 1, 1), None, gather)
  with pytest.raises(OSError, match='the disk is gone'):
    next(batches(data, 4, seed=0))


def save(path, array, **options):
  path.parent.mkdir(parents=True, exist_ok=True)
  Image.fromarray(array).save(path, **options)


def test_folder_of_mixed_formats(tmp_path):
  rng = np.random.default_rng(0)
  rgb = rng.integers(256, size=(4, 6, 3), dtype=np.uint8)
  rgba = np.dstack([rgb, np.full((4, 6), 255, np.uint8)])
  rgba[:, 3:, 3] = 0
  save(tmp_path / 'b_rgb.png', rgb)
  save(tmp_path / 'deep/er/c_rgba.PNG', rgba)
  save(tmp_path / 'a_grey.png', rgb[..., 0])
  save(tmp_path / 'd.jpeg', np.full((4, 6, 3), 90, np.uint8), quality=95)
  save(tmp_path / '.hidden/e.png', rgb)
  (tmp_path / 'notes.txt').write_text('not an image')

  data = load(f'folder:{tmp_path}')
  assert len(data) == 4 and data.image_shape == (4, 6, 3)
  assert data.num_classes is None
  grey, colour, jpeg, clear = data.gather(np.arange(4))['x0']
  np.testing.assert_array_equal(grey, np.repeat(rgb[..., :1], 3, axis=2))
  np.testing.assert_array_equal(colour, rgb)
  np.testing.assert_allclose(jpeg, 90, atol=2)
  np.testing.assert_array_equal(clear[:, :3], rgb[:, :3])
  assert (clear[:, 3:] == 255).all()
  (batch,) = epoch(data, 4)
  assert batch['cond'] == {}


def test_folder_with_classes_and_splits(tmp_path):
  for split, kinds in (('train', 'ab'), ('test', 'bc')):
    for kind in kinds:
      level = np.full((3, 3), ord(kind), np.uint8)
      save(tmp_path / split / kind / 'x.png', level)
  train = load(f'folder:{tmp_path}')
  test = load(f'folder:{tmp_path}', 'test')
  assert train.num_classes == test.num_classes == 3
  assert train.image_shape == (3, 3, 1)  # All grey.
  for data in (train, test):
    read = data.gather(np.arange(2))
    np.testing.assert_array_equal(read['x0'][:, 0, 0, 0], read['label'] + 97)
  with pytest.raises(ValueError, match=r"\['train', 'test'\], got 'val'"):
    load(f'folder:{tmp_path}', 'val')


def test_folder_resizes_the_centre(tmp_path):
  # Three square stripes: the centred square is the middle one. The filter
  # reaches two pixels of the result beyond its edge.
  wide = np.tile(np.repeat(np.array([0, 120, 255], np.uint8), 16), (16, 1))
  save(tmp_path / 'wide.png', wide)
  save(tmp_path / 'tall.png', wide.T)
  with pytest.raises(ValueError, match=r'48x16 \(.*tall.*16x48 \(.*wide'):
    load(f'folder:{tmp_path}')
  data = load(f'folder:{tmp_path}', image_size=8)
  assert data.image_shape == (8, 8, 1)
  tall, wide = data.gather(np.arange(2))['x0']
  np.testing.assert_array_equal(wide[:, 2:6], 120)
  np.testing.assert_array_equal(tall, wide.swapaxes(0, 1))


def test_folder_turns_photographs_upright(tmp_path):
  exif = Image.Exif()
  exif[0x0112] = 3  # Upside down.
  image = np.zeros((16, 16), np.uint8)
  image[:8] = 200
  save(tmp_path / 'x.jpg', image, exif=exif, quality=95)
  (upright,) = load(f'folder:{tmp_path}').gather(np.arange(1))['x0']
  np.testing.assert_allclose(upright[..., 0], image[::-1], atol=3)


@pytest.mark.parametrize('keep', [4, 500])
def test_broken_image_is_named(tmp_path, keep):
  noise = np.random.default_rng(0).integers(256, size=(32, 32, 3))
  save(tmp_path / 'good.png', noise.astype(np.uint8))
  whole = (tmp_path / 'good.png').read_bytes()
  (tmp_path / 'half.png').write_bytes(whole[:keep])
  with pytest.raises(ValueError, match=r'cannot read the image .*half\.png'):
    load(f'folder:{tmp_path}')


def test_deep_image_is_named(tmp_path):
  save(tmp_path / 'deep.png', np.zeros((4, 4), np.uint16))
  with pytest.raises(ValueError, match=r'8 bits a channel, got .*deep\.png'):
    load(f'folder:{tmp_path}')


def test_missing_folder(tmp_path):
  with pytest.raises(FileNotFoundError, match='no such folder'):
    load(f'folder:{tmp_path}/nowhere')
  with pytest.raises(FileNotFoundError, match='no image under'):
    load(f'folder:{tmp_path}')


def test_unknown_names_and_splits(readers):
  with pytest.raises(ValueError, match="'digits', 'tfds:<name>'.*got 'mnist'"):
    load('mnist')
  with pytest.raises(ValueError, match=r"\['train', 'test'\].*got 'valid'"):
    load('digits', 'valid', data_dir=readers[0])


def test_unprepared_set_names_its_command(tmp_path):
  with pytest.raises(FileNotFoundError) as raised:
    load('tfds:fashion_mnist', data_dir=tmp_path)
  command = 'python -m jaxdiff.data prepare tfds:fashion_mnist --data-dir '
  assert str(raised.value).endswith(command + str(tmp_path))


def test_prepare_command(readers, tmp_path, monkeypatch, capsys):
  prepare('digits', data_dir=readers[0])
  assert str(readers[0] / 'digits') in capsys.readouterr().out
  with pytest.raises(SystemExit, match="must be 'digits' or 'tfds:<name>'"):
    prepare('digit')
  monkeypatch.setattr('importlib.util.find_spec', lambda name: None)
  with pytest.raises(SystemExit, match=r'jaxdiff\[tf\]'):
    prepare('tfds:fashion_mnist', data_dir=tmp_path)
