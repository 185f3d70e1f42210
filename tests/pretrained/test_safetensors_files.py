"""The reader of safetensors, on files made by hand."""

import json

import ml_dtypes
import numpy as np
import pytest

from jaxdiff.pretrained.files import read_weights, sha256
from jaxdiff.pretrained.safetensors_files import read_safetensors

NAMES = {
  'F64': np.float64,
  'F32': np.float32,
  'F16': np.float16,
  'BF16': ml_dtypes.bfloat16,
  'F8_E4M3': ml_dtypes.float8_e4m3fn,
  'F8_E5M2': ml_dtypes.float8_e5m2,
  'I64': np.int64,
  'I32': np.int32,
  'U8': np.uint8,
  'BOOL': np.bool_,
}


def written(arrays):
  header, data = {}, b''
  for name, array in arrays.items():
    kind = next(k for k, v in NAMES.items() if array.dtype == v)
    end = len(data) + array.nbytes
    header[name] = dict(
      dtype=kind, shape=array.shape, data_offsets=(len(data), end)
    )
    data += array.tobytes()
  header = json.dumps(header).encode()
  return len(header).to_bytes(8, 'little') + header + data


def test_every_type(tmp_path):
  arrays = {k: np.arange(6).reshape(2, 3).astype(v) for k, v in NAMES.items()}
  arrays |= {'empty': np.zeros((2, 0)), 'scalar': np.array(3.0)}
  path = tmp_path / 'x.safetensors'
  path.write_bytes(written(arrays))
  read = read_weights(path, 'nothing')
  assert read.keys() == arrays.keys()
  for name, array in arrays.items():
    assert read[name].dtype == array.dtype
    np.testing.assert_array_equal(read[name], array)


def test_a_file_cut_anywhere_is_refused(tmp_path):
  path = tmp_path / 'x.safetensors'
  whole = written({'x': np.arange(6.0)})
  for length in range(len(whole)):
    path.write_bytes(whole[:length])
    with pytest.raises(ValueError, match='x.safetensors cannot be read'):
      read_safetensors(path)


def test_a_missing_file_says_what_to_fetch(tmp_path):
  with pytest.raises(FileNotFoundError, match='fetch this from there'):
    read_weights(tmp_path / 'x.safetensors', 'this from there')


def test_hash_of_a_file(tmp_path):
  (tmp_path / 'x').write_bytes(b'abc')  # the example of FIPS 180-2
  assert sha256(tmp_path / 'x') == (
    'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'
  )
