"""Features: every image once, on any devices, whole or as moments."""

import socket
import subprocess
import sys
import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdiff import parallel
from jaxdiff.evaluation import (
  extractors,
  features,
  frechet,
  measuring,
  spaces,
)
from jaxdiff.evaluation.flags import Against, Running
from jaxdiff.networks.inception import Inception
from jaxdiff.parallel.batches import join, local_range
from jaxdiff.pretrained import resize
from jaxdiff.pretrained.inception_weights import InceptionWeights

PARAMS = np.random.default_rng(1).normal(size=(75, 6)).astype(np.float32)


def feature_fn(params, images):
  x = images.reshape(len(images), -1) / 255.0
  return {
    'pool': jnp.tanh(jnp.matmul(x, params, precision='highest')),
    'sum': x.sum(axis=1, keepdims=True).astype(jnp.bfloat16),
  }


def pictures(num):
  shape = (num, 5, 5, 3)
  return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def batched(images, size):
  return (images[i : i + size] for i in range(0, len(images), size))


def extract(feature_fn, params, batches, **options):
  run = features.extraction(feature_fn, params, **options)
  return features.concatenate(run(batches))


def mesh(devices):
  return parallel.make_mesh(devices=jax.devices()[:devices])


@pytest.mark.parametrize('mode', ['jit', 'pmap'])
@pytest.mark.parametrize('devices', [1, 8])
def test_every_image_once_and_in_order(mode, devices):
  """29 is divided by no batch of 9 and no 8 devices."""
  images, done = pictures(29), []
  found = extract(
    feature_fn,
    PARAMS,
    batched(images, 9),
    mesh=mesh(devices),
    mode=mode,
    progress=done.append,
  )
  x = images.reshape(29, -1) / 255.0
  assert found['pool'].shape == (29, 6) and found['sum'].shape == (29, 1)
  assert all(f.dtype == np.float32 for f in found.values())
  np.testing.assert_allclose(found['pool'], np.tanh(x @ PARAMS), atol=1e-5)
  assert done == [9, 9, 9, 2]


def test_batches_of_any_sizes_and_one_compilation():
  images, traces = pictures(38), []

  def counted(params, batch):
    traces.append(batch.shape)
    return feature_fn(params, batch)

  sizes = [16, 1, 0, 16, 5]
  ends = np.cumsum(sizes)
  batches = [images[e - n : e] for e, n in zip(ends, sizes, strict=True)]
  found = extract(counted, PARAMS, batches, mesh=mesh(8))
  whole = extract(feature_fn, PARAMS, [images], mesh=mesh(1))
  np.testing.assert_allclose(found['pool'], whole['pool'], atol=1e-6)
  assert len(traces) == 1


def test_moments_of_a_stream_are_those_of_its_features():
  images = pictures(29)
  rule = resize.tf1(5)
  options = {'mesh': mesh(8), 'prepare': rule.host}
  fn = lambda params, x: feature_fn(params, 255.0 * rule.device(x))
  found = extract(fn, PARAMS, batched(images, 8), **options)
  run = features.extraction(fn, PARAMS, **options)
  parts = run(batched(images, 3))
  for name, (mean, cov, num) in frechet.accumulate(parts).items():
    x = found[name].astype(np.float64)
    assert num == 29 and mean.dtype == cov.dtype == np.float64
    np.testing.assert_allclose(mean, x.mean(axis=0), atol=1e-6)
    expected = np.atleast_2d(np.cov(x, rowvar=False))
    np.testing.assert_allclose(cov, expected, atol=1e-6)


def test_what_is_refused():
  few = lambda fn, n=4: extract(
    fn, PARAMS, batched(pictures(n), 2), mesh=mesh(1)
  )
  with pytest.raises(ValueError, match='no examples'):
    few(feature_fn, 0)
  with pytest.raises(ValueError, match=r"\[B, D\], got 'x' of shape"):
    few(lambda params, x: {'x': x})
  images = pictures(5)
  images[3] = 0

  def broken(params, x):
    return {'x': 1 / x.reshape(len(x), -1).sum(axis=1, keepdims=True)}

  with pytest.raises(ValueError, match="'x' are not finite"):
    extract(broken, PARAMS, batched(images, 2), mesh=mesh(1))


JOB = """
import sys
import jax
jax.config.update('jax_platforms', 'cpu')
jax.config.update('jax_num_cpu_devices', 2)
jax.config.update('jax_cpu_collectives_implementation', 'gloo')
jax.distributed.initialize(f'127.0.0.1:{sys.argv[1]}', 2, int(sys.argv[2]))
import numpy as np
from jaxdiff.evaluation import features
from jaxdiff.parallel.batches import local_range
from evaluation.test_features import PARAMS, batched, feature_fn, pictures

images = pictures(11)
start, stop = local_range(11)
assert stop - start == 5 + jax.process_index()
run = features.extraction(feature_fn, PARAMS)
parts = list(run(batched(images[start:stop], 4)))
every = features.reduce(parts, ['pool', 'sum'])
moments = features.reduce(parts, [])
if jax.process_index() == 0:
  np.savez(sys.argv[3], **every, **{
    f'{part}_{k}': value for k, m in moments.items()
    for part, value in m._asdict().items()})
print('done')
"""


@pytest.mark.timeout(120)
def test_two_processes_share_the_images(tmp_path):
  from runs.test_checkpoint_processes import start

  with socket.socket() as free:
    free.bind(('127.0.0.1', 0))
    port = free.getsockname()[1]
  path = tmp_path / 'found.npz'
  jobs = [start(JOB, port, i, path) for i in range(2)]
  try:
    results = [job.communicate(timeout=100) for job in jobs]
  finally:
    for job in jobs:
      job.kill()
  for output, error in results:
    assert output.endswith('done\n'), error
  found = np.load(path)
  x = extract(feature_fn, PARAMS, [pictures(11)], mesh=mesh(1))['pool']
  np.testing.assert_allclose(found['pool'], x, atol=1e-6)
  # To float64: what went over the wire was not rounded.
  x = found['pool'].astype(np.float64)
  np.testing.assert_allclose(found['mean_pool'], x.mean(axis=0), rtol=1e-13)
  np.testing.assert_allclose(found['cov_pool'], np.cov(x.T), rtol=1e-10)
  assert found['num_pool'] == 11


def test_one_process_has_all():
  assert local_range(7) == (0, 7)
  with pytest.raises(ValueError, match='cannot be divided'):
    local_range(0)
  x = np.ones((2, 3), np.float32)
  assert join(x) is x
  assert features.join_moments(frechet.moments(x)).num == 2


def test_importing_the_metrics_needs_no_torch():
  script = """
  import sys
  from jaxdiff.evaluation import metrics, references
  from jaxdiff.pretrained import resize
  from jaxdiff.runs import results
  print(sorted({'torch', 'tensorflow', 'matplotlib'} & set(sys.modules)))
  """
  command = [sys.executable, '-c', textwrap.dedent(script)]
  result = subprocess.run(command, capture_output=True, text=True, timeout=60)
  assert result.stdout == '[]\n', result.stderr


def test_inception_gives_what_the_metrics_take(monkeypatch, tmp_path):
  blank = jax.ShapeDtypeStruct((1, 299, 299, 3), np.float32)
  shapes = jax.eval_shape(Inception().init, jax.random.key(0), blank)
  weights = InceptionWeights(shapes['params'], spaces.INCEPTION_SHA256)
  monkeypatch.setattr(extractors, 'load_inception', lambda path: weights)
  found = extractors.load('inception', 'pt_inception.pth', 'tf1')
  images = jax.ShapeDtypeStruct((2, 32, 32, 3), np.uint8)
  features = jax.eval_shape(found.feature_fn, found.params, images)
  assert {name: x.shape for name, x in features.items()} == {
    'pool': (2, 2048),
    'spatial': (2, 2023),
    'logits': (2, 1008),
  }
  assert found.space.resize == 'tf1' and spaces.is_published(found.space)
  # The resize rule of published statistics is their own.
  np.savez(tmp_path / 'adm.npz', mu=np.zeros(2048), sigma=np.eye(2048))
  against = Against(
    reference=str(tmp_path / 'adm.npz'), weights='pt_inception.pth'
  )
  comparison = measuring.compare(
    against, None, measuring.machine(Running()), 10
  )
  assert comparison.extractors[0].space.resize == 'tf1'
  assert comparison.references[0].num is None
