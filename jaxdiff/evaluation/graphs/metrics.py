"""Metrics of graphs: MMD to the test set, valid, unique, novel.

  MMD^2   to the test set by degree, clustering, orbits and spectrum; the floor
          is that of the training set
  valid   fraction that passes `validity`; for molecules, RDKit and connected
  unique  fraction of different graphs
  novel   fraction outside the training set
  polygraph  PolyGraph Discrepancy to the test set, from 0 to 1

Two graphs are the same if they are isomorphic with the kinds of their nodes and
edges; two molecules, if their canonical SMILES are. For molecules unique and
novel are fractions of the valid ones, as usual; otherwise of all.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence

import networkx as nx

from jaxdiff.data.sets import molecules
from jaxdiff.data.sets.graph_validity import VALID
from jaxdiff.evaluation.graphs import mmd, polygraph

# A floor below this is rounding: no ratio to it.
_ROUNDING = 1e-12


def check_name(name: str) -> None:
  """Raises ValueError for a data set without a test of validity."""
  if name not in VALID:
    raise ValueError(
      f'validity is known of {sorted(VALID)}, got {name!r}; of molecules see '
      'report_molecules'
    )


def report(
  samples: Sequence[nx.Graph],
  train: Sequence[nx.Graph],
  test: Sequence[nx.Graph],
  name: str,
) -> dict[str, float]:
  """Computes all metrics for a data set whose nodes are alike.

  Returns:
    'degree', 'clustering', 'orbits', 'spectrum': MMD^2 to the test set;
    'degree_floor' .. of the training set; 'degree_ratio' .. and 'mean_ratio'
    to the floors that are not 0; those of `polygraph.discrepancy` with
    'polygraph_floor', of the training set; 'valid', 'valid_floor' (of the test
    set), 'unique', 'novel', 'valid_unique_novel', 'num_samples'.
  """
  check_name(name)
  described = [mmd.describe(graphs) for graphs in (samples, train, test)]
  values = mmd.all_mmd2(described[0], described[2])
  floors = mmd.all_mmd2(described[1], described[2])
  told = polygraph.discrepancy(described[2], described[0])
  floor = polygraph.discrepancy(described[2], described[1])
  if told and floor:
    told['polygraph_floor'] = floor['polygraph']
  # Grids and trees have no triangles, and train may be test.
  ratios = {k: values[k] / floors[k] for k in values if floors[k] > _ROUNDING}
  valid = [VALID[name](graph) for graph in samples]
  first, known = novelty(samples, train)
  num, new = len(samples), [not k for k in known]
  good = [all(x) for x in zip(valid, first, new, strict=True)]
  mean = {'mean_ratio': sum(ratios.values()) / len(ratios)} if ratios else {}
  return {
    **values,
    **{f'{key}_floor': value for key, value in floors.items()},
    **{f'{key}_ratio': value for key, value in ratios.items()},
    **mean,
    **told,
    'valid': sum(valid) / num,
    'valid_floor': sum(map(VALID[name], test)) / len(test),
    'unique': sum(first) / num,
    'novel': sum(new) / num,
    'valid_unique_novel': sum(good) / num,
    'num_samples': num,
  }


def report_molecules(
  samples: Sequence[nx.Graph],
  train: Iterable[nx.Graph],
  symbols: tuple[str, ...],
) -> dict[str, float]:
  """Computes the fractions for molecules of atoms with these symbols."""
  if not len(samples):
    raise ValueError('there are no samples')
  written = [molecules.to_smiles(graph, symbols) for graph in samples]
  valid = [smiles for smiles in written if smiles is not None]
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
  """Tells which samples are the first of their kind, and which are in `train`.

  Only graphs of equal colours are compared, by an exact search (VF2).

  Source: Weisfeiler and Leman 1968; Cordella et al. 2004.
  """
  training, seen = defaultdict(list), defaultdict(list)
  for graph in map(_coloured, train):
    training[_colours(graph)].append(graph)
  first, known = [], []
  for graph in map(_coloured, samples):
    key = _colours(graph)
    first.append(not any(_isomorphic(graph, other) for other in seen[key]))
    known.append(any(_isomorphic(graph, other) for other in training[key]))
    if first[-1]:
      seen[key].append(graph)
  return first, known


def _isomorphic(a: nx.Graph, b: nx.Graph) -> bool:
  # Without colours the search can take hours on dense communities.
  equal = lambda u, v: u == v
  return nx.is_isomorphic(a, b, node_match=equal, edge_match=equal)


def _coloured(graph: nx.Graph) -> nx.Graph:
  """Copies a graph; a node's 'colour' is its kind and its surroundings."""
  kinds, out = nx.Graph(), nx.Graph()
  for node, kind in graph.nodes(data='kind', default=0):
    kinds.add_node(node, kind=kind)
  for u, v, kind in graph.edges(data='kind', default=1):
    kinds.add_edge(u, v, kind=kind)
  colours = nx.weisfeiler_lehman_subgraph_hashes(
    kinds, edge_attr='kind', node_attr='kind', iterations=3
  )
  out.add_nodes_from((n, {'colour': x[-1]}) for n, x in colours.items())
  out.add_edges_from(kinds.edges(data=True))
  return out


def _colours(graph: nx.Graph) -> tuple[str, ...]:
  return tuple(sorted(x for _, x in graph.nodes(data='colour')))
