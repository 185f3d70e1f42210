"""`python -m jaxdiff.evaluation likelihood WORKDIR`."""

import dataclasses
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import jax
import tyro
from jax.sharding import Mesh
from tqdm import tqdm

from jaxdiff import build, data, files, guidance, parallel, samplers
from jaxdiff.evaluation import categorical_likelihood, likelihood
from jaxdiff.losses import learned_variance
from jaxdiff.samplers import categorical


@dataclass(frozen=True)
class Likelihood:
  """Bits/dim of a held-out split, by the bound (by term) and by the ODE; of
  text, graphs and categories bits per element, in steps and continuous time.

  Writes likelihood.json and, of images, likelihood.png in WORKDIR.
  """

  workdir: Annotated[str, tyro.conf.Positional]
  split: str = 'test'
  num: int | None = None  # examples; None: the whole split
  steps: int = 1000  # of the bound's grid, uniform in t
  num_terms: int | None = None  # random ones; None: all, of categories 32
  batch_size: int = 128
  ode: bool = True
  seed: int = 0
  checkpoint: int | None = None
  ema: bool = True

  def run(self) -> None:
    for name in ('num', 'steps', 'num_terms', 'batch_size'):
      value = getattr(self, name)
      if value is not None and value < 1:
        flag = '--' + name.replace('_', '-')
        raise ValueError(f'{flag} must be at least 1, got {value}')
    mesh = parallel.make_mesh(devices=jax.local_devices())
    run = build.load_run(
      self.workdir, mesh, checkpoint=self.checkpoint, ema=self.ema
    )
    discrete = build.of_categories(run.config)
    dataset = build.load_examples(run.config, self.workdir, self.split).dataset
    if self.num is not None:
      size = min(self.num, len(dataset))
      dataset = dataclasses.replace(dataset, size=size)
    build.check_symbols(run.spec, dataset)
    size = -(-min(self.batch_size, len(dataset)) // mesh.size) * mesh.size
    with tqdm(total=-(-len(dataset) // size), desc='likelihood') as bar:

      def batches():
        for batch in data.epoch(dataset, size):
          yield batch
          bar.update()

      measure = self._categories if discrete else self._numbers
      report, text = measure(run, batches(), mesh)
    out = Path(self.workdir)
    described = {
      'dataset': dataset.name,
      'split': dataset.split,
      'checkpoint_step': run.step,
      'num_steps': self.steps,
      'num_terms': self.num_terms,
      'seed': self.seed,
      **report,
    }
    text_of = json.dumps(finite(described), indent=2, allow_nan=False)
    files.write_text(text_of + '\n', out / 'likelihood.json')
    print(text)
    print(f'{out / "likelihood.json"}')

  def _categories(
    self, run: build.Run, batches: Iterable[Any], mesh: Mesh
  ) -> tuple[dict[str, Any], str]:
    network = build.make_network(run.config, run.spec)
    apply = build.make_apply(run.config, network)
    report = categorical_likelihood.evaluate(
      lambda params, cond: categorical.denoiser(apply, params, cond),
      run.params,
      build.make_process(run.config, run.spec),
      batches,
      samplers.uniform_times(self.steps),
      mesh=mesh,
      seed=self.seed,
      num_terms=32 if self.num_terms is None else self.num_terms,
    )
    elements = {'image': 'value', 'text': 'character', 'graph': 'element'}
    element = elements[run.spec.kind]
    if run.spec.kind == 'text' and {len(s) for s in run.spec.symbols} != {1}:
      element = 'token'
    return report._asdict(), categorical_likelihood.table(report, element)

  def _numbers(
    self, run: build.Run, batches: Iterable[Any], mesh: Mesh
  ) -> tuple[dict[str, Any], str]:
    schedule = build.make_schedule(run.config)
    network = build.make_network(run.config, run.spec)
    learned = run.config.diffusion.variance == 'learned'
    clip = learned_variance.on_mean(guidance.clip) if learned else guidance.clip
    make, encode = (
      build.make_denoiser(run.config, network),
      build.make_encode(network),
    )

    def denoiser(params, cond):
      return clip(make(params, encode(params, cond)))

    report = likelihood.evaluate(
      denoiser,
      run.params,
      schedule,
      batches,
      samplers.uniform_times(self.steps),
      mesh=mesh,
      seed=self.seed,
      variance=run.config.diffusion.variance,
      num_terms=self.num_terms,
      with_ode=self.ode,
    )
    likelihood.plot(report, Path(self.workdir) / 'likelihood.png')
    named = {
      'dequantisation': 'uniform (ODE), discretised Gaussian (bound)',
      **report._asdict(),
    }
    return named, likelihood.table(report)


def finite(x: Any) -> Any:
  """The same with 'inf' and 'nan' in words: JSON has no such numbers."""
  if isinstance(x, dict):
    return {name: finite(value) for name, value in x.items()}
  if isinstance(x, list | tuple):
    return [finite(value) for value in x]
  if isinstance(x, float) and not math.isfinite(x):
    return str(x)
  return x
