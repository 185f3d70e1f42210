"""DINOv2 against transformers, every tensor random, by way of its files."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdiff.networks.dinov2 import DinoV2
from jaxdiff.pretrained.dinov2_weights import load_dinov2

torch = pytest.importorskip('torch')
transformers = pytest.importorskip('transformers')

TINY = dict(
  hidden_size=32,
  num_hidden_layers=2,
  num_attention_heads=4,
  image_size=20,
  patch_size=4,
)


def make(registers, gain, **sizes):
  """Their network, every tensor random."""
  if registers:
    config = transformers.Dinov2WithRegistersConfig(
      num_register_tokens=registers, **sizes
    )
    net = transformers.Dinov2WithRegistersModel(config)
  else:
    net = transformers.Dinov2Model(transformers.Dinov2Config(**sizes))
  generator = torch.Generator().manual_seed(0)
  with torch.no_grad():
    for name, parameter in net.named_parameters():
      noise = torch.randn(parameter.shape, generator=generator)
      matrix = parameter.ndim > 1 and 'token' not in name
      fan = parameter[0].numel() if matrix and 'position' not in name else 1
      parameter.copy_(gain * noise / fan**0.5)
  return net.eval()


def relative(ours, theirs):
  assert ours.shape == theirs.shape
  return np.linalg.norm(ours - theirs) / np.linalg.norm(theirs)


def compare(theirs, folder, shape):
  theirs.save_pretrained(folder)
  network, params, _ = load_dinov2(folder)
  images = np.random.default_rng(0).normal(size=(2, *shape, 3))
  images = images.astype(np.float32)
  with torch.no_grad():
    expected = theirs(torch.as_tensor(images.transpose(0, 3, 1, 2)))
  found = jax.jit(network.apply)({'params': params}, jnp.asarray(images))
  assert relative(found.pooled, expected.pooler_output.numpy()) < 5e-6
  last = expected.last_hidden_state[:, 1 + network.num_registers :].numpy()
  assert relative(found.patches.reshape(last.shape), last) < 5e-6
  return network


@pytest.mark.parametrize(
  'registers, gain, shape',
  [
    (0, 1.0, (20, 20)),
    (0, 0.02, (12, 12)),
    (0, 1.0, (12, 32)),
    (3, 1.0, (12, 12)),
    (3, 0.02, (32, 12)),
    (3, 1.0, (20, 20)),
  ],
)
def test_features_are_those_of_transformers(registers, gain, shape, tmp_path):
  compare(make(registers, gain, **TINY), tmp_path, shape)


@pytest.mark.parametrize('registers', [0, 4])
def test_full_size(registers, tmp_path):
  """ViT-S/14 at the 224 pixels of evaluation, its positions being of 518."""
  sizes = dict(hidden_size=384, num_attention_heads=6, patch_size=14)
  theirs = make(registers, 1.0, image_size=518, **sizes)
  network = compare(theirs, tmp_path, (224, 224))
  assert network == DinoV2(num_registers=registers)


def test_positions_of_the_original_code_have_their_own_scale():
  """It resamples by the factor (n + 0.1) / 37, not to n positions."""
  table = torch.randn(1, 5, 7, 7)
  expected = torch.nn.functional.interpolate(
    table, scale_factor=(3.1 / 7, 4.1 / 7), mode='bicubic'
  )
  network = DinoV2(28, 4, 20, 1, 5, 8, offset=0.1)
  images = jnp.zeros((1, 12, 16, 3))
  params = network.init(jax.random.key(0), images)['params']
  places = table[0].numpy().transpose(1, 2, 0).reshape(49, 5)
  places = np.tile(np.concatenate([np.zeros((1, 5)), places]), (1, 4))
  params = params | {'position_embedding': jnp.asarray(places, jnp.float32)}
  # Without blocks, which add what they make of the norm, nothing else is left.
  silent = {
    k: jnp.zeros_like(v) for k, v in params['block_0'].items() if 'scale_' in k
  }
  params = params | {'block_0': params['block_0'] | silent}
  params['patches'] = jax.tree.map(jnp.zeros_like, params['patches'])
  found = network.apply({'params': params}, images).patches[0, ..., :5]
  expected = expected[0].numpy().transpose(1, 2, 0)
  expected = expected - expected.mean(-1, keepdims=True)
  expected /= np.sqrt((expected**2).mean(-1, keepdims=True) + 1e-6)
  assert relative(np.asarray(found), expected) < 5e-6
