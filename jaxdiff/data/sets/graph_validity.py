"""Validity: whether a graph may come from the distribution of a data set.

planar, planar_small    connected and planar
trees                   connected, with n - 1 edges
grid, grid_small        isomorphic to a grid with side lengths of the set
sbm, sbm_small,         communities of the set's number, sizes and densities
community_small
"""

import math
from collections.abc import Callable
from functools import partial

import networkx as nx
import numpy as np

SWEEPS = 20


def is_planar(graph: nx.Graph) -> bool:
  """Tells whether a graph is connected and can be drawn without crossings."""
  return bool(
    len(graph) and nx.is_connected(graph) and nx.check_planarity(graph)[0]
  )


def is_tree(graph: nx.Graph) -> bool:
  """Tells whether a graph is connected and has no cycles."""
  return len(graph) > 0 and nx.is_tree(graph)


def is_grid(graph: nx.Graph, low: int, high: int) -> bool:
  """Tells whether a graph is an a x b grid with a, b in low .. high."""
  for a in range(low, high + 1):
    b, rest = divmod(len(graph), a)
    if rest or not a <= b <= high:
      continue
    grid = nx.grid_2d_graph(a, b)
    if nx.faster_could_be_isomorphic(graph, grid):
      # Degrees agree, so the search is short.
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
  """Tells whether a graph has communities of given number, size and density.

  They are found by Louvain's modularity; then nodes move to where the
  likelihood under the two edge probabilities is highest, until none does.
  (SPECTRE finds them by graph-tool's inference.)

  Args:
    graph: Any.
    number: Fewest and most communities.
    sizes: Smallest and largest.
    inside: Probability of an edge in a community.
    between: That of one between two; or a function of their mean size.
    near: Whether densities, wanted ones and numbers of pairs agree.

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
  """Applies the test of the literature, for large communities.

  W = (found - wanted)^2 / (found (1 - found)) is compared with chi^2 of one
  degree of freedom, and the mean tail probability must exceed 0.9. W is not
  divided by the error of `found`, and fails most graphs of small communities.
  """
  del pairs
  w = (found - wanted) ** 2 / (found * (1 - found) + 1e-6)
  # The tail of chi^2 with one degree of freedom.
  return bool(np.vectorize(math.erfc)(np.sqrt(w / 2)).mean() > 0.9)


def near_by_error(
  found: np.ndarray, wanted: np.ndarray, pairs: np.ndarray
) -> bool:
  """Tells whether each density is within three standard errors."""
  error = np.sqrt(wanted * (1 - wanted) / pairs)
  return bool((np.abs(found - wanted) <= 3 * error).all())


# The numbers are those of `data.sets.graphs`.
VALID: dict[str, Callable[[nx.Graph], bool]] = {
  'planar': is_planar,
  'planar_small': is_planar,
  'trees': is_tree,
  'grid': partial(is_grid, low=10, high=19),
  'grid_small': partial(is_grid, low=3, high=8),
  'sbm': lambda graph: is_block_model(
    graph, (2, 5), (20, 40), 0.3, 0.005, near_as_spectre
  ),
  'sbm_small': lambda graph: is_block_model(
    graph, (2, 4), (8, 12), 0.6, 0.02, near_by_error
  ),
  'community_small': lambda graph: is_block_model(
    graph, (2, 2), (6, 10), 0.7, lambda size: 0.1 / size, near_by_error
  ),
}


def _communities(
  graph: nx.Graph, a: np.ndarray, inside: float, between: float
) -> np.ndarray:
  """Finds communities; returns a label for each node, [n]."""
  labels = np.zeros(len(a), int)
  place = {node: i for i, node in enumerate(graph)}
  found = nx.community.louvain_communities(graph, weight=None, seed=0)
  for label, community in enumerate(found):
    labels[[place[node] for node in community]] = label
  # Log-likelihood that an edge, and its absence, add to being together.
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
