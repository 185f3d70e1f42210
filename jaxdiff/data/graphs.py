"""Graphs as arrays: from networkx to a Dataset, and back.

A graph of n nodes is x0 = {'nodes': int32 [N], 'edges': int32 [N, N]}, padded
with 0 to N >= n, edges symmetric, 0 being no edge; without 'nodes' where all
nodes are alike. Its mask is a tree like x0: the nodes that exist, and the pairs
of two different ones.

In networkx, a node's and an edge's category is its attribute 'kind'; absent, a
node's is 0 and an edge's 1.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import networkx as nx
import numpy as np

from jaxdiff.data.dataset import Arrays, Dataset, in_memory


def from_arrays(
  name: str,
  split: str,
  arrays: Arrays,
  categories: dict[str, int],
  **more: Any,
) -> Dataset:
  """Makes a data set of graphs; the integers in memory may be small ones."""
  dataset = in_memory(
    name, split, 'graph', arrays, categories=categories, **more
  )

  def gather(indices: np.ndarray) -> Arrays:
    batch = dataset.gather(indices)
    x0 = {part: x.astype(np.int32) for part, x in batch['x0'].items()}
    return batch | {'x0': x0}

  return dataclasses.replace(dataset, gather=gather)


def to_arrays(
  graphs: Sequence[nx.Graph], size: int
) -> tuple[Arrays, dict[str, np.ndarray]]:
  """Converts graphs of at most `size` nodes to (x0, mask), int32 and bool."""
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
  """Makes the mask {'nodes', 'edges'} of existing nodes, bool [b, N]."""
  pairs = exists[:, :, None] & exists[:, None, :]
  return {
    'nodes': exists,
    'edges': pairs & ~np.eye(exists.shape[1], dtype=bool),
  }


def to_networkx(
  x0: Mapping[str, np.ndarray], mask: Mapping[str, np.ndarray] | None = None
) -> list[nx.Graph]:
  """Converts a batch to graphs, nodes numbered from 0.

  The category of an edge is the one above the diagonal. Where a mask has no
  'nodes', the nodes in a pair exist: a graph of one node looks like none.
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


def graphs_of(dataset: Dataset) -> list[nx.Graph]:
  """Returns all graphs of a data set."""
  arrays = dataset.gather(np.arange(len(dataset)))
  return to_networkx(arrays['x0'], arrays.get('mask'))
