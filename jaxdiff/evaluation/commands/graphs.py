"""The command `python -m jaxdiff.evaluation graphs WORKDIR`."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxdiff import runs
from jaxdiff.config import Config, Spec
from jaxdiff.evaluation.commands import samples
from jaxdiff.runs import examples


@dataclass(frozen=True)
class Graphs(samples.Samples):
  """MMDs beside the floor, and fractions valid, unique and novel.

  For molecules the fractions alone. Without --num there are as many samples as
  training graphs, whose distance is the floor: that of fewer is larger; 1000
  molecules. Writes WORKDIR/evaluation/graphs_*.json.
  """

  def run(self) -> dict[str, Any]:
    # networkx takes half a second to import: only where there are graphs.
    from jaxdiff.evaluation.graphs import metrics

    config, spec = runs.read_config(self.workdir)
    name = config.data.name
    if spec.modality != 'graph':
      raise ValueError(f'{self.workdir} holds a model of {name}, not of graphs')
    train, test = (
      graphs_of(config, spec, self.workdir, split)
      for split in ('train', 'test')
    )
    molecules = name.startswith('smiles:')
    num = self.num or (1000 if molecules else len(train))
    job, path = self.draw('graphs', '.npz', num=num)
    drawn = stored(dict(np.load(path)))
    if molecules:
      found = metrics.report_molecules(drawn, train, spec.symbols)
    else:
      found = metrics.report(drawn, train, test, name)
    return samples.report(job, name, found, path.with_suffix('.metrics.json'))


def graphs_of(
  config: Config, spec: Spec, workdir: str, split: str
) -> list[Any]:
  """Returns all graphs of a split, as networkx has them."""
  from jaxdiff.data.graphs import to_networkx

  dataset = examples.load(config, workdir, split).dataset
  examples.check_symbols(spec, dataset)
  arrays = dataset.gather(np.arange(len(dataset)))
  return to_networkx(arrays['x0'], arrays.get('mask'))


def stored(arrays: dict[str, np.ndarray]) -> list[Any]:
  """Returns the graphs of an NPZ that sample.py wrote, as networkx has them."""
  from jaxdiff.data.graphs import to_networkx

  exists = np.arange(arrays['edges'].shape[1]) < arrays.pop('size')[:, None]
  return to_networkx(arrays, {'nodes': exists})
