"""Samples that a command has drawn before, and finds damaged."""

import json

import numpy as np
import pytest

from jaxdiff.evaluation.commands.graphs import read_graphs
from jaxdiff.evaluation.commands.sweep import read_row
from jaxdiff.evaluation.commands.text import read_texts

GRAPHS = {
  'nodes': np.zeros((2, 3), np.int32),
  'edges': np.zeros((2, 3, 3), np.int32),
  'size': np.array([3, 1]),
}


@pytest.mark.parametrize(
  'content', [None, 7, {}, {'a': 'b'}, 'text', [], [1], ['a', None], [['a']]]
)
def test_texts(tmp_path, content):
  path = tmp_path / 'texts.json'
  path.write_text(json.dumps(['a', 'b']))
  assert read_texts(path) == ['a', 'b']
  path.write_text(json.dumps(content))
  with pytest.raises(ValueError, match=r'texts\.json is damaged: delete it'):
    read_texts(path)


@pytest.mark.parametrize(
  'changed',
  [
    {'edges': None},
    {'size': None},
    {'size': np.array([3])},
    {'size': np.array([4, 1])},
    {'size': np.array([-1, 1])},
    {'size': np.array([3.0, 1.0])},
    {'nodes': np.zeros((2, 4), np.int32)},
    {'edges': np.zeros((1, 3, 3), np.int32)},
    {'edges': np.zeros((2, 3, 4), np.int32)},
    {'edges': np.array('none')},
    {'more': np.zeros(2, np.int32)},
    {'nodes': np.array([{}, {}])},
  ],
)
def test_graphs(tmp_path, changed):
  path = tmp_path / 'graphs.npz'
  arrays = {k: x for k, x in {**GRAPHS, **changed}.items() if x is not None}
  np.savez(path, **arrays)
  with pytest.raises(ValueError, match=r'graphs\.npz is damaged: delete it'):
    read_graphs(path, 2)


def test_graphs_that_are_cut(tmp_path):
  path = tmp_path / 'graphs.npz'
  np.savez(path, **GRAPHS)
  whole = path.read_bytes()
  assert read_graphs(path, 2).keys() == GRAPHS.keys()
  with pytest.raises(ValueError, match='is damaged'):
    read_graphs(path, 3)
  for part in (b'', whole[:-1], whole[: len(whole) // 2], b'\0' * len(whole)):
    path.write_bytes(part)
    with pytest.raises(ValueError, match='is damaged'):
      read_graphs(path, 2)


@pytest.mark.parametrize(
  'content',
  [
    None,
    [],
    {},
    {'metrics': 3, 'steps': 1},
    {'metrics': {}, 'steps': 1},
    {'metrics': {'FID': 3.0}, 'steps': 1},
    {'metrics': {'FID': {'value': 3.0}}},
    {'metrics': {'FID': {'value': True}}, 'steps': 5},
    {'metrics': {'FID': {'value': 3.0}}, 'steps': None},
    {'metrics': {'FID': {'value': 3.0}}, 'steps': 4},
    '[' * 100_000,
  ],
)
def test_rows_of_a_sweep(tmp_path, content):
  path = tmp_path / 'row.json'
  path.write_text('{"metrics": {"FID": {"value": 3.0}}, "steps": 5}')
  assert read_row(path, {'steps': 5})['steps'] == 5
  now = {'metrics': {'FID': {'value': 3.0}}, 'labels': [1], 'versions': 'new'}
  path.write_text(json.dumps(now))
  assert read_row(path, {'labels': (1,), 'versions': 'old'}) == now
  whole = isinstance(content, str)
  path.write_text(content if whole else json.dumps(content))
  with pytest.raises(ValueError, match=r'row\.json is damaged'):
    read_row(path, {'steps': 5})
