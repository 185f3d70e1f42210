"""PyTorch's files of weights, written without PyTorch."""

import io
import pickle
import struct
import sys
import types
import zipfile
from collections import OrderedDict

import ml_dtypes
import numpy as np
import pytest

STORAGES = {
  'DoubleStorage': np.float64,
  'FloatStorage': np.float32,
  'HalfStorage': np.float16,
  'BFloat16Storage': ml_dtypes.bfloat16,
  'LongStorage': np.int64,
  'IntStorage': np.int32,
  'ShortStorage': np.int16,
  'CharStorage': np.int8,
  'ByteStorage': np.uint8,
  'BoolStorage': np.bool_,
}


class Call:
  """What is pickled as the call of a function."""

  def __init__(self, function, *args):
    self.call = (function, args)

  def __reduce__(self):
    return self.call


class Storage:
  def __init__(self, values, view=None):
    self.values = values
    self.view = view


@pytest.fixture(autouse=True)
def torch_modules(monkeypatch):
  """Modules of torch's names, for a pickle to name what is in them."""
  for module, names in {
    'torch': STORAGES,
    'torch._utils': ['_rebuild_tensor_v2', '_rebuild_parameter'],
  }.items():
    fake = types.ModuleType(module)
    for name in names:
      member = type(name, (), {'__module__': module})
      setattr(fake, name, member)
    monkeypatch.setitem(sys.modules, module, fake)


def rebuilt(storage, offset, shape, strides):
  function = sys.modules['torch._utils']._rebuild_tensor_v2
  return Call(function, storage, offset, shape, strides, False, OrderedDict())


def tensor(array):
  array = np.asarray(array)
  strides = tuple(s // array.itemsize for s in array.strides)
  return rebuilt(Storage(array.ravel()), 0, array.shape, strides)


def pickled(content, legacy):
  """The pickle, and the storages by key in the order they were met."""
  storages = {}

  class Pickler(pickle.Pickler):
    def persistent_id(self, value):
      if not isinstance(value, Storage):
        return None
      key = str(id(value.values))
      storages[key] = value.values
      names = {np.dtype(t): name for name, t in STORAGES.items()}
      kind = getattr(sys.modules['torch'], names[value.values.dtype])
      saved = ('storage', kind, key, 'cpu', value.values.size)
      return (*saved, value.view) if legacy else saved

  file = io.BytesIO()
  Pickler(file, protocol=2).dump(content)
  return file.getvalue(), storages


def save_zip(content, path, byteorder=b'little'):
  data, storages = pickled(content, legacy=False)
  with zipfile.ZipFile(path, 'w') as archive:
    archive.writestr('model/data.pkl', data)
    archive.writestr('model/byteorder', byteorder)
    for key, values in storages.items():
      archive.writestr(f'model/data/{key}', values.tobytes())
    archive.writestr('model/version', b'3\n')


def save_legacy(content, path, little=True):
  data, storages = pickled(content, legacy=True)
  with open(path, 'wb') as file:
    pickle.dump(0x1950A86A20F9469CFC6C, file, protocol=2)
    pickle.dump(1001, file, protocol=2)
    pickle.dump({'little_endian': little}, file, protocol=2)
    file.write(data)
    pickle.dump(list(storages), file, protocol=2)
    for values in storages.values():
      file.write(struct.pack('<q', values.size) + values.tobytes())
