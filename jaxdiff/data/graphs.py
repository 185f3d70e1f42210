"""Graphs as arrays: a set as a Dataset, and back to networkx.

A graph of n nodes is x0 = {'nodes': int32 [N], 'edges': int32 [N, N]}, padded
with 0 to N >= n, edges symmetric, 0 being no edge; without 'nodes' where all
are alike. Its mask is a tree like x0: the nodes that exist, and the pairs of
two different ones.

In networkx, a node's and an edge's category is its attribute 'kind'; absent, a
node's is 0 and an edge's 1.
"""

from collections.abc import Mapping, Sequence

import networkx as nx
import numpy as np

from jaxdiff.data import graph_sets
from jaxdiff.data.dataset import Arrays, Dataset


def read_graphs(name: str, split: str) -> Dataset:
  """One of the built-in sets, see `graph_sets`; its nodes are alike.

  Args:
    name: of the set.
    split: 'train', 'test', and of the sets of 200 'validation'.

  Raises:
    ValueError: there is no such set or split.
  """
  parts = graph_sets.make(name)
  if split not in parts:
    raise ValueError(f'{name} has the splits {sorted(parts)}, got {split!r}')
  # Of all splits one size, so that what is trained fits what is tested.
  size = max(len(graph) for part in parts.values() for graph in part)
  alike = all(len(graph) == size for part in parts.values() for graph in part)
  x0, mask = to_arrays(parts[split], size)
  del x0['nodes'], mask['nodes']
  arrays = {'x0': x0} if alike else {'x0': x0, 'mask': mask}
  return from_arrays(name, split, arrays, {'edges': 2})


def from_arrays(
  name: str,
  split: str,
  arrays: Arrays,
  categories: dict[str, int],
  symbols: tuple[str, ...] | None = None,
) -> Dataset:
  """The Dataset of graphs that are in memory.

  Args:
    name: of the set.
    split: of the set.
    arrays: {'x0': {'edges': int [b, N, N], ..}} and, where they differ in size,
      'mask'; of any integer type, small ones saving memory.
    categories: of each part of x0.
    symbols: of the nodes.
  """

  def gather(indices: np.ndarray) -> Arrays:
    batch = {'x0': {n: v[indices] for n, v in arrays['x0'].items()}}
    batch['x0'] = {n: v.astype(np.int32) for n, v in batch['x0'].items()}
    if 'mask' in arrays:
      batch['mask'] = {n: v[indices] for n, v in arrays['mask'].items()}
    return batch

  return Dataset(
    name=name,
    split=split,
    size=len(arrays['x0']['edges']),
    shape={n: v.shape[1:] for n, v in arrays['x0'].items()},
    num_classes=None,
    gather=gather,
    categories=categories,
    symbols=symbols,
  )


def to_arrays(
  graphs: Sequence[nx.Graph], size: int
) -> tuple[Arrays, dict[str, np.ndarray]]:
  """(x0, mask) of graphs with at most `size` nodes, int32 and bool.

  Raises:
    ValueError: a graph has more nodes.
  """
  shape = (len(graphs), size)
  nodes = np.zeros(shape, np.int32)
  edges = np.zeros((*shape, size), np.int32)
  exists = np.zeros(shape, bool)
  for i, graph in enumerate(graphs):
    if len(graph) > size:
      raise ValueError(f'a graph of {len(graph)} nodes does not fit in {size}')
    place = {node: k for k, node in enumerate(graph)}
    exists[i, : len(graph)] = True
    for node, kind in graph.nodes(data='kind', default=0):
      nodes[i, place[node]] = kind
    for u, v, kind in graph.edges(data='kind', default=1):
      edges[i, place[u], place[v]] = edges[i, place[v], place[u]] = kind
  return {'nodes': nodes, 'edges': edges}, pair_mask(exists)


def pair_mask(exists: np.ndarray) -> dict[str, np.ndarray]:
  """{'nodes', 'edges'} of which nodes exist, bool [b, N]."""
  pairs = exists[:, :, None] & exists[:, None, :]
  return {
    'nodes': exists,
    'edges': pairs & ~np.eye(exists.shape[1], dtype=bool),
  }


def to_networkx(
  x0: Mapping[str, np.ndarray], mask: Mapping[str, np.ndarray] | None = None
) -> list[nx.Graph]:
  """The graphs of a batch, nodes numbered from 0.

  Of an edge the category above the diagonal is taken.

  Args:
    x0: {'edges': [b, N, N]}, and 'nodes' [b, N] where they have kinds.
    mask: like x0. Without 'nodes', a node exists that is in a pair: a graph of
      a single node is not to be told from none.
  """
  edges = np.asarray(x0['edges'])
  exists = np.ones(edges.shape[:2], bool)
  if mask is not None and 'nodes' in mask:
    exists = np.asarray(mask['nodes'])
  elif mask is not None:
    exists = np.asarray(mask['edges']).any(-1)
  graphs = []
  for i, on in enumerate(exists):
    (kept,) = np.nonzero(on)
    graph = nx.empty_graph(len(kept))
    if 'nodes' in x0:
      kinds = np.asarray(x0['nodes'])[i][kept].tolist()
      nx.set_node_attributes(graph, dict(enumerate(kinds)), 'kind')
    table = np.triu(edges[i][np.ix_(kept, kept)], 1)
    for u, v in np.argwhere(table).tolist():
      graph.add_edge(u, v, kind=int(table[u, v]))
    graphs.append(graph)
  return graphs
