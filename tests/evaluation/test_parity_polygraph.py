"""PolyGraph Discrepancy against polygraph-benchmark, the authors' program."""

import networkx as nx
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from jaxdiff.evaluation.graphs import mmd, polygraph

theirs = pytest.importorskip('polygraph.metrics')
base = pytest.importorskip('polygraph.metrics.base')
descriptors = pytest.importorskip('polygraph.utils.descriptors')

DESCRIPTORS = {
  'degree': descriptors.SparseDegreeHistogram,
  'clustering': lambda: descriptors.ClusteringHistogram(bins=100),
  'orbits': lambda: descriptors.OrbitCounts(graphlet_size=4),
  'spectrum': descriptors.EigenvalueHistogram,
}
each = pytest.mark.parametrize('name', sorted(mmd.STATISTICS))


def random(p, num, seed=0, size=12):
  return [nx.gnp_random_graph(size, p, seed=seed + i) for i in range(num)]


def communities(num, seed=0):
  p = 0.02 + 0.3 * np.eye(3)
  draw = nx.stochastic_block_model
  return [draw([8, 10, 12], p, seed=seed + i) for i in range(num)]


def geometric(num, seed=0):
  draw = nx.random_geometric_graph
  return [draw(30, 0.25, seed=seed + i) for i in range(num)]


PAIRS = {
  'near': (random(0.3, 80), random(0.45, 80)),
  'nearer': (random(0.3, 80), random(0.33, 80, seed=500)),
  'far': (geometric(40), random(0.18, 40, size=30)),
  'alike': (communities(40), communities(40, seed=900)),
}
pairs = pytest.mark.parametrize('pair', sorted(PAIRS))


def described(name, graphs):
  found = DESCRIPTORS[name]()(graphs)
  return found if isinstance(found, np.ndarray) else found.toarray()


def without_two(graphs):
  """Leaves out the graphs that have the eigenvalue 2: a bipartite part."""
  parts = lambda g: (g.subgraph(c) for c in nx.connected_components(g))
  two = lambda g: any(len(c) > 1 and nx.is_bipartite(c) for c in parts(g))
  return [g for g in graphs if not two(g)]


@each
def test_statistics(name):
  some = [nx.gnm_random_graph(15, m, seed=m) for m in range(60)]
  graphs = [*some, *communities(10), *geometric(10), nx.complete_graph(1)]
  if name == 'spectrum':
    graphs = without_two(graphs)
  assert len(graphs) > 20
  expected = described(name, graphs)
  for ours, row in zip(mmd.describe(graphs)[name], expected, strict=True):
    np.testing.assert_allclose(ours, row[: len(ours)], rtol=1e-12, atol=1e-15)
    assert not row[len(ours) :].any()


def test_spectra_with_the_eigenvalue_2():
  """There rounding above 2 leaves it out of theirs, and never out of ours."""
  graphs = [nx.cycle_graph(n) for n in range(4, 40, 2)]
  graphs += [nx.grid_2d_graph(3, n) for n in range(2, 9)]
  last = []
  for graph, row in zip(graphs, described('spectrum', graphs), strict=True):
    ours = mmd.spectrum(graph)
    below = ours[:-1] / ours[:-1].sum()
    np.testing.assert_allclose(row[:-1] / row[:-1].sum(), below, rtol=1e-12)
    assert ours[-1] >= 1 / len(graph)
    last.append(np.isclose(ours[-1], row[-1]))
  assert not all(last)


@pairs
def test_mmd(pair):
  reference, samples = map(without_two, PAIRS[pair])
  expected = theirs.GaussianTVMMD2Benchmark(reference).compute(samples)
  found = mmd.all_mmd2(mmd.describe(reference), mmd.describe(samples))
  keys = {'orbits': 'orbit', 'spectrum': 'spectral'}
  for name, value in found.items():
    other = expected[keys.get(name, name)]
    np.testing.assert_allclose(value, other, rtol=1e-9, atol=1e-12)


def halves(size, rng):
  """Splits a set as they do: a half is drawn, the others in their order."""
  first = rng.choice(size, size=size // 2, replace=False)
  return first, np.setdiff1d(np.arange(size), first)


@pairs
@each
def test_bound(pair, name):
  """The same half of the same statistics, and the same classifier."""
  sets = PAIRS[pair]
  classifier = LogisticRegression(tol=1e-10, max_iter=100_000)
  metric = base.ClassifierMetric(
    sets[0], DESCRIPTORS[name](), classifier=classifier
  )
  expected = metric.compute(sets[1])[1]
  rng = np.random.default_rng(0)
  parts = [halves(len(x), rng) for x in sets]
  sizes = [max(map(len, mmd.describe(x)[name])) for x in sets]
  # Theirs, for a bipartite graph can have another spectrum here.
  both = [described(name, x)[:, : max(sizes)] for x in sets]
  fitted, held = (
    [x[part[k]] for x, part in zip(both, parts, strict=True)] for k in (0, 1)
  )
  # They add 1e-10 to probabilities: sqrt(2e-10 / log 2) = 1.7e-5 near 0.
  found = polygraph.bound(fitted, held)
  np.testing.assert_allclose(found, expected, atol=2e-5)


@pytest.mark.parametrize('pair', ['near', 'far'])
def test_discrepancy(pair):
  """Other halves and folds, so equal within the error of a mean of these."""
  reference, samples = PAIRS[pair]
  rng = np.random.default_rng(0)
  ours, expected = [], []
  for seed in range(8):
    orders = [rng.permutation(len(x)) for x in (reference, samples)]
    x = [reference[i] for i in orders[0]]
    y = [samples[i] for i in orders[1]]
    found = polygraph.discrepancy(mmd.describe(x), mmd.describe(y), seed)
    ours.append(found['polygraph'])
    metric = base.PolyGraphDiscrepancy(
      x,
      {name: make() for name, make in DESCRIPTORS.items()},
      classifier=LogisticRegression(max_iter=1000),
    )
    expected.append(metric.compute(y)['pgd'])
  gap = np.mean(ours) - np.mean(expected)
  error = np.sqrt((np.var(ours) + np.var(expected)) / len(ours))
  assert abs(gap) < 4 * error < 0.15


def test_sets_of_different_sizes_are_for_ours_alone():
  reference, samples = PAIRS['near']
  metric = base.ClassifierMetric(
    reference, DESCRIPTORS['degree'](), classifier=LogisticRegression()
  )
  with pytest.raises(ValueError, match='must be equal'):
    metric.compute(samples[:60])
  sets = mmd.describe(reference), mmd.describe(samples[:60])
  assert polygraph.discrepancy(*sets)['polygraph'] > 0.5
