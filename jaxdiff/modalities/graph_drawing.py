"""Pictures of graphs, for people: a grid of samples, and a graph on its way.

Nodes are coloured by kind and carry their symbol, edges are as thick as their
kind says. A planar graph is drawn without crossings, others as springs would
have them.
"""

import os
from collections.abc import Sequence

import networkx as nx
import numpy as np
from matplotlib.figure import Figure

from jaxdiff.modalities import pictures

CELL, DPI = 2.2, 110  # inches of a graph, points of an inch


def save_grid(
  graphs: Sequence[nx.Graph],
  path: str | os.PathLike[str],
  symbols: Sequence[str] | None = None,
  columns: int | None = None,
) -> None:
  """Draws graphs side by side.

  Args:
    graphs: at least one; 'kind' of nodes and edges where they have one.
    path: of the image.
    symbols: of the kinds of nodes, written on them.
    columns: in a row; about the square root of their number by default.
  """
  places = [layout(graph) for graph in graphs]
  columns = columns or int(np.ceil(np.sqrt(len(graphs))))
  _drawn(graphs, places, columns, symbols).savefig(path, dpi=DPI)


def frames(
  paths: Sequence[Sequence[nx.Graph]], symbols: Sequence[str] | None = None
) -> list[np.ndarray]:
  """Draws graphs side by side at each time, uint8 [H, W, 3]; see `save_strip`.

  Each has the layout of its last time.
  """
  places = [layout(way[-1]) for way in paths]
  columns = int(np.ceil(np.sqrt(len(paths))))
  return [
    pictures.of_figure(_drawn(graphs, places, columns, symbols))
    for graphs in zip(*paths, strict=True)
  ]


def save_strip(
  paths: Sequence[Sequence[nx.Graph]],
  path: str | os.PathLike[str],
  symbols: Sequence[str] | None = None,
  titles: Sequence[str] | None = None,
) -> None:
  """Draws graphs on their way from noise to data, one a row.

  Every time of a row has the layout of its last.

  Args:
    paths: of each graph, as it is at each time; the same nodes at all.
    path: of the image.
    symbols: of the kinds of nodes.
    titles: of the columns, such as 't = 0.5'.

  Raises:
    ValueError: rows of different length, or nodes that change.
  """
  lengths = {len(row) for row in paths}
  if len(lengths) != 1:
    raise ValueError(f'rows must be of one length, got {sorted(lengths)}')
  places = []
  for row in paths:
    if any(set(graph) != set(row[-1]) for graph in row):
      raise ValueError('a graph must have the same nodes at all times')
    places += [layout(row[-1])] * len(row)
  every = [graph for row in paths for graph in row]
  figure = _drawn(every, places, lengths.pop(), symbols, titles)
  figure.savefig(path, dpi=DPI)


def layout(graph: nx.Graph) -> dict[object, np.ndarray]:
  """A place in the plane for each node, the same at every call."""
  if len(graph) < 2:
    return {node: np.zeros(2) for node in graph}
  connected = nx.is_connected(graph)
  if connected and nx.check_planarity(graph)[0] and len(graph) > 2:
    # Straight lines that do not cross, then eased; crossings hardly return.
    start = nx.planar_layout(graph)
    if len(graph) <= 100:
      return nx.kamada_kawai_layout(graph, pos=start)
    return start
  if connected and len(graph) <= 100:
    return nx.kamada_kawai_layout(graph)
  return nx.spring_layout(graph, seed=0)


def _drawn(graphs, places, columns, symbols, titles=None) -> Figure:
  rows = -(-len(graphs) // columns)
  figure = Figure(figsize=(CELL * columns, CELL * rows), layout='constrained')
  every = figure.subplots(rows, columns, squeeze=False).ravel()
  for axes in every:
    axes.set_axis_off()
  for axes, graph, place in zip(every, graphs, places, strict=False):
    _draw(axes, graph, place, symbols)
  for axes, title in zip(every, titles or (), strict=False):
    axes.set_title(title, fontsize=10)
  return figure


def _draw(axes, graph, place, symbols) -> None:
  kinds = [kind for _, kind in graph.nodes(data='kind', default=0)]
  # Large enough for a symbol, small enough for many nodes.
  size = 170 if symbols else np.clip(1200 / max(len(graph), 1), 12, 60)
  nx.draw_networkx_nodes(
    graph,
    place,
    ax=axes,
    node_size=size,
    node_color=[f'C{kind % 10}' for kind in kinds],
    linewidths=0,
  )
  widths = [kind for _, _, kind in graph.edges(data='kind', default=1)]
  nx.draw_networkx_edges(
    graph,
    place,
    ax=axes,
    width=[0.3 + 0.7 * kind if symbols else 0.8 * kind for kind in widths],
    edge_color='0.35',
    node_size=size,
  )
  if symbols:
    names = {
      node: symbols[kind] for node, kind in zip(graph, kinds, strict=True)
    }
    nx.draw_networkx_labels(
      graph, place, names, ax=axes, font_size=7, font_color='white'
    )
  axes.set_aspect('equal', adjustable='datalim')
  axes.margins(0.12)
