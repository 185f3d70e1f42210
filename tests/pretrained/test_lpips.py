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

# Channels and layers of torchvision's `features`; a pool is 'M'.
VGG = [64, 64, 'M', 128, 128, 'M', 256, 256, 256, 'M']
VGG += [512, 512, 512, 'M', 512, 512, 512]


def write(folder, name, state):
  path = folder / name
  path.parent.mkdir(parents=True, exist_ok=True)
  tensors = {key: torch_written.tensor(x) for key, x in state.items()}
  torch_written.save_zip(tensors, path)
  return path


@pytest.fixture
def published(tmp_path, monkeypatch):
  """Random weights of VGG-16 in its file, and a package `lpips`."""
  rng = np.random.default_rng(0)
  state, index, channels = {}, 0, 3
  for width in VGG:
    if width != 'M':
      kernel = rng.normal(size=(width, channels, 3, 3)) / (3 * channels**0.5)
      state[f'features.{index}.weight'] = kernel.astype(np.float32)
      bias = 0.1 * rng.normal(size=width)
      state[f'features.{index}.bias'] = bias.astype(np.float32)
      channels, index = width, index + 1
    index += 1
  state['classifier.0.bias'] = np.zeros(3, np.float32)
  weights = {
    f'lin{i}.model.1.weight': rng.uniform(size=(1, width, 1, 1)).astype('f')
    for i, width in enumerate((64, 128, 256, 512, 512))
  }
  (tmp_path / 'lpips').mkdir()
  (tmp_path / 'lpips/__init__.py').write_text('raise ImportError("no torch")')
  write(tmp_path, 'lpips/weights/v0.1/vgg.pth', weights)
  monkeypatch.syspath_prepend(tmp_path)
  return write(tmp_path, 'vgg16.pth', state), state, weights


def by_hand(state, weights, x, y):
  """The published program, [B, C, H, W] as torch has it."""

  def maps(x):
    shift = np.array([-0.030, -0.088, -0.188]).reshape(1, 3, 1, 1)
    scale = np.array([0.458, 0.448, 0.450]).reshape(1, 3, 1, 1)
    x, index, found = ((x - shift) / scale).astype(np.float32), 0, []
    for width in [*VGG, 'M']:
      if width == 'M':
        found.append(x)
        b, c, h, w = x.shape
        x = x[:, :, : h // 2 * 2, : w // 2 * 2]
        x = x.reshape(b, c, h // 2, 2, w // 2, 2).max((3, 5))
        index += 1
        continue
      kernel = state[f'features.{index}.weight']
      x = lax.conv(x, kernel, (1, 1), 'SAME')
      x = x + state[f'features.{index}.bias'].reshape(1, -1, 1, 1)
      x, index = np.maximum(x, 0), index + 2
    return found

  total = 0.0
  for i, (a, b) in enumerate(zip(maps(x), maps(y), strict=True)):
    unit = lambda m: m / (np.sqrt((m**2).sum(1, keepdims=True)) + 1e-10)
    square = (unit(a) - unit(b)) ** 2 * weights[f'lin{i}.model.1.weight']
    total = total + square.sum(1).mean((1, 2))
  return total


def test_lpips_of_vgg16_is_the_published_distance(published):
  path, state, weights = published
  space = perceptual.load(f'lpips:{path}')
  rng = np.random.default_rng(1)
  x, y = rng.uniform(-1, 1, (2, 2, 18, 16, 3)).astype(np.float32)
  error = perceptual_error(
    lambda x: space.features(space.params, x), space.weights
  )
  exact = by_hand(state, weights, *(z.transpose(0, 3, 1, 2) for z in (x, y)))
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
  path, state, _ = published
  with pytest.raises(FileNotFoundError, match='fetch https://download.pytorch'):
    load_lpips(tmp_path / 'none.pth')
  short = {k: x for k, x in state.items() if k != 'features.5.bias'}
  with pytest.raises(ValueError, match='missing: features.5.bias'):
    load_lpips(write(tmp_path, 'short.pth', short))
  (tmp_path / 'lpips/weights/v0.1/vgg.pth').unlink()
  with pytest.raises(FileNotFoundError, match='pip install --no-deps lpips'):
    load_lpips(path)
