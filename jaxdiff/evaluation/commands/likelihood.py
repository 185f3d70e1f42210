"""The command `python -m jaxdiff.evaluation likelihood WORKDIR`."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from tqdm import tqdm

from jaxdiff import data, modalities, parallel, runs, samplers
from jaxdiff.config import Section
from jaxdiff.config.ranges import Count, In, Seed
from jaxdiff.evaluation import likelihood, protocol
from jaxdiff.evaluation.flags import Batch
from jaxdiff.runs import examples


@dataclass(frozen=True)
class Likelihood(Section):
  """Bits per element of a held-out split, by the bound and by the ODE.

  For categories the bound of steps and that of continuous time. Writes
  likelihood.json and likelihood.png in WORKDIR.
  """

  workdir: Annotated[str, tyro.conf.Positional]
  split: str = 'test'
  num: Count | None = None  # examples, at random; None: the whole split
  steps: Annotated[int, In('[1, 1000000]')] = 1000  # of the bound
  num_terms: Count | None = None  # random ones; None: all, of categories 32
  batch_size: Batch = 128
  ode: bool = True  # Gaussian noise: also the probability-flow ODE
  seed: Seed = 0
  checkpoint: Annotated[int, In('[0, 2147483647]')] | None = None
  ema: bool = True

  def run(self) -> likelihood.Report:
    mesh = parallel.local_mesh()
    run = runs.load(
      self.workdir, mesh, checkpoint=self.checkpoint, ema=self.ema
    )
    if run.model.process is None:
      raise ValueError(f'{self.workdir} holds a classifier: no likelihood')
    categories = run.model.schedule is None
    dataset = examples.load(run.config, self.workdir, self.split).dataset
    examples.check_symbols(run.spec, dataset)
    if self.num is not None:
      dataset = data.subset(dataset, min(self.num, len(dataset)))
    num_terms = self.num_terms
    if categories and num_terms is None:
      num_terms = 32
    size = -(-min(self.batch_size, len(dataset)) // mesh.size) * mesh.size
    with tqdm(total=-(-len(dataset) // size), desc='likelihood') as bar:

      def batches():
        for batch in data.epoch(dataset, size):
          yield batch
          bar.update()

      report = likelihood.evaluate(
        run.model,
        run.params,
        batches(),
        samplers.uniform_times(self.steps),
        mesh=mesh,
        seed=self.seed,
        num_terms=num_terms,
        with_ode=self.ode,
      )
    element = modalities.make(run.spec).element
    out = Path(self.workdir)
    result = {
      'dataset': dataset.name,
      'split': dataset.split,
      'workdir': self.workdir,
      'checkpoint_step': run.step,
      'ema': self.ema,
      'params_sha256': runs.digest(run.params),
      'num_terms': num_terms,
      'seed': self.seed,
      'unit': f'bits per {element}',
      **report._asdict(),
    }
    if report.bins is not None:
      result['dequantisation'] = 'uniform (ODE), discretised Gaussian (bound)'
    path = out / 'likelihood.json'
    protocol.write(finite(protocol.stamped(result)), path)
    likelihood.plot(report, out / 'likelihood.png', element)
    print(likelihood.table(report, element))
    print(path)
    return report


def finite(x: Any) -> Any:
  """Replaces inf and nan by words: JSON has no such numbers."""
  if isinstance(x, dict):
    return {name: finite(value) for name, value in x.items()}
  if isinstance(x, list | tuple):
    return [finite(value) for value in x]
  if isinstance(x, float) and not math.isfinite(x):
    return str(x)
  return x
