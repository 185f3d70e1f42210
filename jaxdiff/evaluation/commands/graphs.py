"""`python -m jaxdiff.evaluation graphs WORKDIR`: graphs beside the data."""

from dataclasses import dataclass
from typing import Annotated, Any

import networkx as nx
import numpy as np
import tyro

from jaxdiff import build
from jaxdiff.data.graphs import to_networkx
from jaxdiff.evaluation import graph_metrics
from jaxdiff.evaluation.commands import samples


@dataclass(frozen=True)
class Graphs:
  """MMDs beside the floor, and fractions valid, unique and novel; of molecules
  the fractions.

  Writes WORKDIR/evaluation/graphs_*.json.
  """

  workdir: Annotated[str, tyro.conf.Positional]
  num: int | None = None  # None: as many as the test split; of molecules 1000
  seed: int = 0
  steps: int | None = None
  temperature: float | None = None
  checkpoint: int | None = None
  ema: bool = True
  batch_size: int = 64

  def run(self) -> dict[str, Any]:
    from jaxdiff.checkpoints import run_config
    from jaxdiff.config import undescribe

    config, spec = undescribe(run_config.load_config(self.workdir))
    if spec.kind != 'graph':
      raise ValueError(f'{self.workdir} holds a model of {config.data.name}')
    read = lambda split: graphs_of(config, self.workdir, split)
    train, test = read('train'), read('test')
    molecules = config.data.name.startswith('smiles:')
    num = self.num or (1000 if molecules else len(test))
    options = samples.sampling_options(self, num=num)
    job, path = samples.draw(options, 'graphs', '.npz')
    drawn = stored(dict(np.load(path)))
    if molecules:
      found = graph_metrics.report_molecules(drawn, train, spec.symbols)
    else:
      found = graph_metrics.report(drawn, train, test, config.data.name)
    out = path.with_suffix('.metrics.json')
    return samples.report(job, config.data.name, found, out)


def graphs_of(config: Any, workdir: str, split: str) -> list[nx.Graph]:
  """All graphs of a split."""
  dataset = build.load_examples(config, workdir, split).dataset
  arrays = dataset.gather(np.arange(len(dataset)))
  return to_networkx(arrays['x0'], arrays.get('mask'))


def stored(arrays: dict[str, np.ndarray]) -> list[nx.Graph]:
  """The graphs of an NPZ that sample.py wrote."""
  exists = np.arange(arrays['edges'].shape[1]) < arrays.pop('size')[:, None]
  return to_networkx(arrays, {'nodes': exists})
