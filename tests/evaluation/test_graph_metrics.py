"""Metrics of graphs, against enumeration and laws that are known."""

import itertools

import networkx as nx
import numpy as np
import pytest

from jaxdiff.data.sets import graphs as graph_sets
from jaxdiff.data.sets.graph_validity import VALID
from jaxdiff.evaluation.graphs import metrics, mmd
from jaxdiff.evaluation.graphs.orbits import orbit_counts

# The orbit of a node of some degree in a connected graph of some edges.
ORBIT = {
  ('edge', 1): 0,
  ('path3', 1): 1,
  ('path3', 2): 2,
  ('triangle', 2): 3,
  ('path4', 1): 4,
  ('path4', 2): 5,
  ('star', 1): 6,
  ('star', 3): 7,
  ('cycle', 2): 8,
  ('paw', 1): 9,
  ('paw', 2): 10,
  ('paw', 3): 11,
  ('diamond', 2): 12,
  ('diamond', 3): 13,
  ('complete', 3): 14,
}
SHAPES = {
  (1, 1): 'edge',
  (1, 1, 2): 'path3',
  (2, 2, 2): 'triangle',
  (1, 1, 2, 2): 'path4',
  (1, 1, 1, 3): 'star',
  (2, 2, 2, 2): 'cycle',
  (1, 2, 2, 3): 'paw',
  (2, 2, 3, 3): 'diamond',
  (3, 3, 3, 3): 'complete',
}


def enumerated(graph):
  counts = np.zeros((len(graph), 15), int)
  for size in (2, 3, 4):
    for chosen in itertools.combinations(graph, size):
      part = graph.subgraph(chosen)
      if nx.is_connected(part):
        shape = SHAPES[tuple(sorted(d for _, d in part.degree))]
        for node, degree in part.degree:
          counts[node, ORBIT[shape, degree]] += 1
  return counts


@pytest.mark.parametrize('p', [0.25, 0.6, 0.9])
def test_orbits_are_those_enumerated(p):
  graph = nx.gnp_random_graph(9, p, seed=1)
  np.testing.assert_array_equal(orbit_counts(graph), enumerated(graph))


def test_orbits_of_known_graphs():
  """In K_n, all subgraphs are complete; a loop or a weight is no edge."""
  graph = nx.complete_graph(6)
  graph.add_edge(0, 0)
  nx.set_edge_attributes(graph, 3, 'kind')
  counts = orbit_counts(graph)
  want = np.zeros(15)
  want[[0, 3, 14]] = 5, 10, 10
  np.testing.assert_array_equal(counts, np.tile(want, (6, 1)))
  assert orbit_counts(nx.empty_graph(3)).sum() == 0


def test_descriptions():
  star = nx.star_graph(3)
  np.testing.assert_allclose(mmd.degrees(star), [0, 0.75, 0, 0.25])
  assert mmd.clustering(star)[0] == 1
  assert mmd.clustering(nx.complete_graph(4))[-1] == 1
  # The eigenvalues of a star: 0, 1 twice, 2.
  spectrum = mmd.spectrum(star)
  np.testing.assert_allclose(np.sort(spectrum)[-3:], [0.25, 0.25, 0.5])
  assert spectrum[0] == spectrum[-1] == 0.25
  # An isolated node has eigenvalue 0, as in networkx.
  lonely = nx.empty_graph(2)
  assert mmd.spectrum(lonely)[0] == 1


def test_mmd_is_the_v_statistic():
  rng = np.random.default_rng(0)
  xs, ys = rng.dirichlet(np.ones(4), 5), rng.dirichlet(np.ones(4), 3)
  xs = [*xs, np.array([1.0])]  # shorter: continued with 0

  def kernel(x, y):
    x, y = (np.pad(v, (0, 4 - len(v))) for v in (x, y))
    return np.exp(-((np.abs(x - y).sum() / 2) ** 2) / (2 * 0.3**2))

  mean = lambda us, vs: np.mean([[kernel(u, v) for v in vs] for u in us])
  want = mean(xs, xs) + mean(ys, ys) - 2 * mean(xs, ys)
  assert mmd.mmd2(xs, ys, 0.3) == pytest.approx(want, rel=1e-12)
  assert mmd.mmd2(xs, xs[::-1], 0.3) == pytest.approx(0, abs=1e-12)
  with pytest.raises(ValueError, match='both sets need graphs'):
    mmd.mmd2(xs, [], 0.3)


SMALL = ('community_small', 'sbm_small', 'grid_small')


@pytest.mark.parametrize('name', [*SMALL, 'planar', 'trees', 'sbm'])
def test_the_data_is_valid_and_noise_is_not(name):
  test = graph_sets.make(name)['test'][:20]
  assert np.mean([VALID[name](graph) for graph in test]) >= 0.8
  # As many nodes and edges, anywhere.
  noise = [nx.gnm_random_graph(len(g), g.size(), seed=0) for g in test]
  assert not any(VALID[name](graph) for graph in noise)
  assert not VALID[name](nx.empty_graph(0))
  assert not VALID[name](nx.empty_graph(20))


def test_one_edge_too_many():
  grid = graph_sets.make('grid_small')['test'][0]
  tree = nx.random_labeled_tree(8, seed=0)
  for name, graph in (('grid_small', grid), ('trees', tree)):
    assert VALID[name](graph)
    u, v = next(iter(nx.non_edges(graph)))
    graph.add_edge(u, v)
    assert not VALID[name](graph)
  assert not VALID['planar'](nx.disjoint_union(tree, tree))


def test_unique_and_novel():
  path, cycle = nx.path_graph(6), nx.cycle_graph(6)
  renamed = nx.relabel_nodes(path, {i: (i * 5 + 1) % 6 for i in range(6)})
  # Two triangles and a hexagon have the same hash, and are not the same.
  triangles = nx.disjoint_union(nx.cycle_graph(3), nx.cycle_graph(3))
  first, known = metrics.novelty([path, renamed, cycle, triangles], [cycle])
  assert first == [True, False, True, True]
  assert known == [False, False, True, False]


def test_kinds_are_part_of_a_graph():
  def path(edges, nodes=(0, 0, 0)):
    graph = nx.Graph()
    for i, kind in enumerate(nodes):
      graph.add_node(i, kind=kind)
    for i, kind in enumerate(edges):
      graph.add_edge(i, i + 1, kind=kind)
    return graph

  same = lambda a, b: metrics.novelty([a], [b])[1] == [True]
  assert same(path([1, 2]), path([2, 1]))
  assert not same(path([1, 2]), path([1, 1]))
  assert not same(path([1, 1], (1, 0, 0)), path([1, 1], (0, 1, 0)))
  # Without a kind an edge is of kind 1.
  assert same(nx.path_graph(3), path([1, 1]))
  first, _ = metrics.novelty([path([1, 2]), path([1, 1]), path([2, 1])], [])
  assert first == [True, True, False]


def test_a_report_beside_its_floor():
  parts = graph_sets.make('community_small')
  train, test = parts['train'], parts['test']
  same = metrics.report(train, train, test, 'community_small')
  for name in mmd.STATISTICS:
    assert same[name] == same[f'{name}_floor'] > 0
    assert same[f'{name}_ratio'] == 1
  assert same['novel'] == same['valid_unique_novel'] == 0
  noise = [nx.gnm_random_graph(len(g), g.size(), seed=0) for g in test]
  other = metrics.report(noise, train, test, 'community_small')
  assert other['mean_ratio'] > 3
  assert other['valid'] == 0 and other['novel'] == 1
  # Triangles are in no grid: there the floor is 0, and a ratio is not given.
  parts = graph_sets.make('grid_small')
  flat = metrics.report(
    parts['test'], parts['train'], parts['test'], 'grid_small'
  )
  assert flat['clustering'] == 0 and 'clustering_ratio' not in flat
  with pytest.raises(ValueError, match='validity is known of'):
    metrics.report(train, train, test, 'communities')


@pytest.mark.parametrize('name', ['community_small', 'trees'])
def test_a_training_set_that_is_the_test_set_has_no_ratio(name):
  test = graph_sets.make(name)['test'][:8]
  found = metrics.report(test, test, test, name)
  assert not any('ratio' in key for key in found)
  assert found['unique'] == 1 and found['novel'] == 0
  assert all(abs(found[key]) < 1e-9 for key in mmd.STATISTICS)


def test_a_report_of_molecules():
  pytest.importorskip('rdkit')
  symbols = ('C', 'N', 'O')

  def molecule(atoms, bonds):
    graph = nx.Graph()
    for i, atom in enumerate(atoms):
      graph.add_node(i, kind=symbols.index(atom))
    for u, v, kind in bonds:
      graph.add_edge(u, v, kind=kind)
    return graph

  ethanol = molecule('CCO', [(0, 1, 1), (1, 2, 1)])
  again = molecule('OCC', [(0, 1, 1), (1, 2, 1)])
  amine = molecule('CN', [(0, 1, 1)])
  too_many = molecule('CO', [(0, 1, 3)])
  apart = molecule('CO', [])
  report = metrics.report_molecules(
    [ethanol, again, amine, too_many, apart], iter([amine]), symbols
  )
  assert report == {
    'valid': 3 / 5,
    'unique': 2 / 3,
    'novel': 1 / 2,
    'valid_unique_novel': 1 / 5,
    'num_samples': 5,
  }
