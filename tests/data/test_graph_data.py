"""Sets of graphs, and graphs as arrays."""

import networkx as nx
import numpy as np
import pytest

from jaxdiff.data import graphs, load, shuffling
from jaxdiff.data.sets import graphs as graph_sets
from jaxdiff.data.sets import molecules

SIZES = {
  'community_small': (100, 12, 20),
  'planar': (200, 64, 64),
  'sbm': (200, 40, 200),
  'sbm_small': (200, 16, 48),
  'grid': (100, 100, 361),
  'grid_small': (36, 9, 64),
  'trees': (200, 64, 64),
}


@pytest.mark.parametrize('name', SIZES)
def test_the_sets_are_as_described(name):
  number, low, high = SIZES[name]
  parts = graph_sets.make(name)
  every = [graph for part in parts.values() for graph in part]
  assert len(every) == number
  if number == 200:
    splits = {k: len(v) for k, v in parts.items()}
    assert splits == {'train': 128, 'validation': 32, 'test': 40}
  else:
    assert len(parts['train']) == round(0.8 * number) and len(parts) == 2
  assert all(low <= len(graph) <= high for graph in every)
  assert all(nx.is_connected(graph) for graph in every)
  assert all(set(graph) == set(range(len(graph))) for graph in every)
  assert not any(list(nx.selfloop_edges(graph)) for graph in every)


def test_a_set_is_the_same_each_time():
  one, other = (graph_sets.make('community_small') for _ in range(2))
  for split in one:
    for a, b in zip(one[split], other[split], strict=True):
      assert set(a.edges) == set(b.edges)
  different = {tuple(sorted(g.edges)) for g in one['train'] + one['test']}
  assert len(different) == 100


def test_uniforms():
  """Mean and variance of the stream, and integers that reach both ends."""
  uniforms = shuffling.Uniforms(0)
  drawn = uniforms.draw(100, 100)
  assert drawn.shape == (100, 100) and 0 <= drawn.min() and drawn.max() < 1
  assert abs(drawn.mean() - 1 / 2) < 0.01 and abs(drawn.var() - 1 / 12) < 0.003
  whole = [uniforms.integer(3, 6) for _ in range(200)]
  assert set(whole) == {3, 4, 5, 6}


def test_densities_of_communities():
  uniforms = shuffling.Uniforms(1)
  a = nx.to_numpy_array(graph_sets.communities(uniforms, (150, 100), 0.3, 0.02))
  np.testing.assert_array_equal(a, a.T)
  assert abs(a[:150, :150].mean() - 0.3) < 0.02
  assert abs(a[:150, 150:].mean() - 0.02) < 0.005


def test_every_tree_is_as_likely():
  """On 4 nodes there are 16; 12 of them are paths."""
  uniforms = shuffling.Uniforms(2)
  trees = [graph_sets.labelled_tree(uniforms, 4) for _ in range(1600)]
  edges = lambda tree: tuple(sorted(tuple(sorted(e)) for e in tree.edges))
  _, counts = np.unique(
    [str(edges(tree)) for tree in trees], return_counts=True
  )
  assert len(counts) == 16
  # chi^2 with 15 degrees of freedom: above 37.7 once in a thousand.
  assert ((counts - 100) ** 2 / 100).sum() < 37.7


def test_a_triangulation_of_the_plane():
  graph = graph_sets.delaunay(shuffling.Uniforms(3), 30, 30)
  assert nx.check_planarity(graph)[0]
  # No edge can be added within the hull: n - 1 + triangles by Euler.
  faces = graph.size() - 30 + 1
  assert 2 * graph.size() - 3 * faces >= 3


def test_a_dataset_of_one_size_has_no_mask():
  trees = load('trees', 'test')
  assert trees.shape == {'edges': (64, 64)} and len(trees) == 40
  assert trees.categories == {'edges': 2} and trees.symbols is None
  batch = trees.gather(np.array([3, 0]))
  assert set(batch) == {'x0'} and set(batch['x0']) == {'edges'}
  edges = batch['x0']['edges']
  assert edges.dtype == np.int32 and edges.shape == (2, 64, 64)
  np.testing.assert_array_equal(edges.sum((1, 2)), 2 * 63)


@pytest.mark.parametrize('split', ['train', 'test'])
def test_padding_and_the_mask(split):
  communities = load('community_small', split)
  # The size is the largest of any split.
  assert communities.shape == {'edges': (20, 20)}
  every = graph_sets.make('community_small')[split]
  batch = communities.gather(np.arange(len(every)))
  for graph, edges, mask in zip(
    every, batch['x0']['edges'], batch['mask']['edges'], strict=True
  ):
    n = len(graph)
    assert mask.sum() == n * (n - 1) and not mask.diagonal().any()
    assert not edges[~mask].any()
    np.testing.assert_array_equal(edges[:n, :n], nx.to_numpy_array(graph))


def test_there_and_back():
  graph = nx.path_graph(3)
  nx.set_node_attributes(graph, {0: 2, 1: 0, 2: 1}, 'kind')
  nx.set_edge_attributes(graph, {(0, 1): 3, (1, 2): 1}, 'kind')
  alone = nx.empty_graph(1)
  nx.set_node_attributes(alone, 1, 'kind')
  x0, mask = graphs.to_arrays([graph, alone], 5)
  np.testing.assert_array_equal(x0['nodes'], [[2, 0, 1, 0, 0], [1, 0, 0, 0, 0]])
  assert x0['edges'][0, 1, 0] == x0['edges'][0, 0, 1] == 3
  assert mask['edges'][0].sum() == 6 and mask['edges'][1].sum() == 0
  for one, other in zip(
    graphs.to_networkx(x0, mask), [graph, alone], strict=True
  ):
    assert nx.utils.graphs_equal(one, other)
  # Without nodes, those that are in a pair.
  (plain, none) = graphs.to_networkx(
    {'edges': x0['edges']}, {'edges': mask['edges']}
  )
  assert (len(plain), len(none)) == (3, 0)
  assert dict(plain.edges) == dict(graph.edges)
  assert len(graphs.to_networkx({'edges': x0['edges']})[1]) == 5
  with pytest.raises(ValueError, match='does not fit in 2'):
    graphs.to_arrays([graph], 2)


def test_unknown_names():
  with pytest.raises(ValueError, match="one of .*'planar'.* got 'plane'"):
    load('plane', 'train')
  with pytest.raises(ValueError, match="'train', 'test'], got 'validation'"):
    load('grid_small', 'validation')


SMILES = """\
C
CCO
c1ccncc1
c1cc[nH]c1
C[N+](C)(C)CC([O-])=O
N#CC=O
[NH3+]CC([O-])=O
F/C=C/F
O=C=O
CC(C)(C)C
"""


def canonical(text):
  from rdkit import Chem

  return Chem.MolToSmiles(Chem.MolFromSmiles(text), isomericSmiles=False)


def read_back(path):
  """Canonical SMILES of all molecules, and the set."""
  found = []
  for split in ('train', 'test'):
    dataset = load(f'smiles:{path}', split)
    batch = dataset.gather(np.arange(len(dataset)))
    made = graphs.to_networkx(batch['x0'], batch['mask'])
    found += [molecules.to_smiles(graph, dataset.symbols) for graph in made]
  return found, dataset


@pytest.mark.parametrize('header', ['', 'smiles\n'])
def test_molecules_are_read_and_written(tmp_path, header):
  pytest.importorskip('rdkit')
  path = tmp_path / 'few.smi'
  path.write_text(header + SMILES)
  found, dataset = read_back(path)
  assert sorted(found) == sorted(canonical(s) for s in SMILES.split())
  assert dataset.symbols == ('C', 'F', 'N', 'N+', 'O', 'O-')
  assert dataset.categories == {'nodes': 6, 'edges': 4}
  assert dataset.shape == {'nodes': (8,), 'edges': (8, 8)}
  assert len(dataset) == 1  # a tenth
  assert dataset.gather(np.arange(1))['x0']['nodes'].dtype == np.int32


def test_what_is_no_graph_of_atoms_is_left_out_and_counted(tmp_path):
  pytest.importorskip('rdkit')
  path = tmp_path / 'odd.smi'
  path.write_text(SMILES + '[CH3]\n[13CH4]\nC.O\n[SH3]\n')
  with pytest.warns(UserWarning, match='4 of 14 molecules are left out'):
    found, _ = read_back(path)
  assert len(found) == 10


@pytest.mark.parametrize('num', range(2, 11))
def test_few_molecules_are_split(tmp_path, num):
  pytest.importorskip('rdkit')
  path = tmp_path / f'{num}.smi'
  path.write_text('\r\n'.join(SMILES.split()[:num]), encoding='utf-8-sig')
  sizes = {s: len(load(f'smiles:{path}', s)) for s in ('train', 'test')}
  assert sizes == {'train': num - 1, 'test': 1}
  digests = {load(f'smiles:{path}', s).digest() for s in ('train', 'test')}
  assert len(digests) == 1


def test_a_file_that_has_changed_is_read_again(tmp_path):
  pytest.importorskip('rdkit')
  path = tmp_path / 'a.smi'
  digests = []
  for text in ('CCO\nCCN\n', 'CCO\nCCF\n', 'C\nCC\nCCC\n'):
    path.write_text(text)
    digests.append(load(f'smiles:{path}', 'train').digest())
  assert len(set(digests)) == 3


def test_one_molecule_is_refused(tmp_path):
  pytest.importorskip('rdkit')
  path = tmp_path / 'one.smi'
  path.write_text('smiles,name\nCC,"ethane\nof two lines"\n')
  with pytest.raises(ValueError, match='must have 2 molecules .* got 1'):
    load(f'smiles:{path}', 'train')


@pytest.mark.parametrize(
  ('content', 'message'),
  [
    ('CC\n"CO\nC\n', "line 2 is no SMILES: '\"CO'"),
    ('id,SMILES\n1,CC\n2\n3,C\n', 'line 3 has no SMILES'),
    ('id,smiles\n1,CC\n2, \n', 'line 3 has no SMILES'),
    ('smiles\nCC\n"C\nC\n', 'line 4: unexpected end of data'),
  ],
)
def test_no_row_of_a_file_is_left_out(tmp_path, content, message):
  pytest.importorskip('rdkit')
  path = tmp_path / 'rows.csv'
  path.write_text(content)
  with pytest.raises(ValueError, match=message):
    load(f'smiles:{path}', 'train')


def test_what_is_no_molecule(tmp_path):
  pytest.importorskip('rdkit')
  path = tmp_path / 'wrong.smi'
  path.write_text('CC\nxyz\n')
  with pytest.raises(ValueError, match="line 2 is no SMILES: 'xyz'"):
    load(f'smiles:{path}', 'train')
  with pytest.raises(ValueError, match="'train', 'test'"):
    load(f'smiles:{path}', 'validation')
  symbols = ('C', 'F')
  graph = nx.path_graph(3)
  nx.set_node_attributes(graph, {0: 0, 1: 1, 2: 0}, 'kind')
  nx.set_edge_attributes(graph, 1, 'kind')
  assert molecules.to_smiles(graph, symbols) is None  # fluorine with two bonds
  nx.set_node_attributes(graph, 0, 'kind')
  assert molecules.to_smiles(graph, symbols) == 'CCC'
  graph.remove_edge(0, 1)
  assert molecules.to_smiles(graph, symbols) is None  # in two pieces
