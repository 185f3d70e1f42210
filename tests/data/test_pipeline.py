"""Batches: what is in them, in which order, and what is refused."""

import threading

import jax
import numpy as np
import pytest

from jaxdiff.data import Dataset, batches, epoch, load


@pytest.fixture(scope='module')
def digits():
  return load('digits')


def numbered(size, shape=(2, 2, 1), num_classes=None):
  """A set in which an image's first pixels spell its index."""

  def gather(indices):
    x0 = np.zeros((len(indices), *shape), np.uint8)
    x0[:, 0, 0, 0], x0[:, 1, 0, 0] = np.divmod(indices, 256)
    return {'x0': x0, 'label': np.asarray(indices, np.int32)}

  return Dataset('numbered', 'train', 'image', size, shape, num_classes, gather)


def take(iterator, count):
  taken = [next(iterator) for _ in range(count)]
  iterator.close()
  return taken


def labels(taken):
  return np.concatenate([batch['cond']['label'] for batch in taken])


def assert_same(a, b):
  np.testing.assert_array_equal(a['x0'], b['x0'])
  np.testing.assert_array_equal(a['cond']['label'], b['cond']['label'])


def test_batch_values(digits):
  (batch,) = take(batches(digits, 64, seed=0), 1)
  assert batch['x0'].dtype == np.float32
  assert batch['x0'].min() == -1 and batch['x0'].max() == 1
  assert batch['cond']['label'].dtype == np.int32
  gather = lambda indices: {'x0': np.zeros((len(indices), 1))}
  unlabelled = Dataset('u', 'train', 'points', 4, (1,), None, gather)
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


def test_batches_at_once_are_the_same_batches():
  data = numbered(30)
  single = take(batches(data, 8, seed=1, flip=True, start_step=2), 6)
  for n, part in enumerate(
    take(batches(data, 8, seed=1, flip=True, start_step=2, at_once=3), 2)
  ):
    for i in range(3):
      assert_same(jax.tree.map(lambda x, i=i: x[i], part), single[3 * n + i])


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
        part=(p, process_count),
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
    ({'batch_size': 6, 'part': (0, 4)}, 'multiple of the number'),
    ({'batch_size': 0}, 'at least 1'),
    ({'batch_size': 4, 'part': (1, 1)}, 'host must be in'),
    ({'batch_size': 4, 'start_step': -1}, 'must not be negative'),
  ],
)
def test_batches_refuses(arguments, message):
  with pytest.raises(ValueError, match=message):
    batches(numbered(30), seed=0, **arguments)


@pytest.mark.parametrize('name', ['two_moons', 'sums', 'grid_small'])
def test_only_images_are_flipped(name):
  with pytest.raises(ValueError, match=f'flip is for images, and {name}'):
    batches(load(name), 4, seed=0, flip=True)


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

  data = Dataset('broken', 'train', 'image', 8, (1, 1, 1), None, gather)
  with pytest.raises(OSError, match='the disk is gone'):
    next(batches(data, 4, seed=0))
