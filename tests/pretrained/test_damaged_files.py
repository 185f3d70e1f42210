"""Weights files that are damaged or hostile: refused, in little time and space.

Each test reads its files in a process of its own, whose memory is limited.
"""

import io
import json
import pickle
import struct
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from pretrained import test_safetensors_files, test_torch_files

torch_modules = test_torch_files.torch_modules

READ = """
import resource, sys, time
from jaxdiff.pretrained.files import read_weights
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
print('ready')
for path in sys.stdin.read().split():
  start = time.perf_counter()
  try:
    for array in read_weights(path, '').values():
      array.sum()
    outcome = 'read'
  except (ValueError, OSError) as error:
    outcome = str(error).replace('\\n', '<newline>')
    assert path in outcome, outcome
  assert time.perf_counter() - start < 5, path
  print(outcome)
"""


def outcomes(paths):
  """Of each file: 'read', or the error. Any other end fails the test."""
  result = subprocess.run(
    [sys.executable, '-W', 'ignore', '-c', READ],
    input='\n'.join(map(str, paths)),
    capture_output=True,
    text=True,
    timeout=300,
  )
  assert result.returncode == 0, result.stderr[-2000:]
  ready, *lines = result.stdout.splitlines()
  assert ready == 'ready' and len(lines) == len(paths)
  return lines


def content():
  array = np.arange(-3, 9, dtype=np.float32).reshape(3, 4)
  return {'weight': array, 'bias': array[0].copy(), 'count': np.int64(7)}


def valid(kind, path):
  if kind == 'safetensors':
    arrays = {name: np.asarray(a) for name, a in content().items()}
    path.write_bytes(test_safetensors_files.written(arrays))
  else:
    tensors = {k: test_torch_files.tensor(v) for k, v in content().items()}
    save = {
      'zip': test_torch_files.save_zip,
      'legacy': test_torch_files.save_legacy,
    }
    save[kind](tensors, path)
  return path.read_bytes()


def mutated(whole, rng):
  """The bytes of a file with a few bits or bytes changed, cut, or repeated."""
  data = bytearray(whole)
  for _ in range(rng.integers(1, 4)):
    at = int(rng.integers(len(data)))
    match rng.integers(5):
      case 0 | 1:
        data[at] ^= 1 << int(rng.integers(8))
      case 2:
        data[at] = int(rng.choice([0, 1, 0x28, 0x2E, 0x7F, 0x80, 0xFF]))
      case 3:
        data[at : at + 4] = rng.bytes(4)
      case 4:
        start = int(rng.integers(len(data)))
        data[at:at] = data[start : start + int(rng.integers(1, 30))]
  if rng.random() < 0.1:
    del data[int(rng.integers(len(data))) :]
  return bytes(data)


@pytest.mark.parametrize('kind', ['zip', 'legacy', 'safetensors'])
def test_random_damage(kind, tmp_path):
  suffix = '.safetensors' if kind == 'safetensors' else '.pth'
  whole = valid(kind, tmp_path / f'whole{suffix}')
  rng = np.random.default_rng(0)
  paths = [tmp_path / f'whole{suffix}']
  for i in range(400):
    paths.append(tmp_path / f'{i}{suffix}')
    paths[-1].write_bytes(mutated(whole, rng))
  found = outcomes(paths)
  assert found[0] == 'read'
  assert sum(line != 'read' for line in found) > 200


DEEP = b')' + b'\x85' * 300_000  # a tuple in a tuple in a tuple ..
# Each a pair of the one before: printed or hashed, 2^60 of them.
PAIRS = b')' + b''.join(b'q%ch%c\x86' % (i, i) for i in range(60))
ORDERED = b'ccollections\nOrderedDict\n'


@pytest.mark.parametrize(
  'legacy', [False, pytest.param(True, marks=pytest.mark.slow)]
)
def test_hostile_pickles(legacy, tmp_path):
  pickles = [
    b'}' + DEEP + b'Ns.',
    DEEP + b'.',
    DEEP + b')R.',
    DEEP + b'Q.',
    ORDERED + DEEP + b'R.',
    PAIRS + b'Q.',
    PAIRS + b'.',
    b'}' + PAIRS + b'Ns.',
    b'}X\x01\0\0\0a' + PAIRS + b's.',
    b'Nr\xff\xff\xff\x7f.',  # the memo, at its largest index
    b'X\xff\xff\xff\xff',
    b'\x8b\xff\xff\xff\x7f',
    b'\x95' + b'\xff' * 7 + b'\x7f',
    b'\x8e' + b'\xff' * 7 + b'\x7f',
    b'L' + b'9' * 3_000_000 + b'L\n.',
    b'(' * 2_000_000,
    b'}' * 2_000_000 + b'.',
    b']q\0h\0a.',
    # One long list or tuple taken over and over.
    b']('
    + b'](X\1\0\0\0aNe' * 20_000
    + b'eq\0'
    + (ORDERED + b'h\0\x85R') * 20_000,
    b'(' + b'N' * 200_000 + b'tq\0' + (ORDERED + b'h\0R') * 20_000,
    b'(' + b'N' * 200_000 + b'tq\0' + b'h\0Q' * 20_000,
  ]
  paths = []
  for i, instructions in enumerate(pickles):
    paths.append(tmp_path / f'{i}.pth')
    program = b'\x80\x02' + instructions
    if legacy:
      start = io.BytesIO()
      for value in (0x1950A86A20F9469CFC6C, 1001, {'little_endian': True}):
        pickle.dump(value, start, 2)
      # The same where the names of the storages are read.
      empty = pickle.dumps({}, 2)
      paths[-1].write_bytes(start.getvalue() + program)
      paths.append(tmp_path / f'{i}_keys.pth')
      paths[-1].write_bytes(start.getvalue() + empty + program)
    else:
      with zipfile.ZipFile(paths[-1], 'w') as archive:
        archive.writestr('model/data.pkl', program)
  assert 'read' not in outcomes(paths)


def test_storage_names_that_cannot_be_hashed(tmp_path):
  """A list of deep tuples, where the names of storages should be."""
  start = io.BytesIO()
  for value in (0x1950A86A20F9469CFC6C, 1001, {'little_endian': True}, {}):
    pickle.dump(value, start, 2)
  path = tmp_path / 'x.pth'
  path.write_bytes(start.getvalue() + b'\x80\x02]' + DEEP + b'a.')
  assert 'no tensor is in' in outcomes([path])[0]


def entry(name, size, offset, method=0):
  return (
    struct.pack(
      '<4s6H3L5H2L',
      *(b'PK\1\2', 20, 20, 0, method, 0, 0, 0, size, size),
      *(len(name), 0, 0, 0, 0, 0, offset),
    )
    + name
  )


def test_hostile_archives(tmp_path):
  def archive(name, entries, ahead=b'PK\3\4' + bytes(26)):
    directory = b''.join(entries)
    numbers = (0, 0, 0, 0, len(directory), len(ahead), 0)
    end = struct.pack('<4s4H2LH', b'PK\5\6', *numbers)
    (tmp_path / name).write_bytes(ahead + directory + end)
    return tmp_path / name

  packed = tmp_path / 'packed.pth'
  with zipfile.ZipFile(packed, 'w', zipfile.ZIP_DEFLATED) as file:
    file.writestr('model/data.pkl', pickle.dumps({}, 2))
    file.writestr('model/data/0', bytes(10**7))
  names = [b'%07d' % i for i in range(500_000)]
  cases = {
    packed: 'compressed',
    archive('many.pth', [entry(n, 0, 0) for n in names]): 'directory',
    archive('same.pth', [entry(b'%d' % i, 99, 0) for i in range(9)]): 'overlap',
    archive('beyond.pth', [entry(b'a/data.pkl', 10**9, 0)]): 'overlap',
    archive('far.pth', [entry(b'a/data.pkl', 0, 2**32 - 2)]): 'cannot be read',
    archive('wide.pth', [entry(b'a/data.pkl', 2**32 - 1, 0)]): 'overlap',
  }
  for line, reason in zip(outcomes(cases), cases.values(), strict=True):
    assert reason in line


def test_hostile_headers(tmp_path):
  def file(i, header, data=b''):
    path = tmp_path / f'{i}.safetensors'
    if not isinstance(header, str):
      header = json.dumps(
        {
          name: dict(dtype=kind, shape=shape, data_offsets=offsets)
          for name, (kind, shape, offsets) in header.items()
        }
      )
    header = header.encode()
    path.write_bytes(len(header).to_bytes(8, 'little') + header + data)
    return path

  one = '"a": {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]}'
  cases = [
    ('[' * 4_000_000, 'recursion'),
    ('{"a":' * 800_000, 'recursion'),
    ('{' + ','.join(f'"{i}":0' for i in range(300_000)) + '}', 'not described'),
    (' ' * 90_000_000, 'header has 90000000 bytes'),
    ('{"a":' + '9' * 4_000_000 + '}', 'digits'),
    ('{' + one + ',' + one + '}', 'name twice'),
    ('[]', 'not an object'),
    ({'a': ('F4', [2], [0, 1])}, "type 'F4', not one of"),
    ({'a': ('U8', [4], [0, 4]), 'b': ('U8', [4], [2, 6])}, 'before it ends'),
    ({'a': ('U8', [4], [0, 4]), 'b': ('U8', [2], [6, 8])}, 'before it ends'),
    ({'a': ('U8', [9], [0, 9])}, 'the file has room for 8'),
    ({'a': ('U8', [2**64 + 8], [0, 8])}, 'shape or offsets'),
    ({'a': ('U8', [-1], [0, -1])}, 'shape or offsets'),
    ({'a': ('U8', [8.0], [0, 8])}, 'shape or offsets'),
    ({'a': ('F64', [2**32, 2**32], [0, 8])}, 'has 8 bytes'),
    ({'a': ('U8', [8], [0])}, 'not described'),
    ({'a\n\ud800': ('U9', [8], [0, 8])}, r"'a\n\ud800' is of type 'U9'"),
  ]
  paths = [file(i, header, bytes(8)) for i, (header, _) in enumerate(cases)]
  for line, (_, reason) in zip(outcomes(paths), cases, strict=True):
    assert reason in line and '<newline>' not in line
