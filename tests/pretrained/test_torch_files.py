"""The reader of torch.save's files, on files made without torch."""

import os
import pickle
import sys
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
import torch_written
from torch_written import (
  STORAGES,
  Call,
  Storage,
  rebuilt,
  save_legacy,
  save_zip,
  tensor,
)

from jaxdiff.pretrained.torch_files import read_torch

torch_modules = torch_written.torch_modules
both = pytest.mark.parametrize('save', [save_zip, save_legacy])


@both
@pytest.mark.parametrize('dtype', STORAGES.values())
def test_every_type(save, dtype, tmp_path):
  array = np.arange(-3, 9).reshape(3, 4).astype(dtype)
  save({'x': tensor(array)}, tmp_path / 'x')
  x = read_torch(tmp_path / 'x')['x']
  assert x.dtype == array.dtype
  np.testing.assert_array_equal(x, array)


@both
def test_scalars_empty_tensors_and_parameters(save, tmp_path):
  parameter = sys.modules['torch._utils']._rebuild_parameter
  content = OrderedDict(
    count=tensor(np.int64(7)),
    empty=tensor(np.zeros((0, 3), np.float32)),
    weight=Call(parameter, tensor(np.ones(2)), True, OrderedDict()),
  )
  content.metadata = OrderedDict(version=1)  # as a Module's state dict has
  save(content, tmp_path / 'x')
  x = read_torch(tmp_path / 'x')
  assert list(x) == ['count', 'empty', 'weight']
  assert x['count'].shape == () and x['count'] == 7
  assert x['empty'].shape == (0, 3)
  np.testing.assert_array_equal(x['weight'], [1, 1])


@both
def test_views_of_one_storage(save, tmp_path):
  """Slices, steps, transposes, repetition; memory shared and not written."""
  values = np.arange(24, dtype=np.float32)
  storage = Storage(values)
  content = {
    'all': rebuilt(storage, 0, (2, 3, 4), (12, 4, 1)),
    'transposed': rebuilt(storage, 0, (4, 6), (1, 4)),
    'stepped': rebuilt(storage, 5, (3,), (7,)),
    'repeated': rebuilt(storage, 23, (2, 5), (0, 0)),
  }
  save(content, tmp_path / 'x')
  x = read_torch(tmp_path / 'x')
  np.testing.assert_array_equal(x['all'], values.reshape(2, 3, 4))
  np.testing.assert_array_equal(x['transposed'], values.reshape(6, 4).T)
  np.testing.assert_array_equal(x['stepped'], [5, 12, 19])
  np.testing.assert_array_equal(x['repeated'], np.full((2, 5), 23))
  assert np.shares_memory(x['all'], x['stepped'])
  assert not any(array.flags.writeable for array in x.values())


def test_views_of_storages_in_old_files(tmp_path):
  values = np.arange(10, dtype=np.int32)
  storage = Storage(values, view=('view', 4, 3))
  save_legacy({'x': rebuilt(storage, 1, (2,), (1,))}, tmp_path / 'x')
  np.testing.assert_array_equal(read_torch(tmp_path / 'x')['x'], [5, 6])
  save_legacy({'x': rebuilt(storage, 1, (3,), (1,))}, tmp_path / 'x')
  with pytest.raises(ValueError, match='not inside its storage of 3'):
    read_torch(tmp_path / 'x')


@both
@pytest.mark.parametrize(
  'offset, shape, strides',
  [
    (0, (7,), (1,)),
    (5, (2,), (1,)),
    (0, (2, 2), (3, 3)),
    (0, (2,), (10**12,)),
    (-1, (2,), (1,)),
    (5, (3,), (-1,)),
    (6, (), ()),
    (0, (2, 2), (1,)),
  ],
)
def test_no_tensor_reaches_outside_its_storage(
  save, offset, shape, strides, tmp_path
):
  storage = Storage(np.zeros(6, np.float32))
  save({'x': rebuilt(storage, offset, shape, strides)}, tmp_path / 'x')
  with pytest.raises(ValueError):
    read_torch(tmp_path / 'x')


@both
def test_other_globals_are_named_and_not_called(save, tmp_path):
  marker = tmp_path / 'ran'
  for function, args, name in [
    (os.system, (f'touch {marker}',), f'{os.system.__module__}.system'),
    (eval, (f'open({str(marker)!r}, "w")',), '__builtin__.eval'),
    (getattr, ('x', 'upper'), '__builtin__.getattr'),
    (np.dtype, ('f4',), 'numpy.dtype'),
  ]:
    save({'x': Call(function, *args)}, tmp_path / 'x')
    with pytest.raises(ValueError, match=f"names '{name}'"):
      read_torch(tmp_path / 'x')
  assert not marker.exists()


@both
def test_a_storage_type_is_not_to_be_called(save, tmp_path):
  save({'x': Call(sys.modules['torch'].FloatStorage)}, tmp_path / 'x')
  with pytest.raises(ValueError, match='for a function'):
    read_torch(tmp_path / 'x')


@both
@pytest.mark.parametrize(
  'content, message',
  [
    ([1, 2], 'got list'),
    ({'epoch': 3}, r"'epoch' \(int\)"),
    ({'state_dict': {}, 'step': None}, r"'state_dict' \(dict\), 'step'"),
    ({3: 4}, 'a key must be a string, got int'),
  ],
)
def test_content_other_than_tensors(save, content, message, tmp_path):
  save(content, tmp_path / 'x')
  with pytest.raises(ValueError, match=message):
    read_torch(tmp_path / 'x')


@both
def test_a_file_cut_anywhere_is_refused(save, tmp_path):
  path = tmp_path / 'x'
  save({'x': tensor(np.arange(5.0)), 'y': tensor(np.arange(3))}, path)
  assert len(read_torch(path)) == 2
  whole = path.read_bytes()
  for length in range(0, len(whole), 5):
    path.write_bytes(whole[:length])
    with pytest.raises(ValueError, match='cannot be read'):
      read_torch(path)


def test_a_flipped_bit_in_an_archive_is_seen(tmp_path):
  path = tmp_path / 'x'
  save_zip({'x': tensor(np.full(4, 7.5))}, path)
  whole = path.read_bytes()
  at = whole.index(np.full(4, 7.5).tobytes())
  path.write_bytes(whole[:at] + b'\xff' + whole[at + 1 :])
  with pytest.raises(ValueError, match='CRC'):
    read_torch(path)


def test_files_of_another_kind(tmp_path):
  path = tmp_path / 'x'
  path.write_text('<html>404: not found</html>')
  with pytest.raises(ValueError, match='cannot be read'):
    read_torch(path)
  path.write_bytes(pickle.dumps({'x': 1}, 2))
  with pytest.raises(ValueError, match='neither of the two formats'):
    read_torch(path)
  with zipfile.ZipFile(path, 'w') as archive:
    archive.writestr('readme.txt', b'')
  with pytest.raises(ValueError, match='one data.pkl'):
    read_torch(path)


def test_archives_beyond_4_gb_say_sizes_in_64_bits(tmp_path, monkeypatch):
  monkeypatch.setattr(zipfile, 'ZIP64_LIMIT', 8)
  array = np.arange(50.0)
  save_zip({'x': tensor(array)}, tmp_path / 'x')
  whole = (tmp_path / 'x').read_bytes()
  assert b'PK\6\7' in whole and b'\xff' * 8 in whole
  np.testing.assert_array_equal(read_torch(tmp_path / 'x')['x'], array)


def test_python_2_writes_dicts_as_pairs_in_lists(tmp_path):
  items = [['x', tensor(np.ones(2))], ['y', tensor(np.zeros(3))]]
  save_zip(Call(OrderedDict, items), tmp_path / 'x')
  assert list(read_torch(tmp_path / 'x')) == ['x', 'y']


def test_an_expanded_tensor_is_not_larger_than_the_file(tmp_path):
  storage = Storage(np.ones(1, np.float32))
  save_zip({'x': rebuilt(storage, 0, (10**6, 10**6), (0, 0))}, tmp_path / 'x')
  with pytest.raises(ValueError, match='larger than the file'):
    read_torch(tmp_path / 'x')


def test_a_storage_is_of_the_size_that_the_pickle_says(tmp_path):
  path = tmp_path / 'x'
  save_legacy({'x': tensor(np.ones(2))}, path)
  whole = path.read_bytes()
  # The most significant byte of the number of elements: 2^62 more.
  path.write_bytes(whole[:-17] + b'\x40' + whole[-16:])
  with pytest.raises(ValueError, match='should have 2 elements'):
    read_torch(path)


def test_big_endian_files_are_refused(tmp_path):
  path = tmp_path / 'x'
  save_zip({'x': tensor(np.ones(2))}, path, byteorder=b'big')
  with pytest.raises(ValueError, match='big-endian'):
    read_torch(path)
  save_legacy({'x': tensor(np.ones(2))}, path, little=False)
  with pytest.raises(ValueError, match='big-endian'):
    read_torch(path)
