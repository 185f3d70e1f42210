"""PolyGraph Discrepancy, against distances that are known."""

import networkx as nx
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from jaxdiff.data.sets import graphs as graph_sets
from jaxdiff.evaluation.graphs import metrics, mmd, polygraph


def random(p, num, seed=0):
  return mmd.describe(
    [nx.gnp_random_graph(12, p, seed=seed + i) for i in range(num)]
  )


def test_two_samples_of_one_distribution_are_near_0_and_others_near_1():
  base = random(0.3, 80)
  same = polygraph.discrepancy(base, random(0.3, 80, seed=1000))
  assert same['polygraph'] < 0.1
  assert polygraph.discrepancy(base, random(0.9, 80))['polygraph'] > 0.95
  near = polygraph.discrepancy(base, random(0.45, 60))['polygraph']
  assert 0.3 < near < 0.95


def test_the_bound_is_below_the_distance_and_near_it():
  """Of N(1, 1) and N(-1, 1), where logistic regression can be the best."""
  rng = np.random.default_rng(0)
  draw = lambda n: [rng.normal(m, 1, (n, 1)) for m in (1.0, -1.0)]
  x = np.linspace(-9, 9, 20001)
  p, q = (np.exp(-((x - m) ** 2) / 2) for m in (1.0, -1.0))
  divergence = lambda p, q: np.sum(p * np.log2(2 * p / (p + q))) / np.sum(p)
  exact = np.sqrt((divergence(p, q) + divergence(q, p)) / 2)
  found = polygraph.bound(draw(2000), draw(20000))
  assert exact - 0.01 < found < exact + 0.01


def test_the_classifier_is_a_ridge_of_standardised_statistics():
  """Sets of different sizes weigh the same."""
  rng = np.random.default_rng(0)
  draw = lambda *sizes: [
    rng.normal(k, 1.5, (n, 4)) for k, n in enumerate(sizes)
  ]
  fitted, held = draw(30, 50), draw(70, 40)
  unit = StandardScaler().fit(np.concatenate(fitted)).transform
  model = LogisticRegression(class_weight='balanced', tol=1e-8)
  model.fit(unit(np.concatenate(fitted)), np.repeat([0, 1], (30, 50)))
  bits = [
    np.log2(model.predict_proba(unit(x))[:, k]).mean()
    for k, x in enumerate(held)
  ]
  expected = np.sqrt(1 + sum(bits) / 2)
  assert 0.2 < expected < 0.8
  np.testing.assert_allclose(polygraph.bound(fitted, held), expected, atol=1e-5)


def test_a_statistic_that_was_constant_tells_nothing():
  """The mean of 40 times 1/18 is not 1/18, nor their deviation 0."""
  rng = np.random.default_rng(0)
  draw = lambda: [rng.normal(m, 1, (20, 1)) for m in (1.0, -1.0)]
  constant = lambda x: np.pad(x, ((0, 0), (0, 1)), constant_values=1 / 18)
  fitted, held = draw(), draw()
  more = [list(map(constant, x)) for x in (fitted, held)]
  assert np.concatenate(more[0]).std(0)[1] > 0
  more[1][0][0, 1] = more[1][1][0, 1] = 2 / 18
  expected = polygraph.bound(fitted, held)
  assert expected > 0.4
  np.testing.assert_allclose(polygraph.bound(*more), expected, atol=1e-5)


def test_one_graph_in_two_parts_does_not_hide_a_difference():
  """Every other graph is a tree of 18 nodes: its mean degree is constant."""
  trees = [nx.random_labeled_tree(18, seed=i) for i in range(40)]
  samples = [nx.barabasi_albert_graph(18, 1, seed=i) for i in range(40)]
  samples[0].remove_edge(*next(iter(samples[0].edges)))
  sets = mmd.describe(trees), mmd.describe(samples)
  bounds = [
    polygraph.discrepancy(*sets, seed)['polygraph_orbits'] for seed in range(6)
  ]
  assert min(bounds) > 0.8


def test_the_statistic_that_tells_most_counts():
  """Cycles and triangles: every node has two neighbours in both."""
  cycles = [nx.cycle_graph(3 * n) for n in range(3, 20)]
  triangles = [
    nx.disjoint_union_all([nx.complete_graph(3)] * n) for n in range(3, 20)
  ]
  found = polygraph.discrepancy(mmd.describe(cycles), mmd.describe(triangles))
  assert found['polygraph'] > 0.9 and found['polygraph_degree'] == 0


def test_few_graphs_have_none():
  assert polygraph.discrepancy(random(0.3, 7), random(0.3, 20)) == {}
  assert polygraph.discrepancy(random(0.3, 8), random(0.3, 9))


@pytest.mark.slow
def test_it_is_in_the_report_beside_its_floor():
  parts = graph_sets.make('community_small')
  train, test = parts['train'], parts['test']
  found = metrics.report(train, train, test, 'community_small')
  assert found['polygraph'] == found['polygraph_floor'] < 0.5
  noise = [nx.gnm_random_graph(len(g), g.size(), seed=0) for g in train]
  found = metrics.report(noise, train, test, 'community_small')
  assert found['polygraph'] > 0.7
  few = metrics.report(train[:4], train, test, 'community_small')
  assert not any('polygraph' in key for key in few)


def test_a_set_without_graphs():
  with pytest.raises(ValueError, match='both sets need graphs'):
    mmd.padded([], [np.ones(3)])
