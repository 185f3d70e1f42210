"""Graphs: arrays in a file each, and drawings of many."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np

from jaxdiff import files
from jaxdiff.config import Spec
from jaxdiff.data import graphs as arrays
from jaxdiff.modalities import Modality, graph_drawing, pictures

Sample = dict[str, np.ndarray]  # 'edges' [n, n], and 'nodes' [n] with kinds


def make(spec: Spec) -> Modality:
  """Builds the modality of {'nodes': int [B, N], 'edges': int [B, N, N]}.

  On the way to data, a node that is masked is drawn as ?, and an edge that is
  masked not at all.
  """
  categories, symbols = spec.categories, spec.symbols

  def gather(
    samples: Sequence[Sample], names: Sequence[str], path: Path
  ) -> None:
    if path.suffix == '.png':
      drawn = to_networkx(samples)
      files.save(
        path, lambda file: graph_drawing.save_grid(drawn, file, symbols)
      )
    else:
      files.write_npz(path, **_padded(samples))

  return Modality(
    unit='graph',
    element='element',
    suffix='.npz',
    endings=('.png', '.npz'),
    split=_split,
    save=lambda sample, path: files.write_npz(path, **sample),
    read=files.read_npz,
    gather=gather,
    strip=lambda path, stem: _strip(path, stem, categories, symbols),
    frames=lambda path, num: graph_drawing.frames(
      _ways(path, categories, num), symbols and (*symbols, '?')
    ),
  )


def to_networkx(samples: Sequence[Sample]) -> list[nx.Graph]:
  """The samples as graphs; see `data.graphs.to_networkx`."""
  batch = lambda sample: {name: x[None] for name, x in sample.items()}
  return [arrays.to_networkx(batch(sample))[0] for sample in samples]


def _split(drawn: Any) -> list[Sample]:
  x = {name: np.asarray(part) for name, part in drawn.x.items()}
  num, most = x['edges'].shape[:2]
  sizes = [most] * num if drawn.size is None else np.asarray(drawn.size)
  cut = lambda part, n: part[(slice(n),) * part.ndim]
  return [
    {name: cut(part[i], n) for name, part in x.items()}
    for i, n in enumerate(sizes)
  ]


def _padded(samples: Sequence[Sample]) -> Sample:
  """Arrays of all, [M, N, ...], and how many nodes each has, 'size'."""
  most = max(len(sample['edges']) for sample in samples)
  pad = lambda x: np.pad(x, [(0, most - len(x))] * x.ndim)
  names = samples[0].keys()
  size = np.array([len(sample['edges']) for sample in samples])
  stacked = {n: np.stack([pad(sample[n]) for sample in samples]) for n in names}
  return {**stacked, 'size': size}


def _ways(
  path: Any, categories: Mapping[str, int], columns: int
) -> list[list[nx.Graph]]:
  """Every graph at up to `columns` times, evenly spaced, both ends in."""
  edges = path.x['edges']
  seen = np.where(edges == categories['edges'], 0, edges)
  path = path._replace(x={**path.x, 'edges': seen})
  at = lambda n: {name: np.asarray(x)[:, n] for name, x in path.x.items()}
  shown = pictures.shown(edges.shape[1], columns)
  times = [to_networkx(_split(path._replace(x=at(n)))) for n in shown]
  return [list(row) for row in zip(*times, strict=True)]


def _strip(
  path: Any,
  stem: Path,
  categories: Mapping[str, int],
  symbols: Sequence[str] | None,
) -> Path:
  rows, symbols = _ways(path, categories, 8), symbols and (*symbols, '?')
  file = stem.with_suffix('.png')
  files.save(file, lambda part: graph_drawing.save_strip(rows, part, symbols))
  return file
