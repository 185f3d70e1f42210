"""What samples become: files that can be read back, and files to look at."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from jaxdiff import build, outputs
from jaxdiff.build import Drawn
from jaxdiff.config import Spec
from jaxdiff.modalities import image as images
from jaxdiff.modalities import text as texts

TEXT = Spec((4,), categories=3, symbols=('a', 'b', '\n'))


def test_texts_are_written_as_long_as_they_are_with_masks_shown():
  medium = build.make_medium(TEXT)
  x = np.array([[0, 1, 3, 0], [2, 0, 0, 0]])
  assert medium.split(Drawn(x, None)) == ['ab_a', '\naaa']
  assert medium.split(Drawn(x, np.array([2, 1]))) == ['ab', '\n']


@pytest.mark.parametrize('text', ['ab', '', '\n\r\na', 'é'])
def test_a_text_is_read_back_as_it_was(text, tmp_path):
  medium = build.make_medium(TEXT)
  medium.save(text, tmp_path / 'one.txt')
  assert medium.read(tmp_path / 'one.txt') == text
  medium.gather([text, 'x'], (), tmp_path / 'all.json')
  assert json.loads((tmp_path / 'all.json').read_text()) == [text, 'x']


def test_texts_in_one_file_have_their_names_and_rules_between_lines(tmp_path):
  medium = build.make_medium(TEXT)
  medium.gather(['a', 'b', 'c'], ['p', 'q'], tmp_path / 'all.txt')
  assert (tmp_path / 'all.txt').read_text() == 'p: a\nq: b\np: c\n'
  medium.gather(['a\nb', 'c'], (), tmp_path / 'all.txt')
  lines = (tmp_path / 'all.txt').read_text().split('\n')
  assert lines[:2] == ['a', 'b'] and lines[3] == 'c' and '--' in lines[2]


def test_the_way_of_a_text_begins_with_noise_and_ends_with_the_text(tmp_path):
  path = Drawn(np.array([[[3, 3], [3, 1], [3, 1], [0, 1]]]), None)
  assert texts.ways(path, 'abc') == [['__', '_b', '_b', 'ab']]
  assert texts.ways(path, 'abc', columns=2) == [['__', 'ab']]
  out = io.StringIO()
  texts.show(['__', '_b', '_b', 'ab'], out)
  assert out.getvalue() == '__\n_b\nab\n\n'  # nothing twice
  file = build.make_medium(TEXT).strip(path, tmp_path / 'way')
  assert file.name == 'way.txt' and file.read_text() == '__\n_b\n_b\nab\n'


def test_pixels_as_categories_are_grey_levels_and_masks_grey(tmp_path):
  medium = images.categories(3)
  x = np.array([0, 1, 2, 3]).reshape(1, 2, 2, 1)
  (image,) = medium.split(Drawn(x, None))
  assert image.tolist() == [[[0], [128]], [[255], [128]]]
  medium.save(image, tmp_path / 'one.png')
  np.testing.assert_array_equal(medium.read(tmp_path / 'one.png'), image)


def test_graphs_are_cut_to_their_nodes_and_read_back(tmp_path):
  pytest.importorskip('networkx')
  spec = Spec(
    {'nodes': (3,), 'edges': (3, 3)},
    categories={'nodes': 3, 'edges': 2},
    symbols=('C', 'N', 'O'),
  )
  medium = build.make_medium(spec)
  edges = np.zeros((2, 3, 3), int)
  edges[:, 0, 1] = edges[:, 1, 0] = 1
  nodes = np.array([[1, 0, 2], [1, 1, 0]])
  drawn = Drawn({'nodes': nodes, 'edges': edges}, np.array([3, 2]))
  three, two = medium.split(drawn)
  assert three['edges'].shape == (3, 3) and two['nodes'].tolist() == [1, 1]
  medium.save(two, tmp_path / 'one.npz')
  back = medium.read(tmp_path / 'one.npz')
  np.testing.assert_array_equal(back['edges'], [[0, 1], [1, 0]])
  medium.gather([three, two], (), tmp_path / 'all.npz')
  stored = np.load(tmp_path / 'all.npz')
  assert stored['size'].tolist() == [3, 2]
  np.testing.assert_array_equal(stored['nodes'], nodes)
  medium.gather([three, two], (), tmp_path / 'all.png')
  assert np.asarray(Image.open(tmp_path / 'all.png')).std() > 0
  # From masks, which have no symbol and are no edges.
  masks = {'nodes': np.full((2, 3), 3), 'edges': np.full((2, 3, 3), 2)}
  way = {k: np.stack([masks[k], x], 1) for k, x in drawn.x.items()}
  way = Drawn(way, drawn.size)
  file = medium.strip(way, tmp_path / 'way')
  assert np.asarray(Image.open(file)).std() > 0


def test_a_job_goes_on_where_it_was_and_refuses_anothers_samples(tmp_path):
  medium = build.make_medium(TEXT)
  asked = []

  def draw(index):
    asked.extend(index.tolist())
    return [f'{i}' for i in index]

  job = lambda num, **metadata: outputs.draw_to(
    tmp_path / 'texts', num, draw, metadata, medium, batch_size=2
  )
  job(2, seed=0)
  job(4, seed=0)
  assert asked == [0, 1, 2, 3]
  with pytest.raises(ValueError, match='texts of another job .seed: 0 there'):
    job(4, seed=1)
  with pytest.raises(ValueError, match=r'end in .txt or .json, or be a folder'):
    outputs.check_output('a.png', medium)
