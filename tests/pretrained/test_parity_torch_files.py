"""The reader on files that torch itself wrote, in both formats."""

import numpy as np
import pytest

from jaxdiff.pretrained.torch_files import read_torch

torch = pytest.importorskip('torch')


@pytest.mark.parametrize('zipped', [True, False])
def test_reads_what_torch_writes(zipped, tmp_path):
  base = torch.arange(24.0).reshape(4, 6)
  state = {
    'base': base,
    'transposed': base.T,
    'slice': base[1:3, ::2],
    'expanded': base[0, :1].expand(5),
    'parameter': torch.nn.Parameter(torch.randn(3)),
    'scalar': torch.tensor(7),
    'empty': torch.zeros(0, 2),
  }
  for name in 'float64 float16 int32 int16 int8 uint8 bool bfloat16'.split():
    state[name] = torch.tensor([0, 1, 2]).to(getattr(torch, name))
  path = tmp_path / 'state.pth'
  torch.save(state, path, _use_new_zipfile_serialization=zipped)
  ours = read_torch(path)
  assert list(ours) == list(state)
  for name, tensor in state.items():
    assert f'torch.{ours[name].dtype}' == str(tensor.dtype)
    theirs = tensor.detach().to(torch.float64).numpy()
    np.testing.assert_array_equal(ours[name].astype(np.float64), theirs)


@pytest.mark.parametrize('zipped', [True, False])
def test_reads_the_state_of_a_module(zipped, tmp_path):
  net = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
  path = tmp_path / 'net.pth'
  torch.save(net.state_dict(), path, _use_new_zipfile_serialization=zipped)
  ours = read_torch(path)
  assert set(ours) == set(net.state_dict())
  torch.save(net, path, _use_new_zipfile_serialization=zipped)
  with pytest.raises(ValueError, match='Sequential'):
    read_torch(path)
