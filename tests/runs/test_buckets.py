"""Buckets: files, locks and checkpoints behind gs://, at a real server."""

import io
import json
import threading
import warnings

import numpy as np
import pytest
from bucket_server import installed
from PIL import Image
from states import abstract, assert_same, make_state

from jaxdiff import buckets, files
from jaxdiff.data import prepared
from jaxdiff.evaluation import samples
from jaxdiff.evaluation.commands.fid import Fid
from jaxdiff.evaluation.flags import Drawing
from jaxdiff.generation import writer
from jaxdiff.modalities import points
from jaxdiff.runs import Checkpoints, DamagedCheckpointError
from jaxdiff.runs.config_json import only_writer

pytestmark = installed


@pytest.fixture
def folder(bucket, request):
  return files.as_path(bucket) / request.node.name


def test_files_of_a_bucket(folder):
  files.write_text('a\r\n', folder / 'a.txt')
  files.append(folder / 'a.txt', 'b\n')
  assert files.read_text(folder / 'a.txt') == 'a\r\nb\n'
  files.write_npz(folder / 'below' / 'b.npz', x=np.arange(3))
  assert files.read_npz(folder / 'below' / 'b.npz')['x'].tolist() == [0, 1, 2]
  assert files.below(folder) == [folder / 'a.txt', folder / 'below' / 'b.npz']
  with pytest.raises(FileExistsError, match='is a folder'):
    files.check_target(folder / 'below')
  with pytest.raises(FileExistsError, match='is a file'):
    files.check_target(folder / 'a.txt', folder=True)

  def fail(file):
    file.write_text('half')
    raise OSError('full')

  with pytest.raises(OSError, match='full'):
    files.save(folder / 'a.txt', fail)
  assert files.read_text(folder / 'a.txt') == 'a\r\nb\n'


def test_a_local_copy_follows_the_bucket(folder, tmp_path, monkeypatch):
  monkeypatch.setenv('HOME', str(tmp_path))
  for name in ('a', 'below/b'):
    files.write_text(name, folder / f'{name}.txt')
  copy = files.local(folder)
  assert [p.read_text() for p in files.below(copy)] == ['a', 'below/b']
  files.write_text('longer', folder / 'a.txt')
  (folder / 'below' / 'b.txt').unlink()
  assert files.local(folder) == copy
  assert [p.read_text() for p in files.below(copy)] == ['longer']
  assert files.read_lines(f'{folder}/a.txt') == ['longer']
  with pytest.raises(FileNotFoundError, match='there is no gs://bucket/.*/c'):
    files.local(folder / 'c')


def test_a_set_is_prepared_on_a_disk_alone(folder):
  data_dir = prepared.resolve_data_dir(str(folder))
  assert data_dir == folder and prepared.find(data_dir, 'squares') is None
  with pytest.raises(ValueError, match='in a local --data-dir, and copy that'):
    prepared.prepare('squares', data_dir)
  with pytest.raises(FileNotFoundError, match='tfds:squares, and copy that to'):
    prepared.open_builder('squares', str(folder))
  files.write_json(folder / 'squares' / '1.0.0' / 'dataset_info.json', {})
  assert prepared.find(data_dir, 'squares') == folder / 'squares' / '1.0.0'


def test_what_is_no_bucket_is_one_line(bucket, monkeypatch):
  with pytest.raises(FileNotFoundError, match='no bucket gs://missing'):
    files.as_path('gs://missing/run')
  with pytest.raises(ValueError, match='named gs://..., s3:// is none'):
    files.as_path('s3://bucket/run')
  found = buckets.importlib.util.find_spec
  absent = lambda name: None if name == 'gcsfs' else found(name)
  monkeypatch.setattr(buckets.importlib.util, 'find_spec', absent)
  with pytest.raises(ValueError, match=r"pip install 'jaxdiff\[gcs\]'"):
    files.as_path('gs://another/run')


def test_a_lease_has_one_holder(folder, monkeypatch):
  for name, seconds in (('SECONDS', 1.5), ('RENEWAL', 0.2), ('SETTLING', 0.4)):
    monkeypatch.setattr(buckets, name, seconds)
  with only_writer(folder):
    with pytest.raises(BlockingIOError, match='another run is writing to gs:'):
      with only_writer(folder):
        pass
  assert not (folder / '.lock').exists()
  # One that was left behind by a kill is taken, by one of two.
  (folder / '.lock').write_text('gone 7')
  barrier, results = threading.Barrier(2), []

  def compete():
    barrier.wait()
    try:
      with only_writer(folder):
        results.append('held')
        barrier.wait(10)
    except BlockingIOError:
      results.append('refused')
      barrier.wait(10)

  threads = [threading.Thread(target=compete) for _ in range(2)]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  assert sorted(results) == ['held', 'refused']


def test_a_checkpoint_is_sealed_before_it_is_marked(folder):
  with Checkpoints(folder, max_to_keep=2) as checkpoints:
    assert checkpoints.restore(abstract()) is None
    for step in (1, 2, 3):
      checkpoints.save(step, make_state(step))
  root = folder / 'checkpoints'
  with Checkpoints(folder, max_to_keep=2) as checkpoints:
    assert checkpoints.steps() == [2, 3]
    assert not (root / '1').exists()
    assert_same(checkpoints.restore(abstract())[1], make_state(3))
    # A save that was killed has a seal at most, and no mark.
    (root / '3' / 'commit_success.txt').unlink()
    with pytest.warns(RuntimeWarning, match='half-written checkpoint .*/3 '):
      assert checkpoints.restore(abstract())[0] == 2
    checkpoints.save(4, make_state(4))
    checkpoints.wait()
    assert not (root / '3').exists() and checkpoints.steps() == [2, 4]
    # One changed byte is found, and the damaged checkpoint is set aside.
    file = max(files.below(root / '4'), key=lambda p: p.stat().length)
    raw = bytearray(file.read_bytes())
    raw[len(raw) // 2] ^= 1
    file.write_bytes(bytes(raw))
    with pytest.warns(RuntimeWarning, match='its SHA-256 differs'):
      assert checkpoints.restore(abstract())[0] == 2
    with warnings.catch_warnings():
      warnings.simplefilter('ignore')
      checkpoints.save(5, make_state(5))
    checkpoints.wait()
    assert checkpoints.steps() == [2, 5]
    assert (root / '4.damaged' / 'seal.json').exists()
    with pytest.raises(FileNotFoundError, match='no step 4'):
      checkpoints.restore(abstract(), 4)
    (root / '5' / 'seal.json').unlink()
    with pytest.raises(DamagedCheckpointError, match='seal.json is missing'):
      checkpoints.restore(abstract(), 5)


def test_a_result_is_beside_its_samples(folder):
  files.write_npz(folder / 'x.npz', arr_0=np.zeros((2, 4, 4, 3), np.uint8))
  path = f'{folder}/x.npz'
  found = samples.of_files(path, None, Drawing())
  assert found.path('fid', Fid(samples=path)) == folder / 'x.npz.fid.json'


def test_images_of_a_folder_are_measured(folder):
  for i in range(3):
    png = io.BytesIO()
    Image.fromarray(np.full((4, 4, 3), i, np.uint8)).save(png, 'PNG')
    (folder / 'images' / f'{i}.png').write_bytes(png.getvalue())
  path = f'{folder}/images'
  found = samples.of_files(path, None, Drawing())
  images = found.dataset.gather(np.arange(3))['x0']
  assert images[:, 0, 0, 0].tolist() == [0, 1, 2]
  assert found.path('fid', Fid(path)) == folder / 'images.fid.json'
  with pytest.raises(FileNotFoundError, match='must be a folder.*got gs://'):
    samples.of_files(f'{folder}/none', None, Drawing())


def test_samples_go_on_where_they_were(folder):
  draw = lambda index: [np.float32([i, -i]) for i in index]
  job = {'seed': 3}
  modality = points.make(None)

  def interrupted(index):
    if 4 in index:
      raise OSError('lost')
    return draw(index)

  write = lambda draw: writer.write(
    f'{folder}/x.npz', 6, draw, job, modality, batch_size=2
  )
  with pytest.raises(OSError, match='the samples that are there stay'):
    write(interrupted)
  parts = folder / 'x.npz.parts'
  assert len(list(parts.glob('*.npz'))) == 4
  drawn = []
  out = write(lambda index: drawn.extend(index) or draw(index))
  assert drawn == [4, 5] and not parts.exists()
  assert files.read_npz(out)['arr_0'].tolist() == [[i, -i] for i in range(6)]
  assert json.loads(files.read_text(folder / 'x.npz.json')) == job
