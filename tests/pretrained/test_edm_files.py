"""EDM's weights as safetensors: names, sizes, what is refused."""

import re

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from safetensors.numpy import save_file

from jaxdiff import models
from jaxdiff.config import Gaussian
from jaxdiff.models.networks import scaled
from jaxdiff.pretrained import edm_weights
from jaxdiff.runs import published
from jaxdiff.schedules import edm

SIDE, WIDTH = 8, 8


def state(ncsn=False, classes=0):
  """Random tensors by the names of the authors' code, two levels of a block."""
  rng = np.random.default_rng(0)
  found = {}

  def add(name, *shape, bias=True):
    found[f'model.{name}.weight'] = rng.normal(size=shape) / 5
    if bias:
      found[f'model.{name}.bias'] = rng.normal(size=shape[:1]) / 5

  def block(name, into, out, attends=False, resampled=False):
    add(f'{name}.norm0', into)
    add(f'{name}.conv0', out, into, 3, 3)
    add(f'{name}.affine', out, 4 * WIDTH)
    add(f'{name}.norm1', out)
    add(f'{name}.conv1', out, out, 3, 3)
    if into != out or resampled:
      add(f'{name}.skip', out, into, 1, 1)
    if resampled:
      found[f'model.{name}.conv0.resample_filter'] = np.ones((1, 1, 2, 2))
    if attends:
      add(f'{name}.norm2', out)
      add(f'{name}.qkv', 3 * out, out, 1, 1)
      add(f'{name}.proj', out, out, 1, 1)

  waves = 2 * WIDTH if ncsn else WIDTH
  if ncsn:
    found['model.map_noise.freqs'] = rng.normal(size=WIDTH)
    add('enc.4x4_aux_residual', WIDTH, 3, 3, 3)
  if classes:
    add('map_label', waves, classes)
  add('map_augment', waves, 9, bias=False)
  add('map_layer0', 4 * WIDTH, waves)
  add('map_layer1', 4 * WIDTH, 4 * WIDTH)
  add('enc.8x8_conv', WIDTH, 3, 3, 3)
  block('enc.8x8_block0', WIDTH, WIDTH)
  block('enc.4x4_down', WIDTH, WIDTH, resampled=True)
  block('enc.4x4_block0', WIDTH, 16, True)
  block('dec.4x4_in0', 16, 16, True)
  block('dec.4x4_in1', 16, 16)
  block('dec.4x4_block0', 32, 16)
  block('dec.4x4_block1', 16 + WIDTH, 16, True)
  block('dec.8x8_up', 16, 16, resampled=True)
  block('dec.8x8_block0', 16 + WIDTH, WIDTH)
  block('dec.8x8_block1', 2 * WIDTH, WIDTH)
  add('dec.8x8_aux_norm', WIDTH)
  add('dec.8x8_aux_conv', 3, WIDTH, 3, 3)
  return {k: x.astype(np.float32) for k, x in found.items()}


@pytest.mark.parametrize('ncsn, classes', [(False, 0), (True, 3)])
def test_a_file_becomes_a_run(ncsn, classes, tmp_path):
  tensors = state(ncsn, classes)
  save_file(tensors, tmp_path / 'edm.safetensors')
  found = published.read(tmp_path / 'edm.safetensors', str(tmp_path / 'run'))
  network = found.config.network
  assert network.variant == ('ncsn++' if ncsn else 'ddpm++')
  assert network.channel_mults == (1, 2) and network.num_res_blocks == 1
  assert network.attention_resolutions == (4,)
  assert found.spec.num_classes == (classes or None)
  init = models.make(found.config, found.spec).init
  shapes = jax.eval_shape(init, jax.random.key(0))
  same = jax.tree.map(lambda a, b: a.shape == b.shape, found.params, shapes)
  assert all(jax.tree.leaves(same))

  # q, k and v alternate; the embedding of a label is sqrt(num) W + b.
  params = flatten_dict(found.params)
  qkv = tensors['model.dec.4x4_in0.qkv.weight'][:, :, 0, 0]
  for i, name in enumerate('qkv'):
    kernel = params['middle_attention', 'attention', name, 'kernel']
    np.testing.assert_array_equal(kernel, qkv[i::3].T)
  if classes:
    w, b = (tensors[f'model.map_label.{x}'] for x in ('weight', 'bias'))
    table = params['label', 'embedding']
    np.testing.assert_allclose(table[1], 3**0.5 * w[:, 1] + b, rtol=1e-5)
    np.testing.assert_array_equal(table[3], b)


def test_the_network_is_given_unit_size_and_the_noise():
  def apply(params, xt, t, cond, keys=None):
    return xt, t

  c = Gaussian(schedule='edm', prediction='edm(sigma_data=0.3)', log_sigma=True)
  schedule, t = edm(), np.array([0.2, 0.8], np.float32)
  _, sigma = schedule(t)
  xt, time = scaled(apply, schedule, c)(None, np.ones((2, 1)), t, {})
  np.testing.assert_allclose(time, np.log(sigma) / 4, rtol=1e-6)
  wanted = 1 / np.sqrt(0.3**2 + np.square(sigma))
  np.testing.assert_allclose(xt[:, 0], wanted, rtol=1e-6)
  with pytest.raises(ValueError, match='needs --diffusion.prediction edm'):
    Gaussian(log_sigma=True)


@pytest.mark.parametrize(
  'change, message',
  [
    ({'model.enc.8x8_block0.conv1.weight': (12, 8, 3, 3)}, 'multiples of 8'),
    ({'model.enc.2x2_block0.conv1.weight': (16, 16, 3, 3)}, 'missing: '),
    ({'model.enc.1x1_block0.conv1.weight': (8, 8, 3, 3)}, 'on every level'),
    ({'model.other': (1,)}, 'unexpected: other'),
    ({'model.map_label.weight': (8,)}, 'must be a matrix, with a bias'),
    ({'model.dec.4x4_in0.qkv.weight': (47, 16, 1, 1)}, 'wrong: '),
  ],
)
def test_other_tensors_are_refused(change, message, tmp_path):
  zeros = {name: np.zeros(shape, np.float32) for name, shape in change.items()}
  path = tmp_path / 'edm.safetensors'
  save_file(state() | zeros, path)
  with pytest.raises(ValueError, match=re.escape(message)) as error:
    published.read(path, str(tmp_path / 'run'))
  assert '\n' not in str(error.value)


def test_flags_of_a_dit_are_refused(tmp_path):
  save_file(state(), tmp_path / 'edm.safetensors')
  assert edm_weights.is_edm(state())
  with pytest.raises(ValueError, match='are for a file of a DiT'):
    published.read(tmp_path / 'edm.safetensors', 'run', num_heads=2)
