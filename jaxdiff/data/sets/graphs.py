"""Graph sets of the literature, generated at every start.

  name             graphs  nodes     distribution
  community_small  100     12 - 20   two communities of 6 to 10, edges inside
                                     with probability 0.7, about 0.05 n between
                                     (Niu et al. 2020)
  planar           200     64        Delaunay of uniform points (Martinkus et
                                     al. 2022, SPECTRE)
  planar_small     2000    16 - 24   the same of fewer points: ours, for a CPU
  sbm              200     44 - 187  2 to 5 communities of 20 to 40, edges with
                                     probability 0.3 inside and 0.005 between
                                     (SPECTRE)
  sbm_small        200     16 - 48   2 to 4 communities of 8 to 12, edges with
                                     probability 0.6 and 0.02: ours, for a CPU
  grid             100     100 - 361 a x b for all a, b in 10 .. 19 (You et al.
                                     2018, GraphRNN)
  grid_small       36      9 - 64    the same of 3 .. 8: ours
  trees            200     64        uniform labelled trees (Bergmeister et al.
                                     2024)

Sets of 200 are split as in DiGress, 128 / 32 / 40; the others 80 % / 20 %,
without a validation set. The literature's own graphs differ: it publishes files
or generators of unfixed seeds, and in its `community_small` all communities of
one size are the same graph. Every graph is connected, and drawn again if not.
"""

from collections.abc import Callable, Sequence
from functools import partial

import networkx as nx
import numpy as np

from jaxdiff.data.dataset import Dataset, check_split
from jaxdiff.data.graphs import from_arrays, to_arrays
from jaxdiff.data.shuffling import Uniforms, permutation

SEED = 6


def communities(
  uniforms: Uniforms, sizes: Sequence[int], inside: float, between: float
) -> nx.Graph:
  """Draws edges with one probability inside a community, one between two."""
  block = np.repeat(np.arange(len(sizes)), sizes)
  probability = np.where(block[:, None] == block[None, :], inside, between)
  edges = np.triu(uniforms.draw(len(block), len(block)) < probability, 1)
  return nx.from_numpy_array(edges | edges.T)


def two_communities(uniforms: Uniforms) -> nx.Graph:
  """Draws a graph of community_small."""
  size = uniforms.integer(12, 20) // 2
  # Each of size^2 pairs, so that 0.05 n = 0.1 size of them are expected.
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
  """Draws 2 to `most` communities with sizes in a range."""
  number = uniforms.integer(2, most)
  drawn = [uniforms.integer(*sizes) for _ in range(number)]
  return communities(uniforms, drawn, inside, between)


def delaunay(uniforms: Uniforms, low: int, high: int) -> nx.Graph:
  """Triangulates `low` to `high` points that are uniform over a square."""
  from scipy.spatial import Delaunay

  num_nodes = uniforms.integer(low, high) if low < high else low
  graph = nx.empty_graph(num_nodes)
  for corners in Delaunay(uniforms.draw(num_nodes, 2)).simplices.tolist():
    nx.add_cycle(graph, corners)
  return graph


def labelled_tree(uniforms: Uniforms, num_nodes: int) -> nx.Graph:
  """Draws one of the n^(n-2) labelled trees by its Pruefer sequence."""
  sequence = [uniforms.integer(0, num_nodes - 1) for _ in range(num_nodes - 2)]
  return nx.from_prufer_sequence(sequence)


def grids(low: int, high: int) -> list[nx.Graph]:
  """Makes every a x b with a, b in low .. high, shuffled."""
  sides = range(low, high + 1)
  made = [
    nx.convert_node_labels_to_integers(nx.grid_2d_graph(a, b))
    for a in sides
    for b in sides
  ]
  return [made[i] for i in permutation(len(made), SEED)]


def _connected(
  one: Callable[[Uniforms], nx.Graph], number: int
) -> list[nx.Graph]:
  """Draws the first connected graphs of the stream."""
  uniforms, made = Uniforms(SEED), []
  while len(made) < number:
    graph = one(uniforms)
    if nx.is_connected(graph):
      made.append(graph)
  return made


GRAPHS = {
  'community_small': partial(_connected, two_communities, 100),
  'planar': partial(_connected, partial(delaunay, low=64, high=64), 200),
  'planar_small': partial(_connected, partial(delaunay, low=16, high=24), 2000),
  'sbm': partial(
    _connected,
    partial(block_model, most=5, sizes=(20, 40), inside=0.3, between=0.005),
    200,
  ),
  'sbm_small': partial(
    _connected,
    partial(block_model, most=4, sizes=(8, 12), inside=0.6, between=0.02),
    200,
  ),
  'grid': partial(grids, 10, 19),
  'grid_small': partial(grids, 3, 8),
  'trees': partial(_connected, partial(labelled_tree, num_nodes=64), 200),
}


def make(name: str) -> dict[str, list[nx.Graph]]:
  """Makes a set of `GRAPHS`: {split: graphs}, nodes numbered from 0."""
  graphs = GRAPHS[name]()
  if len(graphs) == 200:
    return {
      'train': graphs[:128],
      'validation': graphs[128:160],
      'test': graphs[160:],
    }
  num_train = round(0.8 * len(graphs))
  return {'train': graphs[:num_train], 'test': graphs[num_train:]}


def _load(name: str, split: str) -> Dataset:
  """Loads a split of a set; its nodes have no categories."""
  parts = make(name)
  check_split(split, parts, name)
  # One size for all splits, so that what is trained fits what is tested.
  size = max(len(graph) for part in parts.values() for graph in part)
  alike = all(len(graph) == size for part in parts.values() for graph in part)
  x0, mask = to_arrays(parts[split], size)
  del x0['nodes'], mask['nodes']
  arrays = {'x0': x0} if alike else {'x0': x0, 'mask': mask}
  # Other versions of networkx and scipy may make others.
  content = lambda: [
    (f'{part} graphs', _written(graph).encode())
    for part, graphs in parts.items()
    for graph in graphs
  ]
  return from_arrays(
    name, split, arrays, {'edges': 2}, splits=tuple(parts), content=content
  )


def _written(graph: nx.Graph) -> str:
  return f'{len(graph)} {sorted(sorted(edge) for edge in graph.edges)}'


community_small = partial(_load, 'community_small')
grid = partial(_load, 'grid')
grid_small = partial(_load, 'grid_small')
planar = partial(_load, 'planar')
planar_small = partial(_load, 'planar_small')
sbm = partial(_load, 'sbm')
sbm_small = partial(_load, 'sbm_small')
trees = partial(_load, 'trees')
