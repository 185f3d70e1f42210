"""`python -m jaxdiff.evaluation graphs WORKDIR`: graphs beside the data."""

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import tyro

from jaxdiff import build
from jaxdiff.config import Config, Spec, undescribe
from jaxdiff.evaluation.commands import samples
from jaxdiff.runs import run_config


@dataclass(frozen=True)
class Graphs:
  """MMDs beside the floor, and fractions valid, unique and novel; of molecules
  the fractions.

  Writes WORKDIR/evaluation/graphs_*.json.
  """

  workdir: Annotated[str, tyro.conf.Positional]
  # None: as many as in the training set, whose distance is the floor: that of
  # fewer is larger. Of molecules 1000.
  num: int | None = None
  seed: int = 0
  steps: int | None = None
  temperature: float | None = None
  checkpoint: int | None = None
  ema: bool = True
  batch_size: int = 64

  def run(self) -> dict[str, Any]:
    # networkx takes half a second: only where there are graphs.
    from jaxdiff.evaluation.graphs import metrics

    config, spec = undescribe(run_config.load_config(self.workdir))
    if spec.kind != 'graph':
      raise ValueError(f'{self.workdir} holds a model of {config.data.name}')
    train, test = (
      graphs_of(config, spec, self.workdir, split)
      for split in ('train', 'test')
    )
    molecules = config.data.name.startswith('smiles:')
    num = self.num
    if num is None:
      num = 1000 if molecules else len(train)
    options = samples.sampling_options(self, num=num)
    job, path = samples.draw(options, 'graphs', '.npz')
    drawn = stored(dict(np.load(path)))
    if molecules:
      found = metrics.report_molecules(drawn, train, spec.symbols)
    else:
      found = metrics.report(drawn, train, test, config.data.name)
    out = path.with_suffix('.metrics.json')
    return samples.report(job, config.data.name, found, out)


def graphs_of(
  config: Config, spec: Spec, workdir: str, split: str
) -> list[Any]:
  """All graphs of a split, networkx's."""
  from jaxdiff.data.graphs import to_networkx

  dataset = build.load_examples(config, workdir, split).dataset
  build.check_symbols(spec, dataset)
  arrays = dataset.gather(np.arange(len(dataset)))
  return to_networkx(arrays['x0'], arrays.get('mask'))


def stored(arrays: dict[str, np.ndarray]) -> list[Any]:
  """The graphs, networkx's, of an NPZ that sample.py wrote."""
  from jaxdiff.data.graphs import to_networkx

  exists = np.arange(arrays['edges'].shape[1]) < arrays.pop('size')[:, None]
  return to_networkx(arrays, {'nodes': exists})
