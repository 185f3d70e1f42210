"""Frequencies of categories and sizes in a data set; symbols of a run."""

import dataclasses

import jax
import numpy as np
import pytest
import tiny
from categories import TEXT

from jaxdiff import data, models
from jaxdiff.runs import examples


def test_the_data_of_a_run_and_its_process_agree(tmp_path):
  sums = tiny.changed(TEXT, data={'name': 'sums'})
  spec = examples.load(sums, tmp_path).spec
  assert spec.shape == (11,) and spec.categories == len(spec.symbols)
  assert abs(sum(spec.marginals) - 1) < 1e-6 and spec.sizes is None
  with pytest.raises(ValueError, match='has categories: give it diffusion='):
    models.make(tiny.config, spec)
  with pytest.raises(ValueError, match='has real numbers: give it diffusion='):
    models.make(TEXT, tiny.SPEC)
  # Pixels are categories as soon as the process is theirs.
  digits = dataclasses.replace(TEXT, network=tiny.UNET)
  found = examples.load(digits, tmp_path)
  assert found.spec.categories == 256
  batch = next(data.batches(found.dataset, 4, seed=0))
  assert batch['x0'].dtype == np.int32 and batch['x0'].max() == 255


def test_symbols_outside_the_vocabulary_are_named(tmp_path):
  (tmp_path / 'lines').write_text('aab\nabd\nbab\n')
  dataset = data.load(f'lines:{tmp_path / "lines"}')
  with pytest.raises(ValueError, match="'d' new, 'c' gone"):
    examples.check(tiny.text_spec(symbols='abc'), dataset)
  examples.check(tiny.text_spec(symbols='abd'), dataset)


def test_frequencies_are_of_what_exists():
  x0 = {
    'nodes': np.array([[1, 0, 0], [1, 2, 1]]),
    'edges': np.array([np.zeros((3, 3), int), 1 - np.eye(3, dtype=int)]),
  }
  mask = {
    'nodes': np.array([[1, 1, 0], [1, 1, 1]], bool),
    'edges': np.ones((2, 3, 3), bool) & ~np.eye(3, dtype=bool),
  }
  mask['edges'][0, 2] = mask['edges'][0, :, 2] = False
  dataset = data.Dataset(
    'graphs',
    'train',
    'graph',
    2,
    {'nodes': (3,), 'edges': (3, 3)},
    None,
    lambda index: {'x0': x0, 'mask': mask},
    categories={'nodes': 3, 'edges': 2},
  )
  marginals, sizes = data.frequencies(dataset)
  np.testing.assert_allclose(marginals['nodes'], [0.2, 0.6, 0.2])
  np.testing.assert_allclose(marginals['edges'], [0.25, 0.75])
  np.testing.assert_allclose(sizes, [0, 0, 0.5, 0.5])


def test_a_graph_of_one_node_is_one_node():
  mask = {'nodes': np.array([[1, 0]], bool), 'edges': np.zeros((1, 2, 2), bool)}
  x0 = {'nodes': np.zeros((1, 2), int), 'edges': np.zeros((1, 2, 2), int)}
  both = np.array([[1, 1]], bool), ~np.eye(2, dtype=bool)[None]
  pair = {'nodes': both[0], 'edges': both[1]}

  def of(masks):
    join = lambda *x: np.concatenate(x)
    return data.Dataset(
      'molecules',
      'train',
      'graph',
      len(masks),
      {'nodes': (2,), 'edges': (2, 2)},
      None,
      lambda index: {
        'x0': jax.tree.map(join, *[x0] * len(masks)),
        'mask': jax.tree.map(join, *masks),
      },
      categories={'nodes': 1, 'edges': 2},
    )

  np.testing.assert_allclose(data.frequencies(of([mask, pair])).sizes[1], 0.5)
  with pytest.raises(ValueError, match='has no edges at all'):
    data.frequencies(of([mask]))


def test_images_are_not_lengths_and_texts_have_no_size():
  for name, flag, message in [
    ('digits', dict(length=4), 'got --data.length'),
    ('sums', dict(image_size=4), 'got --data.image-size'),
    ('text:a.txt', {}, 'needs --data.length'),
    ('nothing', {}, 'data.name must be one of'),
  ]:
    with pytest.raises(ValueError, match=message):
      data.load(name, **flag)
