"""Whether a graph could be one of a set's law.

planar                  connected, and planar
trees                   connected, with n - 1 edges
grid, grid_small        isomorphic to a grid of its size, sides as the set's
sbm, sbm_small,         communities can be found in it of the set's number and
community_small         sizes, whose densities are the law's; see
                        `is_block_model`
"""

import math
from collections.abc import Callable
from functools import partial

import networkx as nx
import numpy as np

SWEEPS = 20


def is_planar(graph: nx.Graph) -> bool:
  """Connected and drawable without crossings."""
  return _connected(graph) and nx.check_planarity(graph)[0]


def is_tree(graph: nx.Graph) -> bool:
  """Connected and without cycles."""
  return len(graph) > 0 and nx.is_tree(graph)


def is_grid(graph: nx.Graph, low: int, high: int) -> bool:
  """a x b for some a, b in low .. high."""
  for a in range(low, high + 1):
    b, rest = divmod(len(graph), a)
    if rest or not a <= b <= high:
      continue
    grid = nx.grid_2d_graph(a, b)
    if nx.faster_could_be_isomorphic(graph, grid):
      # Degrees agree, so the search is short: corners tie down the rest.
      return nx.is_isomorphic(graph, grid)
  return False


def is_block_model(
  graph: nx.Graph,
  number: tuple[int, int],
  sizes: tuple[int, int],
  inside: float,
  between: float | Callable[[float], float],
  near: Callable[[np.ndarray, np.ndarray, np.ndarray], bool],
) -> bool:
  """Whether communities are there, as many, as large and as dense as said.

  They are found by Louvain's modularity; then nodes move to where the
  likelihood of a model with the law's two chances is highest, until none does.
  (SPECTRE finds them by graph-tool's inference.)

  Args:
    graph: any.
    number: fewest and most communities.
    sizes: smallest and largest.
    inside: the chance of an edge in a community.
    between: that of one between two; or a function of their mean size.
    near: whether the densities found are, and of how many pairs they are the
      means: `near_as_spectre` or `near_by_chance`.

  Source: SPECTRE (Martinkus et al. 2022) section 5; Blondel et al. 2008.
  """
  if len(graph) < number[0] * sizes[0] or graph.number_of_edges() == 0:
    return False
  a = nx.to_numpy_array(graph, weight=None)
  if callable(between):
    between = between(len(graph) / number[0])
  labels = _communities(graph, a, inside, between)
  member = labels[:, None] == np.unique(labels)[None, :]
  count = member.sum(0)
  if not number[0] <= len(count) <= number[1]:
    return False
  if count.min() < sizes[0] or count.max() > sizes[1]:
    return False
  within = np.eye(len(count), dtype=bool)
  pairs = (np.outer(count, count) - np.diag(count)) / np.where(within, 2, 1)
  edges = (member.T @ a @ member) / np.where(within, 2, 1)
  return near(edges / pairs, np.where(within, inside, between), pairs)


def near_as_spectre(
  found: np.ndarray, wanted: np.ndarray, pairs: np.ndarray
) -> bool:
  """The test of the literature, for large communities.

  W = (found - wanted)^2 / (found (1 - found)) is held against chi^2 with one
  degree of freedom, and the mean of the tail probabilities must exceed 0.9. W
  is not divided by the error of `found`: it asks how near the two are, not
  whether chance explains it, and fails most graphs of small communities.
  """
  del pairs
  w = (found - wanted) ** 2 / (found * (1 - found) + 1e-6)
  # The tail of chi^2 with one degree of freedom.
  return bool(np.vectorize(math.erfc)(np.sqrt(w / 2)).mean() > 0.9)


def near_by_chance(
  found: np.ndarray, wanted: np.ndarray, pairs: np.ndarray
) -> bool:
  """Every density within three standard errors of what it should be."""
  error = np.sqrt(wanted * (1 - wanted) / pairs)
  return bool((np.abs(found - wanted) <= 3 * error).all())


VALID = {
  'planar': is_planar,
  'trees': is_tree,
  'grid': partial(is_grid, low=10, high=19),
  'grid_small': partial(is_grid, low=3, high=8),
  'sbm': partial(
    is_block_model,
    number=(2, 5),
    sizes=(20, 40),
    inside=0.3,
    between=0.005,
    near=near_as_spectre,
  ),
  'sbm_small': partial(
    is_block_model,
    number=(2, 4),
    sizes=(8, 12),
    inside=0.6,
    between=0.02,
    near=near_by_chance,
  ),
  'community_small': partial(
    is_block_model,
    number=(2, 2),
    sizes=(6, 10),
    inside=0.7,
    between=lambda size: 0.1 / size,
    near=near_by_chance,
  ),
}


def _connected(graph: nx.Graph) -> bool:
  return len(graph) > 0 and nx.is_connected(graph)


def _communities(
  graph: nx.Graph, a: np.ndarray, inside: float, between: float
) -> np.ndarray:
  """A label for each node, [n]."""
  labels = np.zeros(len(a), int)
  place = {node: i for i, node in enumerate(graph)}
  found = nx.community.louvain_communities(graph, weight=None, seed=0)
  for label, community in enumerate(found):
    labels[[place[node] for node in community]] = label
  # What an edge, and its absence, add to the likelihood of being together.
  edge = math.log(inside / between)
  absence = math.log((1 - inside) / (1 - between))
  for _ in range(SWEEPS):
    before = labels.copy()
    for i in range(len(a)):
      member = labels[:, None] == np.arange(len(found))[None, :]
      member[i] = False
      edges = a[i] @ member
      gain = edge * edges + absence * (member.sum(0) - edges)
      labels[i] = int(gain.argmax())
    if (labels == before).all():
      break
  return labels
