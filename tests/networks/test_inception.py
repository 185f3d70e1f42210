"""Inception-v3: its size, its two odd pools, what the features are, and the
reading of a state dict."""

import hashlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxdiff.networks.inception import Inception
from jaxdiff.pretrained.inception_weights import (
  inception_params,
  load_inception,
)

NORM = ('mean', 'var', 'scale', 'bias')
SIZE = 139  # the smallest image that leaves a last map of 3x3


@pytest.fixture(scope='module')
def shapes():
  images = jax.ShapeDtypeStruct((1, 299, 299, 3), jnp.float32)
  net = Inception()
  return jax.eval_shape(net.init, jax.random.key(0), images)['params']


def random_params(shapes):
  rng = np.random.default_rng(0)
  params = {}
  for path, shape in flatten_dict(shapes).items():
    value = rng.standard_normal(shape.shape, np.float32)
    if path[-1] == 'kernel':
      value *= np.float32((2 / np.prod(shape.shape[:-1])) ** 0.5)
    elif path[-1] == 'var':
      value = np.exp(0.3 * value)
    else:
      value = 0.1 * value + (path[-1] == 'scale')
    params[path] = jnp.asarray(value)
  return params


@pytest.fixture(scope='module')
def run(shapes):
  """Random parameters; two images; features, and what every layer gave."""
  params = random_params(shapes)
  # The pools of the last blocks pass through unchanged.
  for block in ('Mixed_7b', 'Mixed_7c'):
    layer = (block, 'branch_pool')
    params[*layer, 'kernel'] = jnp.eye(*params[*layer, 'kernel'].shape[2:])[
      None, None
    ]
    params[*layer, 'var'] = jnp.full(192, 1 - 1e-3)
    params[*layer, 'scale'] = jnp.ones(192)
    params[*layer, 'mean'] = params[*layer, 'bias'] = jnp.zeros(192)
  images = np.random.default_rng(1).uniform(-1, 1, (2, SIZE, SIZE, 3))

  def apply(params, images):
    return Inception().apply(
      {'params': params}, images, capture_intermediates=True
    )

  apply = jax.jit(apply, compiler_options={'xla_backend_optimization_level': 0})
  features, state = apply(unflatten_dict(params), images.astype('float32'))
  layers = {
    path[:-1]: value[0]
    for path, value in flatten_dict(state['intermediates']).items()
  }
  return params, features, layers


def test_size(shapes):
  """The published file's 472 tensors, 94 of them convolutions."""
  leaves = flatten_dict(shapes)
  assert len(leaves) == 472
  assert sum(path[-1] == 'var' for path in leaves) == 94
  assert sum(leaf.size for leaf in leaves.values()) == 23_885_392


def test_shapes_at_full_size(shapes):
  images = jax.ShapeDtypeStruct((2, 299, 299, 3), jnp.float32)
  out = jax.eval_shape(Inception().apply, {'params': shapes}, images)
  assert [x.shape for x in out] == [(2, 2048), (2, 2023), (2, 1008), (2, 1008)]
  assert all(x.dtype == jnp.float32 for x in out)


def test_features_are_what_they_are_said_to_be(run):
  params, features, layers = run
  last = np.asarray(layers['Mixed_7c',])
  assert last.shape == (2, 3, 3, 2048)
  np.testing.assert_allclose(features.pool, last.mean((1, 2)), rtol=1e-5)
  # The first of branch1x1, which the block makes together with others.
  of = {
    k: np.asarray(params['Mixed_6d', 'branch1x1', k]) for k in ('kernel', *NORM)
  }
  first = np.asarray(layers['Mixed_6c',]) @ of['kernel'][0, 0, :, :7]
  mean, var, scale, bias = (of[k][:7] for k in NORM)
  first = (first - mean) / np.sqrt(var + 1e-3) * scale + bias
  np.testing.assert_allclose(
    features.spatial, np.maximum(first, 0).reshape(2, -1), rtol=1e-4, atol=1e-4
  )
  assert features.spatial.min() == 0 < features.spatial.max()
  logits = features.pool @ params['fc', 'kernel']
  np.testing.assert_allclose(features.logits, logits, rtol=1e-4, atol=1e-4)
  np.testing.assert_array_equal(
    features.class_logits, features.logits + params['fc_bias',][None]
  )


@pytest.mark.parametrize(
  'block, before, reduce',
  [('Mixed_7b', 'Mixed_7a', np.mean), ('Mixed_7c', 'Mixed_7b', np.max)],
)
def test_pools_of_the_last_blocks(run, block, before, reduce):
  """Over the neighbours that exist: a mean, but in the last block the max."""
  layers = run[2]
  x = np.asarray(layers[before,])[..., :192]
  near = [slice(0, 2), slice(0, 3), slice(1, 3)]
  expected = [[reduce(x[:, i, j], axis=(1, 2)) for j in near] for i in near]
  expected = np.moveaxis(np.asarray(expected), 2, 0)
  pooled = layers[block,][..., -192:]  # branch_pool is the last
  np.testing.assert_allclose(pooled, expected, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize(
  'shape', [(2, 299, 299, 1), (299, 299, 3), (1, 74, 299, 3)]
)
def test_refuses_other_images(shape):
  images = jax.ShapeDtypeStruct(shape, jnp.float32)
  with pytest.raises(ValueError, match=r'\[B, 299, 299, 3\]'):
    jax.eval_shape(Inception().init, jax.random.key(0), images)


def published(shapes):
  """A state dict under the published names, in torch's order of axes. Most
  tensors are filled with their number, a few are random."""
  rng = np.random.default_rng(2)
  state = {}
  for path, shape in flatten_dict(shapes).items():
    *layer, leaf = path
    layer = '.'.join(layer)
    if layer == 'fc' or path == ('fc_bias',):
      name = 'fc.weight' if layer else 'fc.bias'
    elif leaf == 'kernel':
      name = f'{layer}.conv.weight'
    elif leaf in ('mean', 'var'):
      name = f'{layer}.bn.running_{leaf}'
    else:
      name = f'{layer}.bn.{"weight" if leaf == "scale" else "bias"}'
    size = shape.shape
    size = [size[i] for i in {4: (3, 2, 0, 1), 2: (1, 0), 1: (0,)}[len(size)]]
    state[name] = np.broadcast_to(np.float32(len(state)), size)
    if layer in ('fc', 'Mixed_6c.branch7x7_2') or not layer:
      state[name] = rng.normal(size=size).astype(np.float32)
  return state


def test_reads_the_published_names(shapes):
  state = published(shapes)
  # From the published file's own listing.
  for name, shape in {
    'Conv2d_1a_3x3.conv.weight': (32, 3, 3, 3),
    'Mixed_5b.branch5x5_1.conv.weight': (48, 192, 1, 1),
    'Mixed_6c.branch7x7_2.conv.weight': (160, 160, 1, 7),
    'Mixed_7a.branch7x7x3_4.bn.running_var': (192,),
    'Mixed_7c.branch3x3dbl_3b.bn.bias': (384,),
    'fc.weight': (1008, 2048),
    'fc.bias': (1008,),
  }.items():
    assert state[name].shape == shape
  state['Mixed_5b.branch1x1.bn.num_batches_tracked'] = np.int64(3)
  params = flatten_dict(inception_params(state))
  layer = ('Mixed_6c', 'branch7x7_2')
  kernel = state['Mixed_6c.branch7x7_2.conv.weight']
  np.testing.assert_array_equal(
    params[*layer, 'kernel'], np.moveaxis(kernel, (2, 3, 1, 0), range(4))
  )
  for ours, theirs in {
    'scale': 'weight',
    'bias': 'bias',
    'mean': 'running_mean',
    'var': 'running_var',
  }.items():
    np.testing.assert_array_equal(
      params[*layer, ours], state[f'Mixed_6c.branch7x7_2.bn.{theirs}']
    )
  np.testing.assert_array_equal(params['fc', 'kernel'], state['fc.weight'].T)
  np.testing.assert_array_equal(params['fc_bias',], state['fc.bias'])
  for number, path in enumerate(flatten_dict(shapes)):
    if path[:-1] not in (layer, ('fc',), ()):
      assert float(params[path].ravel()[0]) == number


def test_faults_of_a_state_dict_are_named(shapes):
  state = published(shapes)
  del state['fc.bias'], state['Mixed_7b.branch1x1.bn.running_var']
  state['AuxLogits.fc.weight'] = np.zeros((10, 768), np.float32)
  state['fc.weight'] = np.zeros((1000, 2048), np.float32)
  state['Conv2d_2a_3x3.bn.bias'] = np.zeros(32, np.int8)
  with pytest.raises(ValueError) as error:
    inception_params(state)
  message = str(error.value)
  assert 'missing: Mixed_7b.branch1x1.bn.running_var, fc.bias;' in message
  assert 'unexpected: AuxLogits.fc.weight;' in message
  assert 'fc.weight (1000, 2048) float32 (expected (1008, 2048))' in message
  assert 'Conv2d_2a_3x3.bn.bias (32,) int8' in message


def test_a_missing_file_says_where_to_get_it(tmp_path):
  with pytest.raises(FileNotFoundError, match='fetch https://.*pt_inception'):
    load_inception(tmp_path / 'inception.pth')


def test_weights_come_with_the_hash_of_their_file(shapes, tmp_path):
  numpy_files = pytest.importorskip('safetensors.numpy')
  state = {k: np.ascontiguousarray(v) for k, v in published(shapes).items()}
  path = tmp_path / 'inception.safetensors'
  numpy_files.save_file(state, path)
  weights = load_inception(path)
  assert weights.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
  assert len(flatten_dict(weights.params)) == 472
