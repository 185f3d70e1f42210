"""LPIPS against its definition, by way of files of torch.save."""

import jax
import numpy as np
import pytest
import torch_written
from jax import lax
from torch_written import torch_modules as torch_modules  # a fixture

from jaxdiff.losses.autoencoding import perceptual_error
from jaxdiff.models import perceptual
from jaxdiff.pretrained.lpips_weights import load_lpips

# torchvision's `features`: a convolution is (channels, size, stride), each with
# a ReLU; a pool is its size, with stride 2. LPIPS sees what is before a MAP.
MAP = 'map'
VGG = [
  *[(64, 3, 1)] * 2,
  *(MAP, 2, *[(128, 3, 1)] * 2),
  *(MAP, 2, *[(256, 3, 1)] * 3),
  *(MAP, 2, *[(512, 3, 1)] * 3),
  *(MAP, 2, *[(512, 3, 1)] * 3, MAP),
]
ALEX = [(64, 11, 4), MAP, 3, (192, 5, 1), MAP, 3, (384, 3, 1), MAP]
ALEX += [(256, 3, 1), MAP, (256, 3, 1), MAP]
NETS = {'vgg': VGG, 'alex': ALEX}


def write(folder, name, state):
  path = folder / name
  path.parent.mkdir(parents=True, exist_ok=True)
  tensors = {key: torch_written.tensor(x) for key, x in state.items()}
  torch_written.save_zip(tensors, path)
  return path


@pytest.fixture
def published(request, tmp_path, monkeypatch):
  """Random weights of a network in its file, and a package `lpips`."""
  net = getattr(request, 'param', 'vgg')
  rng = np.random.default_rng(0)
  state, widths, index, channels = {}, [], 0, 3
  for layer in NETS[net]:
    if layer == MAP:
      widths.append(channels)
    elif isinstance(layer, int):
      index += 1
    else:
      width, size, _ = layer
      kernel = rng.normal(size=(width, channels, size, size))
      kernel /= size * channels**0.5
      state[f'features.{index}.weight'] = kernel.astype(np.float32)
      bias = 0.1 * rng.normal(size=width)
      state[f'features.{index}.bias'] = bias.astype(np.float32)
      channels, index = width, index + 2
  state['classifier.0.bias'] = np.zeros(3, np.float32)
  weights = {
    f'lin{i}.model.1.weight': rng.uniform(size=(1, width, 1, 1)).astype('f')
    for i, width in enumerate(widths)
  }
  (tmp_path / 'lpips').mkdir()
  (tmp_path / 'lpips/__init__.py').write_text('raise ImportError("no torch")')
  write(tmp_path, f'lpips/weights/v0.1/{net}.pth', weights)
  monkeypatch.syspath_prepend(tmp_path)
  return write(tmp_path, f'{net}.pth', state), state, weights, NETS[net]


def by_hand(state, weights, net, x, y):
  """The published program, [B, C, H, W] as torch has it."""

  def maps(x):
    shift = np.array([-0.030, -0.088, -0.188]).reshape(1, 3, 1, 1)
    scale = np.array([0.458, 0.448, 0.450]).reshape(1, 3, 1, 1)
    x, index, found = ((x - shift) / scale).astype(np.float32), 0, []
    for layer in net:
      if layer == MAP:
        found.append(x)
      elif isinstance(layer, int):
        sizes, strides = (1, 1, layer, layer), (1, 1, 2, 2)
        x = lax.reduce_window(x, -np.inf, lax.max, sizes, strides, 'VALID')
        index += 1
      else:
        _, size, stride = layer
        padding = [(2 if size > 3 else 1,) * 2] * 2
        kernel = state[f'features.{index}.weight']
        x = lax.conv_general_dilated(x, kernel, (stride, stride), padding)
        x = x + state[f'features.{index}.bias'].reshape(1, -1, 1, 1)
        x, index = np.maximum(x, 0), index + 2
    return found

  total = 0.0
  for i, (a, b) in enumerate(zip(maps(x), maps(y), strict=True)):
    unit = lambda m: m / (np.sqrt((m**2).sum(1, keepdims=True)) + 1e-10)
    square = (unit(a) - unit(b)) ** 2 * weights[f'lin{i}.model.1.weight']
    total = total + square.sum(1).mean((1, 2))
  return total


@pytest.mark.parametrize(
  'published, size',
  [pytest.param('vgg', (18, 16), marks=pytest.mark.slow), ('alex', (67, 40))],
  indirect=['published'],
)
def test_lpips_is_the_published_distance(published, size):
  path, state, weights, net = published
  space = perceptual.load(f'lpips:{path}')
  rng = np.random.default_rng(1)
  x, y = rng.uniform(-1, 1, (2, 2, *size, 3)).astype(np.float32)
  error = perceptual_error(
    lambda x: space.features(space.params, x), space.weights
  )
  turned = (z.transpose(0, 3, 1, 2) for z in (x, y))
  exact = by_hand(state, weights, net, *turned)
  np.testing.assert_allclose(jax.jit(error)(x, y), exact, rtol=1e-4)
  np.testing.assert_allclose(error(x, x), 0, atol=1e-7)
  # Grey images are repeated to three channels.
  grey = x[..., :1]
  np.testing.assert_allclose(
    space.features(space.params, grey)[0],
    space.features(space.params, np.repeat(grey, 3, -1))[0],
  )
  with pytest.raises(ValueError, match='8x8 are too small for LPIPS'):
    space.features(space.params, x[:, :8, :8])


def test_missing_files_are_named(published, tmp_path, monkeypatch):
  path, state, *_ = published
  with pytest.raises(FileNotFoundError, match='fetch https://download.pytorch'):
    load_lpips(tmp_path / 'none.pth')
  short = {k: x for k, x in state.items() if k != 'features.5.bias'}
  with pytest.raises(ValueError, match='missing: features.5.bias'):
    load_lpips(write(tmp_path, 'short.pth', short))
  (tmp_path / 'lpips/weights/v0.1/vgg.pth').unlink()
  with pytest.raises(FileNotFoundError, match='pip install --no-deps lpips'):
    load_lpips(path)
