"""The classifier whose features measure samples."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxdiff import classifier, models
from jaxdiff import config as c
from jaxdiff.classifier import report
from jaxdiff.classifier.__main__ import Train, main
from jaxdiff.data.dataset import Dataset
from jaxdiff.models import classification
from jaxdiff.networks.classifier import Classifier

ABOUT = classifier.About('digits', (8, 8, 1), 10, 4, 0, 5, 0.5, 300)


def halves(num, seed, size=8):
  """Images bright on the left (0) or on the right (1), with noise."""
  rng = np.random.default_rng(seed)
  labels = np.arange(num, dtype=np.int32) % 2
  x = rng.integers(0, 120, (num, size, size, 1), np.uint8)
  left = np.arange(size) < size // 2
  bright = np.where(labels[:, None] == 0, left, ~left)
  return x + 120 * bright[:, None, :, None].astype(np.uint8), labels


def dataset(num, seed):
  x, labels = halves(num, seed)
  arrays = {'x0': x, 'label': labels}
  gather = lambda indices: {k: v[indices] for k, v in arrays.items()}
  return Dataset('halves', 'train', 'image', num, (8, 8, 1), 2, gather)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  """A data set on disk, with a train and a test split."""
  root = tmp_path_factory.mktemp('set')
  for split, num in (('train', 48), ('test', 9)):
    x, labels = halves(num, seed=len(split))
    for i, (image, label) in enumerate(zip(x, labels, strict=True)):
      place = root / split / 'ab'[label]
      place.mkdir(parents=True, exist_ok=True)
      Image.fromarray(image[..., 0]).save(place / f'{i:02d}.png')
  return root


def test_accuracy_counts_every_image(key):
  network = Classifier(2, width=4)
  params = params_of(network, key)
  x0, labels = halves(7, seed=3)
  images = x0 / np.float32(127.5) - 1
  logits = jax.jit(network.apply)({'params': params}, images).logits
  right = np.mean(np.argmax(logits, axis=1) == labels)
  found = report.measure(network, params, dataset(7, seed=3), size=4)
  np.testing.assert_allclose(found, right)


def test_moved_images_are_moved_and_nothing_else():
  # A network that is the sum of what it sees cannot tell.
  class Total:
    def apply(self, variables, x):
      total = x[:, 2:-2, 2:-2].sum((1, 2, 3))
      return type('F', (), {'logits': jnp.stack([total, -total], 1)})

  x = np.full((6, 8, 8, 1), -1, np.float32)
  x[:, 3:5, 3:5] = 1
  batch = {'x0': x, 'cond': {'label': np.zeros(6, np.int32)}}
  loss = lambda shift: classification.make_loss(Total(), shift)(
    None, jax.random.split(jax.random.key(shift), 6), batch
  )[0]
  np.testing.assert_allclose(loss(1), loss(0))
  assert np.abs(loss(3) - loss(0)).max() > 0


@pytest.mark.parametrize(
  ('shape', 'width', 'dim'),
  [((8, 8, 1), 32, 64), ((28, 28, 1), 32, 128), ((32, 32, 3), 16, 64)],
)
def test_shapes(shape, width, dim):
  network = Classifier(10, width)
  found, _ = jax.eval_shape(
    network.init_with_output, jax.random.key(0), jnp.zeros((5, *shape))
  )
  assert found.pool.shape == (5, dim) and found.logits.shape == (5, 10)
  assert found.pool.dtype == found.logits.dtype == jnp.float32


def params_of(network, key):
  return jax.jit(network.init)(key, jnp.zeros((1, 8, 8, 1)))['params']


def test_what_is_saved_is_what_is_loaded(tmp_path, key):
  network = Classifier(10, 4)
  params = params_of(network, key)
  sha256 = classifier.save(tmp_path, params, ABOUT)
  found = classifier.load(tmp_path)
  assert found.about == ABOUT and found.sha256 == sha256
  assert found.network == network
  jax.tree.map(np.testing.assert_array_equal, found.params, params)
  described = json.loads((tmp_path / 'classifier.json').read_text())
  assert described['test_accuracy'] == 0.5 and described['sha256'] == sha256


def test_damage_is_found(tmp_path, key):
  classifier.save(tmp_path, params_of(Classifier(10, 4), key), ABOUT)
  path = tmp_path / 'classifier.safetensors'
  content = bytearray(path.read_bytes())
  content[-1] ^= 1
  path.write_bytes(content)
  with pytest.raises(ValueError, match='damaged'):
    classifier.load(tmp_path)
  path.unlink()
  with pytest.raises(FileNotFoundError, match='is missing: train it again'):
    classifier.load(tmp_path)
  with pytest.raises(FileNotFoundError, match='jaxdiff.classifier train'):
    classifier.load(tmp_path / 'none')


def test_the_command_learns_and_continues(tmp_path, folder, capsys):
  flags = ['--width', '4', '--batch-size', '16', '--learning-rate', '0.02']
  command = ['train', f'folder:{folder}', *flags]
  workdir = ['--workdir', str(tmp_path / 'run')]
  main([*command, *workdir, '--num-steps', '40'])
  found = classifier.load(tmp_path / 'run')
  assert found.about.num_classes == 2 and found.about.num_test == 9
  assert found.about.test_accuracy > 0.85
  percent = f'{100 * found.about.test_accuracy:.2f} % of 9'
  assert percent in capsys.readouterr().out
  # The same command finds the run finished and leaves the same weights.
  main([*command, *workdir, '--num-steps', '40'])
  assert 'is finished at step 40' in capsys.readouterr().out
  assert classifier.load(tmp_path / 'run').sha256 == found.sha256
  with pytest.raises(SystemExit, match='another configuration'):
    main([*command, *workdir, '--num-steps', '40', '--seed', '1'])


@pytest.mark.parametrize(
  ('flags', 'message'),
  [
    (['digits', '--num-steps', '0'], 'num-steps must be in'),
    (['digits', '--learning-rate', '-1'], 'learning-rate must be in'),
    (['digits', '--width', '0'], 'width must be in'),
    (['digits', '--shift', '-1'], 'shift must be in'),
    (['no-such-set'], 'no-such-set'),
    (['two_moons'], 'network|modality|ConvNet|images'),
  ],
)
def test_bad_flags_get_one_line(tmp_path, flags, message):
  with pytest.raises(SystemExit, match=message):
    main(['train', *flags, '--workdir', str(tmp_path / 'run')])


def test_a_classifier_needs_labels_and_its_own_network():
  config = c.Config(diffusion=c.Classification(), network=c.ConvNet(width=4))
  with pytest.raises(ValueError, match='labels'):
    models.make(config, c.Spec('image', (8, 8, 1)))
  config = c.Config(diffusion=c.Classification(), network=c.UNet())
  with pytest.raises(ValueError, match='ConvNet'):
    models.make(config, c.Spec('image', (8, 8, 1), 10))


@pytest.mark.parametrize(
  'dataset, name',
  [('digits', 'digits'), ('tfds:fashion_mnist', 'fashion_mnist')],
)
def test_its_directory_is_named_after_the_set(dataset, name):
  """As the commands in the documents have it."""
  assert Train(dataset).config().workdir == f'runs/classifier_{name}'
