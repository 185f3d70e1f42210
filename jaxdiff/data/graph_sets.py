"""The procedural sets of graphs of the literature, made anew at every start.

  name             graphs  nodes     law
  community_small  100     12 - 20   two communities of 6 to 10, edges inside
                                     with chance 0.7, about 0.05 n between
                                     (Niu et al. 2020)
  planar           200     64        Delaunay of uniform points (Martinkus et
                                     al. 2022, SPECTRE)
  sbm              200     44 - 187  2 to 5 communities of 20 to 40, chances
                                     0.3 and 0.005 (SPECTRE)
  sbm_small        200     16 - 48   2 to 4 communities of 8 to 12, chances 0.6
                                     and 0.02: ours, for a CPU
  grid             100     100 - 361 a x b for all a, b in 10 .. 19 (You et al.
                                     2018, GraphRNN)
  grid_small       36      9 - 64    the same of 3 .. 8: ours
  trees            200     64        uniform labelled trees (Bergmeister et al.
                                     2024)

Those of 200 are split as in DiGress, 128 / 32 / 40; the others 80 % / 20 %,
without a validation set. The literature's own graphs differ: it publishes files
or generators of unfixed seeds. Among its `community_small`, all communities of
one size are the same graph, drawn from one seed; here each is a draw.

Every graph is connected, and drawn again if not. The numbers come from PCG64's
raw output, a stream that NumPy promises for ever.
"""

from collections.abc import Callable, Sequence
from functools import partial

import networkx as nx
import numpy as np

SEED = 6


class Uniforms:
  """A stream of numbers in [0, 1) that no version of NumPy changes."""

  def __init__(self, seed: int):
    self.bits = np.random.PCG64(seed)

  def draw(self, *shape: int) -> np.ndarray:
    """Uniform over [0, 1), of that shape."""
    raw = self.bits.random_raw(int(np.prod(shape, dtype=int)))
    return (np.atleast_1d(raw) >> np.uint64(11)).reshape(shape) * 2.0**-53

  def integer(self, low: int, high: int) -> int:
    """Uniform over low .. high, both in."""
    return low + int(self.draw() * (high - low + 1))


def communities(
  uniforms: Uniforms, sizes: Sequence[int], inside: float, between: float
) -> nx.Graph:
  """Edges with one chance inside a community and another between two."""
  block = np.repeat(np.arange(len(sizes)), sizes)
  chance = np.where(block[:, None] == block[None, :], inside, between)
  edges = np.triu(uniforms.draw(len(block), len(block)) < chance, 1)
  return nx.from_numpy_array(edges | edges.T)


def two_communities(uniforms: Uniforms) -> nx.Graph:
  """One of community_small."""
  size = uniforms.integer(12, 20) // 2
  # Each of size^2 pairs with a chance that makes 0.05 n = 0.1 size of them.
  graph = communities(uniforms, (size, size), 0.7, 0.1 / size)
  if not any(u < size <= v for u, v in graph.edges):
    graph.add_edge(
      uniforms.integer(0, size - 1), uniforms.integer(size, 2 * size - 1)
    )
  return graph


def block_model(
  uniforms: Uniforms,
  most: int,
  sizes: tuple[int, int],
  inside: float,
  between: float,
) -> nx.Graph:
  """2 to `most` communities with sizes in a range."""
  number = uniforms.integer(2, most)
  drawn = [uniforms.integer(*sizes) for _ in range(number)]
  return communities(uniforms, drawn, inside, between)


def delaunay(uniforms: Uniforms, num_nodes: int) -> nx.Graph:
  """The triangulation of points that are uniform over a square."""
  from scipy.spatial import Delaunay

  graph = nx.empty_graph(num_nodes)
  for corners in Delaunay(uniforms.draw(num_nodes, 2)).simplices.tolist():
    nx.add_cycle(graph, corners)
  return graph


def labelled_tree(uniforms: Uniforms, num_nodes: int) -> nx.Graph:
  """One of the n^(n-2) trees on n labelled nodes, by its Pruefer sequence."""
  sequence = [uniforms.integer(0, num_nodes - 1) for _ in range(num_nodes - 2)]
  return nx.from_prufer_sequence(sequence)


def grids(low: int, high: int) -> list[nx.Graph]:
  """Every a x b with a, b in low .. high, in an order fixed by chance."""
  sides = range(low, high + 1)
  made = [
    nx.convert_node_labels_to_integers(nx.grid_2d_graph(a, b))
    for a in sides
    for b in sides
  ]
  order = np.argsort(Uniforms(SEED).draw(len(made)), kind='stable')
  return [made[i] for i in order]


def drawn(one: Callable[[Uniforms], nx.Graph], number: int) -> list[nx.Graph]:
  """The first connected graphs of the stream."""
  uniforms, made = Uniforms(SEED), []
  while len(made) < number:
    graph = one(uniforms)
    if nx.is_connected(graph):
      made.append(graph)
  return made


SETS = {
  'community_small': partial(drawn, two_communities, 100),
  'planar': partial(drawn, partial(delaunay, num_nodes=64), 200),
  'sbm': partial(
    drawn,
    partial(block_model, most=5, sizes=(20, 40), inside=0.3, between=0.005),
    200,
  ),
  'sbm_small': partial(
    drawn,
    partial(block_model, most=4, sizes=(8, 12), inside=0.6, between=0.02),
    200,
  ),
  'grid': partial(grids, 10, 19),
  'grid_small': partial(grids, 3, 8),
  'trees': partial(drawn, partial(labelled_tree, num_nodes=64), 200),
}


def make(name: str) -> dict[str, list[nx.Graph]]:
  """A set, as {split: graphs}, nodes numbered from 0.

  Raises:
    ValueError: there is no such set.
  """
  if name not in SETS:
    raise ValueError(f'a set of graphs is one of {sorted(SETS)}, got {name!r}')
  graphs = SETS[name]()
  if len(graphs) == 200:
    return {
      'train': graphs[:128],
      'validation': graphs[128:160],
      'test': graphs[160:],
    }
  num_train = round(0.8 * len(graphs))
  return {'train': graphs[:num_train], 'test': graphs[num_train:]}
