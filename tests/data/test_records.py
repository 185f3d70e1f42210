"""Prepared sets: the digits, what is on disk, and who prepares it."""

import hashlib
import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest

from jaxdiff.data import load
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
  assert digits.shape == (8, 8, 1) and digits.num_classes == 10
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
  assert len(by_name) == 8 and by_name.shape == (4, 4, 1)


def test_unknown_names_and_splits(readers):
  with pytest.raises(ValueError, match=r"(?s)captioned_shapes.*got 'mnist'"):
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
  with pytest.raises(SystemExit, match="must be 'digits', .* or 'tfds:<name>'"):
    prepare('digit')
  monkeypatch.setattr('importlib.util.find_spec', lambda name: None)
  with pytest.raises(SystemExit, match=r'jaxdiff\[tf\]'):
    prepare('tfds:fashion_mnist', data_dir=tmp_path)
