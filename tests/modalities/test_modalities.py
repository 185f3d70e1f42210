"""What samples become: files that can be read back, and files to look at."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from jaxdiff import modalities
from jaxdiff.config import Spec
from jaxdiff.generation import writer
from jaxdiff.generation.sampler import Samples
from jaxdiff.modalities import text as texts

TEXT = Spec('text', (4,), categories=3, symbols=('a', 'b', '\n'))


def test_texts_are_written_as_long_as_they_are_with_masks_shown():
  modality = modalities.make(TEXT)
  x = np.array([[0, 1, 3, 0], [2, 0, 0, 0]])
  assert modality.split(Samples(x, None)) == ['ab_a', '\naaa']
  assert modality.split(Samples(x, np.array([2, 1]))) == ['ab', '\n']


@pytest.mark.parametrize('text', ['ab', '', '\n\r\na', 'é'])
def test_a_text_is_read_back_as_it_was(text, tmp_path):
  modality = modalities.make(TEXT)
  modality.save(text, tmp_path / 'one.txt')
  assert modality.read(tmp_path / 'one.txt') == text
  modality.gather([text, 'x'], (), tmp_path / 'all.json')
  assert json.loads((tmp_path / 'all.json').read_text()) == [text, 'x']


def test_texts_in_one_file_have_their_names_and_rules_between_lines(tmp_path):
  modality = modalities.make(TEXT)
  modality.gather(['a', 'b', 'c'], ['p', 'q'], tmp_path / 'all.txt')
  assert (tmp_path / 'all.txt').read_text() == 'p: a\nq: b\np: c\n'
  modality.gather(['a\nb', 'c'], (), tmp_path / 'all.txt')
  lines = (tmp_path / 'all.txt').read_text().split('\n')
  assert lines[:2] == ['a', 'b'] and lines[3] == 'c' and '--' in lines[2]


def test_the_way_of_a_text_begins_with_noise_and_ends_with_the_text(tmp_path):
  path = Samples(np.array([[[3, 3], [3, 1], [3, 1], [0, 1]]]), None)
  assert texts.ways(path, 'abc') == [['__', '_b', '_b', 'ab']]
  assert texts.ways(path, 'abc', columns=2) == [['__', 'ab']]
  out = io.StringIO()
  texts.show(['__', '_b', '_b', 'ab'], out)
  assert out.getvalue() == '__\n_b\nab\n\n'  # nothing twice
  file = modalities.make(TEXT).strip(path, tmp_path / 'way')
  assert file.name == 'way.txt' and file.read_text() == '__\n_b\n_b\nab\n'


def test_pixels_as_categories_are_grey_levels_and_masks_grey(tmp_path):
  modality = modalities.make(Spec('image', (2, 2, 1), categories=3))
  x = np.array([0, 1, 2, 3]).reshape(1, 2, 2, 1)
  (image,) = modality.split(Samples(x, None))
  assert image.tolist() == [[[0], [128]], [[255], [128]]]
  modality.save(image, tmp_path / 'one.png')
  np.testing.assert_array_equal(modality.read(tmp_path / 'one.png'), image)


def test_graphs_are_cut_to_their_nodes_and_read_back(tmp_path):
  pytest.importorskip('networkx')
  spec = Spec(
    'graph',
    {'nodes': (3,), 'edges': (3, 3)},
    categories={'nodes': 3, 'edges': 2},
    symbols=('C', 'N', 'O'),
  )
  modality = modalities.make(spec)
  edges = np.zeros((2, 3, 3), int)
  edges[:, 0, 1] = edges[:, 1, 0] = 1
  nodes = np.array([[1, 0, 2], [1, 1, 0]])
  drawn = Samples({'nodes': nodes, 'edges': edges}, np.array([3, 2]))
  three, two = modality.split(drawn)
  assert three['edges'].shape == (3, 3) and two['nodes'].tolist() == [1, 1]
  modality.save(two, tmp_path / 'one.npz')
  back = modality.read(tmp_path / 'one.npz')
  np.testing.assert_array_equal(back['edges'], [[0, 1], [1, 0]])
  modality.gather([three, two], (), tmp_path / 'all.npz')
  stored = np.load(tmp_path / 'all.npz')
  assert stored['size'].tolist() == [3, 2]
  np.testing.assert_array_equal(stored['nodes'], nodes)
  modality.gather([three, two], (), tmp_path / 'all.png')
  assert np.asarray(Image.open(tmp_path / 'all.png')).std() > 0
  # From masks, which have no symbol and are no edges.
  masks = {'nodes': np.full((2, 3), 3), 'edges': np.full((2, 3, 3), 2)}
  way = {k: np.stack([masks[k], x], 1) for k, x in drawn.x.items()}
  way = Samples(way, drawn.size)
  file = modality.strip(way, tmp_path / 'way')
  assert np.asarray(Image.open(file)).std() > 0


def test_a_job_goes_on_where_it_was_and_refuses_anothers_samples(tmp_path):
  modality = modalities.make(TEXT)
  asked = []

  def draw(index):
    asked.extend(index.tolist())
    return [f'{i}' for i in index]

  job = lambda num, **metadata: writer.write(
    tmp_path / 'texts', num, draw, metadata, modality, batch_size=2
  )
  job(2, seed=0)
  job(4, seed=0)
  assert asked == [0, 1, 2, 3]
  with pytest.raises(ValueError, match='texts of another job .seed: 0 there'):
    job(4, seed=1)
  with pytest.raises(ValueError, match=r'end in .txt or .json, or be a folder'):
    writer.check_output('a.png', modality)


def test_points_are_read_back_and_drawn(tmp_path):
  modality = modalities.make(Spec('points', (2,)))
  x = np.array([[0.5, -1.0], [1.0, 2.0], [3.0, 0.0]], np.float32)
  samples = modality.split(Samples(x))
  modality.save(samples[1], tmp_path / 'one.npz')
  np.testing.assert_array_equal(modality.read(tmp_path / 'one.npz'), x[1])
  modality.gather(samples, (), tmp_path / 'all.npz')
  np.testing.assert_array_equal(np.load(tmp_path / 'all.npz')['arr_0'], x)
  modality.gather(samples, ['a', 'b'], tmp_path / 'all.png')
  assert np.asarray(Image.open(tmp_path / 'all.png')).std() > 0
  file = modality.strip(Samples(x[:, None].repeat(4, 1)), tmp_path / 'way')
  assert np.asarray(Image.open(file)).std() > 0


def test_a_modality_that_is_not_known_is_refused():
  with pytest.raises(ValueError, match="modality must be one of .*'video'"):
    modalities.make(Spec('video', (2,)))


@pytest.fixture
def numbers(tmp_path):
  """Writes texts of a job: the number of each sample."""
  modality = modalities.make(TEXT)
  draw = lambda index: [f'{i}' for i in index]

  def write(num, out='texts', **metadata):
    path = tmp_path / out
    return writer.write(path, num, draw, metadata, modality, batch_size=2)

  return write


def test_what_is_there_is_what_is_said(numbers, tmp_path):
  numbers(4, seed=0)
  with pytest.raises(ValueError, match='holds 4 texts, and 2 were asked for'):
    numbers(2, seed=0)


def test_files_of_nobody_are_not_taken_for_samples(numbers, tmp_path):
  (tmp_path / 'texts').mkdir()
  (tmp_path / 'texts' / '000000.txt').write_text('mine')
  with pytest.raises(ValueError, match='no metadata.json'):
    numbers(2, seed=0)
  assert (tmp_path / 'texts' / '000000.txt').read_text() == 'mine'


def test_a_job_that_drew_nothing_blocks_no_other(numbers, tmp_path):
  (tmp_path / 'texts').mkdir()
  (tmp_path / 'texts' / 'metadata.json').write_text('{"strength": 1.2}')
  numbers(2, strength=0.5)


def test_an_emptied_file_is_drawn_again(numbers, tmp_path):
  numbers(3, seed=0)
  (tmp_path / 'texts' / '000001.txt').write_text('')
  numbers(3, seed=0)
  assert (tmp_path / 'texts' / '000001.txt').read_text() == '1'


def test_parts_of_somebody_else_stay(numbers, tmp_path):
  parts = tmp_path / 'all.json.parts'
  parts.mkdir()
  (parts / 'letter').write_text('dear')
  numbers(3, 'all.json', seed=0)
  assert json.loads((tmp_path / 'all.json').read_text()) == ['0', '1', '2']
  assert (parts / 'letter').read_text() == 'dear'
