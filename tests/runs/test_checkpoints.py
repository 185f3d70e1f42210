"""Checkpoints: bit for bit, or named."""

import os
import resource
import shutil
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest
from states import abstract, assert_same, make_state

from jaxdiff import files
from jaxdiff.runs import Checkpoints, DamagedCheckpointError
from jaxdiff.runs.orbax_io import OrbaxIO, SaveError


def save(workdir, *steps, **options):
  with Checkpoints(workdir, **options) as checkpoints:
    for step in steps:
      checkpoints.save(step, make_state(step))


def data_file(workdir, step):
  files = (workdir / 'checkpoints' / str(step)).rglob('d/*')
  return max(files, key=lambda path: path.stat().st_size)


def test_a_state_comes_back_bit_for_bit(tmp_path):
  state = {
    'train': make_state(3),
    'keys': jax.random.split(jax.random.key(1, impl='rbg'), 5),
    'a list': [jnp.arange(3), None, (), np.float32([np.nan, -0.0, np.inf])],
    'bytes': jnp.arange(7, dtype=jnp.uint8),
  }
  with Checkpoints(tmp_path) as checkpoints:
    checkpoints.save(3, state)
    step, found = checkpoints.restore(abstract(state))
  assert step == 3
  assert_same(found, state)
  # A key must still be good for what a key is good for.
  assert jax.random.key_impl(found['keys']) == 'rbg'
  np.testing.assert_array_equal(
    jax.random.normal(found['train'].key), jax.random.normal(jax.random.key(3))
  )


def test_no_part_of_a_checkpoint_is_listed_while_it_is_removed(
  tmp_path, monkeypatch
):
  remove, seen = files.remove, []

  def watched(folder):
    seen.append(Checkpoints(tmp_path).steps())
    remove(folder)

  monkeypatch.setattr(files, 'remove', watched)
  save(tmp_path, 1, 2, 3, max_to_keep=1)
  assert seen == [[2], [3]]


def test_an_empty_workdir_has_none_and_stays_empty(tmp_path):
  with Checkpoints(tmp_path / 'run') as checkpoints:
    assert checkpoints.restore(abstract()) is None
    assert checkpoints.steps() == []
  assert list(tmp_path.iterdir()) == []


def test_buffers_may_be_donated_as_soon_as_save_returns(tmp_path):
  overwrite = jax.jit(lambda x: -2 * x, donate_argnums=0)
  draw = jax.jit(lambda seed: jax.random.normal(jax.random.key(seed), (2**20,)))
  unsaved = draw(0)
  address = unsaved.unsafe_buffer_pointer()
  assert overwrite(unsaved).unsafe_buffer_pointer() == address  # it does
  x, mutable = draw(1), np.arange(1000)
  with Checkpoints(tmp_path) as checkpoints:
    checkpoints.save(1, {'x': x, 'mutable': mutable})
    for _ in range(3):
      x = overwrite(x)
    mutable[:] = -1
    x.block_until_ready()
    _, found = checkpoints.restore(
      {'x': jax.eval_shape(draw, 1), 'mutable': mutable}
    )
  np.testing.assert_array_equal(found['x'], draw(1))
  np.testing.assert_array_equal(found['mutable'], np.arange(1000))


def test_the_newest_and_every_kth_are_kept(tmp_path):
  save(tmp_path, *range(1, 8), max_to_keep=2, keep_every=3)
  assert Checkpoints(tmp_path).steps() == [3, 6, 7]
  save(tmp_path, 8, 9, 10, max_to_keep=1)
  assert Checkpoints(tmp_path).steps() == [10]
  for options in ({'max_to_keep': 0}, {'keep_every': 0}):
    with pytest.raises(ValueError, match='at least 1, got 0'):
      Checkpoints(tmp_path, **options)


def test_a_step_can_be_asked_for(tmp_path):
  save(tmp_path, 1, 2)
  with Checkpoints(tmp_path) as checkpoints:
    step, found = checkpoints.restore(abstract(), step=1)
    assert step == 1
    assert_same(found, make_state(1))
    with pytest.raises(FileNotFoundError, match=r'no step 3 .*\[1, 2\]'):
      checkpoints.restore(abstract(), step=3)


def test_a_saved_step_is_never_overwritten_or_skipped(tmp_path):
  save(tmp_path, 1, 2)
  with Checkpoints(tmp_path) as checkpoints:
    for step in (1, 2):
      with pytest.raises(ValueError, match=f'got {step} while .*/2 exists'):
        checkpoints.save(step, make_state(7))
    with pytest.raises(TypeError, match='params/rate must be an array'):
      checkpoints.save(3, {'params': {'rate': 0.1}})
  assert_same(Checkpoints(tmp_path).restore(abstract())[1], make_state(2))


def test_another_state_is_refused_not_taken_for_damage(tmp_path):
  save(tmp_path, 1)
  with Checkpoints(tmp_path) as checkpoints:
    checkpoints.save(2, make_state(2, size=64)._replace(step=np.int64(2)))
    with pytest.raises(ValueError) as raised:
      # Step 1 fits, and must not be used for that.
      checkpoints.restore(abstract()._replace(key={'noise': np.zeros(2)}))
  _, _, found = str(raised.value).partition('asked for: ')
  kernel = 'checkpoint has float32[4,64], expected float32[4,500]'
  listed, _, more = found.partition(' and ')
  assert more == '2 more' and listed.count(';') == 3
  assert set(listed.split('; ')) < {
    'step: checkpoint has int64[], expected int32[]',
    f'params/dense/kernel: {kernel}',
    f'opt_state/1/0/mu/dense/kernel: {kernel}',
    f'opt_state/1/0/nu/dense/kernel: {kernel}',
    'key: checkpoint has key<fry>[], expected no such leaf',
    'key/noise: checkpoint has no such leaf, expected float64[2]',
  }


def flip(workdir):
  path = data_file(workdir, 3)
  content = bytearray(path.read_bytes())
  content[len(content) // 2] ^= 4
  path.write_bytes(content)


def truncate(workdir):
  path = data_file(workdir, 3)
  os.truncate(path, path.stat().st_size // 2)


def delete(workdir):
  data_file(workdir, 3).unlink()


def delete_metadata(workdir):
  (workdir / 'checkpoints' / '3' / '_METADATA').unlink()


def unseal(workdir):
  (workdir / 'checkpoints' / '3' / 'seal.json').unlink()


def empty(workdir):
  shutil.rmtree(workdir / 'checkpoints' / '3')
  (workdir / 'checkpoints' / '3').mkdir()


@pytest.mark.parametrize(
  'harm', [flip, truncate, delete, delete_metadata, unseal, empty]
)
def test_the_damaged_is_named_and_training_goes_on(tmp_path, harm):
  save(tmp_path, 1, 2, 3)
  harm(tmp_path)
  path = tmp_path / 'checkpoints' / '3'
  with Checkpoints(tmp_path, max_to_keep=1) as checkpoints:
    with pytest.warns(RuntimeWarning, match=f'damaged .*2 is used.*{path}: '):
      step, found = checkpoints.restore(abstract())
    assert step == 2
    assert_same(found, make_state(2))
    assert checkpoints.steps() == [1, 2, 3]
    with pytest.raises(DamagedCheckpointError, match=str(path)):
      checkpoints.restore(abstract(), step=3)
    # The step it fell back over is reached again, and really saved.
    with pytest.warns(RuntimeWarning, match=f'{path} is now {path}.damaged'):
      checkpoints.save(3, make_state(3))
  assert path.with_name('3.damaged').is_dir()
  with warnings.catch_warnings(), Checkpoints(tmp_path) as checkpoints:
    warnings.simplefilter('error')
    step, found = checkpoints.restore(abstract())
    assert checkpoints.steps() == [3]
  assert step == 3
  assert_same(found, make_state(3))


def test_if_all_are_damaged_it_says_so_and_touches_nothing(tmp_path):
  save(tmp_path, 1, 3)
  data_file(tmp_path, 1).unlink()
  flip(tmp_path)
  with Checkpoints(tmp_path) as checkpoints:
    with pytest.raises(DamagedCheckpointError) as raised:
      checkpoints.restore(abstract())
    assert f'{tmp_path}/checkpoints/1: ' in str(raised.value)
    assert f'{tmp_path}/checkpoints/3: ' in str(raised.value)
    assert checkpoints.steps() == [1, 3]


def test_a_run_that_writes_may_be_read(tmp_path, monkeypatch):
  """What is read is removed, for there is a newer one: that is read instead."""
  save(tmp_path, 1)
  read, begun = OrbaxIO.read, []

  def interrupted(*args):
    if not begun:
      begun.append(True)
      save(tmp_path, 2, max_to_keep=1)
    return read(*args)

  monkeypatch.setattr(OrbaxIO, 'read', interrupted)
  with pytest.warns(RuntimeWarning, match='removed meanwhile'):
    step, found = Checkpoints(tmp_path).restore(abstract())
  assert step == 2 and begun
  assert_same(found, make_state(2))
  begun.clear()
  (tmp_path / 'checkpoints' / '2').rename(tmp_path / 'checkpoints' / '1')
  with pytest.raises(FileNotFoundError, match=r'no step 1 in .*\[2\]'):
    Checkpoints(tmp_path).restore(abstract(), step=1)


def test_an_error_of_no_type_while_reading_is_one_of_reading(
  tmp_path, monkeypatch
):
  """TensorStore's errors come as `Exception`, of several lines."""
  save(tmp_path, 1)
  begun = []

  def vanishing(*args, **kwargs):
    if not begun:
      begun.append(True)
      save(tmp_path, 2, max_to_keep=1)
    raise Exception('not\nthere')

  monkeypatch.setattr(ocp.Checkpointer, 'restore', vanishing)
  with pytest.raises(OSError, match='/2 could not be read: not$'):
    Checkpoints(tmp_path).restore(abstract())


def test_what_must_not_be_read_is_not_called_damaged(tmp_path, monkeypatch):
  save(tmp_path, 1, 2)
  real = open

  def refusing(path, *args, **kwargs):
    if '/2/' in str(path):
      raise PermissionError(13, 'Permission denied', str(path))
    return real(path, *args, **kwargs)

  monkeypatch.setattr('builtins.open', refusing)
  with pytest.raises(PermissionError, match='/2/'):
    Checkpoints(tmp_path).restore(abstract())
  assert Checkpoints(tmp_path).steps() == [1, 2]


def test_what_is_not_sealed_is_not_needed(tmp_path):
  save(tmp_path, 1)
  for name in ('_CHECKPOINT_METADATA', 'commit_success.txt'):
    (tmp_path / 'checkpoints' / '1' / name).unlink(missing_ok=True)
  with Checkpoints(tmp_path) as checkpoints:
    assert_same(checkpoints.restore(abstract())[1], make_state(1))


# Orbax leaves a callback behind to an event loop that is gone.
@pytest.mark.filterwarnings('ignore::pytest.PytestUnraisableExceptionWarning')
def test_a_failed_save_is_raised_and_harms_nothing(tmp_path):
  """A limit on the size of files stands for a disk that is full."""
  limits = resource.getrlimit(resource.RLIMIT_FSIZE)
  save(tmp_path, 1)
  big = make_state(2, size=100_000)
  for surface in ('wait', 'save', 'restore', 'close'):
    checkpoints = Checkpoints(tmp_path)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
      with pytest.raises(SaveError, match=r'2 could not be .*File too large'):
        checkpoints.save(2, big)
        call = getattr(checkpoints, surface)
        call(*{'save': (3, big), 'restore': (abstract(),)}.get(surface, ()))
    finally:
      resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    with pytest.warns(RuntimeWarning, match='half-written .*/2.orbax'):
      assert_same(checkpoints.restore(abstract())[1], make_state(1))
    checkpoints.close()
  save(tmp_path, 4)  # 2 is not there to be written over
  names = sorted(p.name for p in (tmp_path / 'checkpoints').iterdir())
  assert names == ['1', '4']
