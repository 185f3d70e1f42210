"""Orbit counts: how often a node takes each place in the small subgraphs.

There are 15 orbits of connected subgraphs of up to 4 nodes, places that differ
by no symmetry, numbered as by Przulj:

   0 edge                              8 4-cycle
   1 2  path of 3: end, middle         9 10 11  paw: the tail, the two nodes of
   3 triangle                                   the triangle, the centre
   4 5  path of 4: end, middle        12 13  diamond: degree 2, degree 3
   6 7  star: leaf, centre            14 complete graph of 4

Induced subgraphs are counted. Closed forms of degrees, common neighbours and
triangles count all subgraphs, induced or not; then, from the densest down,
those within a denser one are subtracted.

Source: Przulj 2007 (graphlet degrees); Hocevar and Demsar 2014 (ORCA), whose
relations are of this kind.
"""

import networkx as nx
import numpy as np

NUM_ORBITS = 15


def orbit_counts(graph: nx.Graph) -> np.ndarray:
  """Counts the orbits of each node, in the graph's order. [n, 15] int.

  Kinds of edges are ignored, and so are loops.
  """
  a = nx.to_numpy_array(graph, weight=None, dtype=np.int64)
  np.fill_diagonal(a, 0)
  d = a.sum(1)
  common = a @ a  # paths of two edges between two nodes
  shared = a * common  # triangles at an edge
  t = shared.sum(1) // 2  # triangles at a node
  pairs = lambda x: x * (x - 1) // 2
  apart = common.copy()
  np.fill_diagonal(apart, 0)

  o = np.zeros((len(a), NUM_ORBITS), np.int64)
  o[:, 0] = d
  o[:, 1] = a @ (d - 1) - 2 * t
  o[:, 2] = pairs(d) - t
  o[:, 3] = t

  k4 = np.array([_triangles_among(a, i) for i in range(len(a))], np.int64)
  around = ((a @ shared) * a).sum(1) // 2 - t
  o[:, 14] = k4
  o[:, 13] = pairs(shared).sum(1) - 3 * k4
  o[:, 12] = around - 3 * k4
  o[:, 8] = pairs(apart).sum(1) - o[:, 12] - o[:, 13] - 3 * k4

  o[:, 11] = t * (d - 2) - 2 * o[:, 13] - 3 * k4
  o[:, 10] = shared @ (d - 2) - 2 * o[:, 13] - 2 * o[:, 12] - 6 * k4
  o[:, 9] = a @ t - shared.sum(1) - 2 * o[:, 12] - 3 * k4

  triples = d * (d - 1) * (d - 2) // 6
  o[:, 7] = triples - o[:, 11] - o[:, 13] - k4
  leaves = a @ pairs(d - 1)
  o[:, 6] = leaves - o[:, 9] - o[:, 10] - o[:, 13] - 2 * o[:, 12] - 3 * k4

  beyond = a @ (a @ (d - 1)) - d * (d - 1) - 2 * t
  inner = (d - 1) * (a @ (d - 1)) - shared.sum(1)
  within = o[:, 10] + 6 * k4
  o[:, 4] = beyond - within - 2 * (o[:, 8] + o[:, 9] + o[:, 13]) - 4 * o[:, 12]
  o[:, 5] = inner - within - 2 * (o[:, 8] + o[:, 11] + o[:, 12]) - 4 * o[:, 13]
  return o


def _triangles_among(a: np.ndarray, node: int) -> int:
  """Counts triangles of neighbours of a node: its complete graphs of 4."""
  (near,) = np.nonzero(a[node])
  inside = a[np.ix_(near, near)]
  return int(((inside @ inside) * inside).sum()) // 6
