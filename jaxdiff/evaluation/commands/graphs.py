"""Command `graphs`: MMD, valid, unique and novel graphs of a model."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jaxdiff import files
from jaxdiff.data.sets.npz import DAMAGED
from jaxdiff.evaluation.commands import drawing
from jaxdiff.evaluation.flags import Kept


@dataclass(frozen=True)
class Graphs(Kept):
  """MMDs beside the floor, and fractions valid, unique and novel.

  For molecules the fractions alone. Without --num there are as many samples as
  training graphs, whose distance is the floor: that of fewer is larger; 1000
  molecules. Writes WORKDIR/evaluation/graphs_*.json.
  """

  def run(self) -> dict[str, Any]:
    """Draws and measures the graphs, and writes the result."""
    # networkx takes half a second: only where there are graphs.
    from jaxdiff.data.graphs import graphs_of, to_networkx
    from jaxdiff.evaluation.graphs import metrics

    train, test = drawing.load_data(self, 'graph')
    name = train.name
    molecules = name.startswith('smiles:')
    if not molecules:
      metrics.check_name(name)
    num = self.num or (1000 if molecules else len(train))
    job, path = drawing.draw(self, 'graphs', '.npz', num=num)
    out = path.with_suffix('.metrics.json')
    files.check_target(out)
    arrays = read_graphs(path, num)
    exists = np.arange(arrays['edges'].shape[1]) < arrays.pop('size')[:, None]
    graphs = to_networkx(arrays, {'nodes': exists})
    if molecules:
      found = metrics.report_molecules(graphs, graphs_of(train), train.symbols)
    else:
      found = metrics.report(graphs, graphs_of(train), graphs_of(test), name)
    return drawing.save(job, out, found, train, test)


def read_graphs(path: Path, num: int) -> dict[str, np.ndarray]:
  """Reads an '.npz' of so many graphs: edges, size and perhaps nodes.

  Raises:
    ValueError: It is damaged.
  """
  problem = ValueError(drawing.DAMAGED.format(path=path))
  try:
    arrays = files.read_npz(path)
    _, most = arrays['edges'].shape[:2]
    wanted = {'edges': (num, most, most), 'nodes': (num, most), 'size': (num,)}
    shapes = {name: x.shape for name, x in arrays.items()}
    size = arrays['size']
  except DAMAGED:
    raise problem from None
  whole = all(x.dtype.kind == 'i' for x in arrays.values())
  whole = whole and shapes == {name: wanted.get(name) for name in shapes}
  if not whole or size.min() < 0 or size.max() > most:
    raise problem
  return arrays
