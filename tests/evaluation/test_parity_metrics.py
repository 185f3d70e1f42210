"""The metrics against the programs whose numbers are in papers."""

import jax
import numpy as np
import pytest
import torchvision_python
from measured import normal

from jaxdiff.evaluation import (
  class_score,
  clip_score,
  frechet,
  kernel,
  precision_recall,
)
from jaxdiff.pretrained import resize

torch = pytest.importorskip('torch')
torchvision_python.import_or_skip()


def noise(*shape):
  return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def torch_bilinear(x, **options):
  interpolate = torch.nn.functional.interpolate
  return interpolate(
    x, size=(299, 299), mode='bilinear', align_corners=False, **options
  )


def tensorflow_bilinear(x):
  interpolation = pytest.importorskip(
    'torch_fidelity.interpolate_compat_tensorflow'
  )
  function = interpolation.interpolate_bilinear_2d_like_tensorflow1x
  return function(x, size=(299, 299), align_corners=False)


REFERENCES = {
  'pytorch-fid': lambda x: 2 * torch_bilinear(x / 255) - 1,
  'tf1': lambda x: (tensorflow_bilinear(x) - 128) / 128,
  'torchmetrics': lambda x: (torch_bilinear(x, antialias=True) - 128) / 128,
}


@pytest.mark.parametrize('size', [32, 64, 299, 400])
@pytest.mark.parametrize('rule', sorted(REFERENCES))
def test_resize(rule, size):
  images = noise(2, size, size + 5, 3)
  ours = resize.RULES[rule](299)
  found = np.asarray(jax.jit(ours.device)(ours.host(images)))
  x = torch.from_numpy(images.transpose(0, 3, 1, 2)).float()
  expected = REFERENCES[rule](x).numpy().transpose(0, 2, 3, 1)
  # Their places are float32 too, with an error that grows with the size.
  np.testing.assert_allclose(found, expected, atol=1e-4)
  assert np.sqrt(np.mean((found - expected) ** 2)) < 1e-5


@pytest.mark.parametrize('size', [32, 400])
def test_clean_resize(size):
  cleanfid = pytest.importorskip('cleanfid.resize')
  image = noise(size, size + 5, 3)
  expected = (cleanfid.build_resizer('clean')(image) - 128) / 128
  rule = resize.clean(299)
  found = np.asarray(rule.device(rule.host(image[None])))[0]
  np.testing.assert_allclose(found, expected, atol=1e-6)


# transformers crops (41, 224), whose excess is 3 mod 4, a pixel elsewhere.
@pytest.mark.parametrize('shape', [(32, 32), (300, 260), (40, 224)])
def test_clip_resize(shape):
  transformers = pytest.importorskip('transformers')
  images = noise(2, *shape, 3)
  # Its own names differ by version, Pillow's arithmetic or torchvision's.
  processor = getattr(
    transformers, 'CLIPImageProcessorPil', transformers.CLIPImageProcessor
  )
  expected = processor()(list(images), return_tensors='np')['pixel_values']
  rule = resize.clip(224)
  found = np.asarray(rule.device(rule.host(images)))
  expected = np.asarray(expected).transpose(0, 2, 3, 1)
  np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize('num', [500, 20])
def test_frechet_distance(num):
  """pytorch-fid's general matrix root, SciPy's; of full rank and not."""
  linalg = pytest.importorskip('scipy.linalg')
  x, y = normal(num, 24), normal(num + 7, 24, shift=0.2, seed=1)
  a, b = frechet.moments(x), frechet.moments(y)
  root = linalg.sqrtm(a.cov @ b.cov)
  expected = np.sum((a.mean - b.mean) ** 2) + np.trace(a.cov + b.cov)
  expected -= 2 * np.trace(root).real
  tolerance = 1e-8 if num > 24 else 1e-4
  assert abs(frechet.distance(a, b) - expected) < tolerance

  fidelity = pytest.importorskip('torch_fidelity.metric_fid')
  statistics = lambda m: {'mu': m.mean, 'sigma': m.cov}
  theirs = fidelity.fid_statistics_to_metric(
    statistics(a), statistics(b), False
  )
  theirs = theirs['frechet_inception_distance']
  assert abs(frechet.distance(a, b) - theirs) < tolerance


def test_kernel_distance():
  fidelity = pytest.importorskip('torch_fidelity.metric_kid')
  x, y = normal(300, 24), normal(300, 24, shift=0.1, seed=1)
  options = {
    'kid_subsets': 100,
    'kid_subset_size': 100,
    'kid_kernel': 'poly',
    'kid_kernel_poly_degree': 3,
    'kid_kernel_poly_gamma': None,
    'kid_kernel_poly_coef0': 1,
    'rng_seed': 0,
    'verbose': False,
  }
  double = lambda z: z.astype(np.float64)
  one = fidelity.kernel_mmd(double(x), double(y), **options)
  np.testing.assert_allclose(kernel.mmd2(x, y), one, rtol=1e-9)
  # Over subsets: other subsets, so equal within the error of having 100.
  theirs = fidelity.kid_features_to_metric(
    torch.from_numpy(x), torch.from_numpy(y), **options
  )
  ours = kernel.distance(x, y, subset_size=100, num_subsets=100)
  gap = ours.value - theirs['kernel_inception_distance_mean']
  assert abs(gap) < 4 * ours.std / np.sqrt(50)
  std = theirs['kernel_inception_distance_std']
  np.testing.assert_allclose(ours.std, std, rtol=0.3)


def test_class_score():
  fidelity = pytest.importorskip('torch_fidelity.metric_isc')
  logits = 3 * normal(103, 30)
  theirs = fidelity.isc_features_to_metric(
    torch.from_numpy(logits), splits=10, shuffle=False
  )
  ours = class_score.class_score(logits, splits=10, seed=None)
  np.testing.assert_allclose(
    ours[:2],
    (theirs['inception_score_mean'], theirs['inception_score_std']),
    rtol=1e-9,
  )


def test_precision_and_recall():
  fidelity = pytest.importorskip('torch_fidelity.metric_prc')
  x, y = normal(200, 6), normal(150, 6, 0.7, seed=1)
  theirs = fidelity.calculate_precision_recall_part(
    torch.from_numpy(x).double(), torch.from_numpy(y).double(), neighborhood=3
  )
  ours = precision_recall.precision_recall(x, y, neighbours=3)
  np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def test_density_and_coverage():
  prdc = pytest.importorskip('prdc')
  x, y = normal(200, 6), normal(150, 6, 0.7, seed=1)
  theirs = prdc.compute_prdc(
    real_features=y.astype(np.float64),
    fake_features=x.astype(np.float64),
    nearest_k=5,
  )
  more = precision_recall.density_coverage(x, y, neighbours=5)
  ours = precision_recall.precision_recall(x, y, neighbours=5)
  names = ('precision', 'recall', 'density', 'coverage')
  expected = [theirs[name] for name in names]
  np.testing.assert_allclose((*ours, *more), expected)
  # On the rim of every ball lies a neighbour.
  theirs = prdc.compute_prdc(real_features=y, fake_features=y, nearest_k=5)
  more = precision_recall.density_coverage(y, y, neighbours=5)
  expected = [theirs[name] for name in names[2:]]
  np.testing.assert_allclose(more, expected, atol=0.02)


class Embeddings:
  """Stands for a CLIP model: fixed embeddings instead of a network."""

  device = torch.device('cpu')
  config = None

  def __init__(self, images, texts):
    self.images, self.texts = map(torch.from_numpy, (images, texts))

  def to(self, device):
    return self

  def get_image_features(self, pixel_values):
    return self.images

  def get_text_features(self, input_ids, attention_mask):
    return self.texts


@pytest.mark.parametrize('sign', [1, -1])
def test_clip_score(sign):
  multimodal = pytest.importorskip('torchmetrics.functional.multimodal')
  texts, images = normal(9, 24) + 1, sign * (normal(9, 24, seed=1) + 1)
  empty = torch.zeros(9)
  inputs = dict.fromkeys(('pixel_values', 'input_ids', 'attention_mask'), empty)
  theirs = multimodal.clip_score(
    [torch.zeros(3, 2, 2)] * 9,
    ['a'] * 9,
    lambda: (Embeddings(images, texts), lambda **_: inputs),
  )
  found = clip_score.clip_score(images, texts).value
  np.testing.assert_allclose(found, theirs.item(), rtol=1e-6)
  assert (found > 0) == (sign > 0)
