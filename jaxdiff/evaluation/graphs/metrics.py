"""Samples of graphs beside the data they should be like.

  mmd       MMD^2 to the test set by degree, clustering, orbits and spectrum,
            and the floor: that of the training set to the test set
  valid     the share that `validity` lets pass; for molecules, that RDKit
            does, in one piece
  unique    the share of different graphs
  novel     the share that is no training graph
  v.u.n.    the share of different graphs that are valid and novel

Two graphs are the same if they are isomorphic, kinds of nodes and edges
included; two molecules, if their canonical SMILES are. Of molecules, unique and
novel are shares of the valid ones, as is usual; of others, of all.

The graphs are networkx's, see `data.graphs.to_networkx`.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence

import networkx as nx

from jaxdiff.data.sets import molecules
from jaxdiff.evaluation.graphs import mmd
from jaxdiff.evaluation.graphs.validity import VALID

ITERATIONS = 6  # of refinement: three edges far, as edges are nodes there


def report(
  samples: Sequence[nx.Graph],
  train: Sequence[nx.Graph],
  test: Sequence[nx.Graph],
  name: str,
) -> dict[str, float]:
  """All of it, for a set whose nodes are alike.

  Args:
    samples: what was drawn.
    train: the training set.
    test: the test set.
    name: of the set.

  Returns:
    'degree', 'clustering', 'orbits', 'spectrum': MMD^2 to the test set;
    'degree_floor' .. of the training set, 'degree_ratio' .. over that, where it
    is not 0; 'mean_ratio' over these; 'valid', 'valid_floor' (the share of the
    test set that passes), 'unique', 'novel', 'valid_unique_novel'; and
    'num_samples'.

  Raises:
    ValueError: the name is of no set with a test of validity; a set is empty.
  """
  if name not in VALID:
    raise ValueError(
      f'validity is known of {sorted(VALID)}, got {name!r}; of molecules see '
      'report_molecules'
    )
  described = [mmd.describe(graphs) for graphs in (samples, train, test)]
  values = mmd.all_mmd2(described[0], described[2])
  floors = mmd.all_mmd2(described[1], described[2])
  # Grids and trees have no triangles: a floor of 0, and no ratio to it.
  ratios = {key: values[key] / floors[key] for key in values if floors[key] > 0}
  valid = [VALID[name](graph) for graph in samples]
  first, known = novelty(samples, train)
  num = len(samples)
  good = zip(valid, first, known, strict=True)
  return {
    **values,
    **{f'{key}_floor': value for key, value in floors.items()},
    **{f'{key}_ratio': value for key, value in ratios.items()},
    'mean_ratio': sum(ratios.values()) / len(ratios),
    'valid': sum(valid) / num,
    'valid_floor': sum(map(VALID[name], test)) / len(test),
    'unique': sum(first) / num,
    'novel': sum(not k for k in known) / num,
    'valid_unique_novel': sum(v and f and not k for v, f, k in good) / num,
    'num_samples': num,
  }


def report_molecules(
  samples: Sequence[nx.Graph],
  train: Iterable[nx.Graph],
  symbols: tuple[str, ...],
) -> dict[str, float]:
  """'valid', 'unique', 'novel', 'valid_unique_novel', 'num_samples'.

  Args:
    samples: what was drawn.
    train: the training set; it may be made as it is read.
    symbols: of the atoms, as `molecules.read_smiles` has them.

  Raises:
    ValueError: no samples.
  """
  if not len(samples):
    raise ValueError('there are no samples')
  valid = [s for s in molecules.smiles_of(samples, symbols) if s is not None]
  different = set(valid)
  new = different - {molecules.to_smiles(graph, symbols) for graph in train}
  return {
    'valid': len(valid) / len(samples),
    'unique': len(different) / max(len(valid), 1),
    'novel': len(new) / max(len(different), 1),
    'valid_unique_novel': len(new) / len(samples),
    'num_samples': len(samples),
  }


def novelty(
  samples: Sequence[nx.Graph], train: Sequence[nx.Graph]
) -> tuple[list[bool], list[bool]]:
  """Which samples are the first of their kind, and which are known already.

  Only graphs of equal hash are compared, by a search that is exact (VF2).

  Source: Weisfeiler and Leman 1968; Cordella et al. 2004.
  """
  training, seen = defaultdict(list), defaultdict(list)
  for graph in train:
    training[_hash(graph)].append(graph)
  first, known = [], []
  for graph in samples:
    key = _hash(graph)
    first.append(not any(same(graph, other) for other in seen[key]))
    known.append(any(same(graph, other) for other in training[key]))
    if first[-1]:
      seen[key].append(graph)
  return first, known


def same(graph: nx.Graph, other: nx.Graph) -> bool:
  """Isomorphic, kinds of nodes and edges included.

  Nodes are matched that refinement gives the same colour, without which the
  search can take hours on dense communities.
  """
  coloured = [_coloured(graph), _coloured(other)]
  colours = [
    sorted(colour for _, colour in each.nodes(data='colour'))
    for each in coloured
  ]
  equal = lambda u, v: u == v
  return colours[0] == colours[1] and nx.is_isomorphic(
    *coloured, node_match=equal, edge_match=equal
  )


def _coloured(graph: nx.Graph) -> nx.Graph:
  """The nodes' 'colour' tells their kinds and surroundings, edges' 'kind'."""
  hashes = nx.weisfeiler_lehman_subgraph_hashes(
    _kinds_beside(graph), node_attr='kind', iterations=ITERATIONS
  )
  out = nx.Graph()
  for node in graph:
    out.add_node(node, colour=hashes[node, ''][-1])
  for u, v, kind in graph.edges(data='kind', default=1):
    out.add_edge(u, v, kind=kind)
  return out


def _kinds_beside(graph: nx.Graph) -> nx.Graph:
  """Each edge as a node between its ends, of a kind below 0: -1 - kind."""
  split = nx.Graph()
  for node, kind in graph.nodes(data='kind', default=0):
    split.add_node((node, ''), kind=kind)
  for u, v, kind in graph.edges(data='kind', default=1):
    split.add_node((u, v), kind=-1 - kind)
    nx.add_path(split, [(u, ''), (u, v), (v, '')])
  return split


def _hash(graph: nx.Graph) -> str:
  return nx.weisfeiler_lehman_graph_hash(
    _kinds_beside(graph), node_attr='kind', iterations=ITERATIONS
  )
