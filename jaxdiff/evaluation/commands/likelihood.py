"""Command `likelihood`: bits per element of a held-out split."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any

import jax
import numpy as np
import tyro
from tqdm import tqdm

from jaxdiff import data, files, modalities, parallel, runs, samplers
from jaxdiff.config.ranges import Seed
from jaxdiff.data import Dataset
from jaxdiff.evaluation import bits, likelihood
from jaxdiff.evaluation.flags import Batch, Num
from jaxdiff.generation.flags import Steps, Weights, suffix
from jaxdiff.runs import examples, results

_TERMS = 32  # of categories
_LATENTS = 3  # a purpose of keys; `evaluation.likelihood` has 0 to 2


@dataclass(frozen=True)
class Likelihood(Weights):
  """Bits per element of a held-out split, by the bound and by the ODE.

  For categories the bound in steps and in continuous time. A model of latents
  has the density of latents, and is called so. Writes
  WORKDIR/likelihood.json and, for numbers, likelihood.png; the same result
  stays in WORKDIR/evaluation under a name with the flags.
  """

  workdir: Annotated[str, tyro.conf.Positional] = field(kw_only=True)
  split: str = 'test'
  num: Num | None = None  # a random subset; None: the whole split
  # Of the bound's grid, uniform in t. None: the run's --diffusion.num-steps.
  steps: Steps | None = None
  # Random terms of the bound; None: all, for categories at most 32.
  num_terms: Steps | None = None
  batch_size: Batch = 128  # examples at a time
  ode: bool = True  # numbers: also the probability-flow ODE
  seed: Seed = 0
  data_name: str | None = None  # where the data of the run are now

  def check(self) -> None:
    super().check()
    if self.steps is not None:
      self._check_terms(self.steps)

  def _check_terms(self, steps: int) -> None:
    if self.num_terms is not None and self.num_terms > steps:
      raise ValueError(
        f'--num-terms must be at most --steps, which are {steps}, got '
        f'{self.num_terms}'
      )

  def run(self) -> dict[str, Any]:
    """Measures the split and writes the result."""
    mesh = parallel.local_mesh()
    ema = self.average
    run = runs.load(self.workdir, mesh, checkpoint=self.checkpoint, ema=ema)
    if run.model.process is None:
      raise ValueError(
        f'{self.workdir} holds a classifier or an autoencoder: no likelihood'
      )
    if run.model.estimator is None:
      raise ValueError(
        f'{self.workdir} estimates where the ODE ends, and not E[x0 | xt]: no '
        'likelihood'
      )
    categories = run.model.schedule is None
    if categories and not self.ode:
      raise ValueError('--no-ode is for numbers: categories have no ODE')
    config = examples.moved(run.config, self.data_name)
    dataset = examples.load(config, run.workdir, self.split, run.spec).dataset
    if self.num is not None:
      dataset = data.subset(dataset, self.num)
    name = f'likelihood_step{run.step}'
    name += suffix(self, 'workdir', 'batch_size', 'checkpoint', 'data_name')
    path = run.workdir / 'evaluation' / f'{name}.json'
    newest, plot = (run.workdir / f'likelihood.{x}' for x in ('json', 'png'))
    for target in (path, newest, plot):
      files.check_target(target)
    steps = self.steps or run.config.diffusion.num_steps
    self._check_terms(steps)
    num_terms = self.num_terms
    if categories and num_terms is None and steps > _TERMS:
      num_terms = _TERMS
    report = likelihood.evaluate(
      run.model,
      run.params,
      self._batches(run, dataset, mesh.size),
      samplers.uniform_times(steps),
      mesh=mesh,
      seed=self.seed,
      num_terms=num_terms,
      with_ode=self.ode,
    )
    # The density of latents is not one of images.
    latent = run.spec.latents is not None
    element = modalities.make(run.spec).element
    element = 'number of a latent' if latent else element
    result = {
      'workdir': self.workdir,
      'checkpoint_step': run.step,
      'ema': ema,
      'params_sha256': runs.digest(run.params),
      'config_sha256': results.config_sha256(run.workdir),
      'dataset': dataset.name,
      'split': dataset.split,
      'datasets': results.of_data(dataset),
      'num_terms': num_terms,
      'seed': self.seed,
      'unit': f'bits per {element}',
      **report._asdict(),
    }
    if report.bins is not None:
      result['dequantisation'] = 'uniform (ODE), discretised Gaussian (bound)'
    if not categories:
      figure = bits.plot(report, element)
      files.save(plot, lambda file: figure.savefig(file, dpi=130))
    results.save(path, result, quiet=True)
    text = bits.table(report, element)
    return results.save(newest, result, text)

  def _batches(
    self, run: runs.Run, dataset: Dataset, devices: int
  ) -> Iterator[Any]:
    """Yields batches; images of a model of latents become draws of theirs."""
    size = -(-min(self.batch_size, len(dataset)) // devices) * devices
    encode = jax.jit(lambda x0, *more: run.model.latents(x0, *more))
    with tqdm(total=-(-len(dataset) // size), desc='likelihood') as bar:
      for i, batch in enumerate(data.epoch(dataset, size)):
        if run.spec.latents:
          x0 = batch['x0']
          first = jax.random.key(self.seed)
          index = i * size + np.arange(len(x0))
          keys = jax.vmap(jax.random.fold_in, (None, 0))(first, index)
          purpose = jax.vmap(jax.random.fold_in, (0, None))
          keys = purpose(keys, _LATENTS)
          batch = {**batch, 'x0': encode(x0, run.model.frozen, keys)}
        yield batch
        bar.update()
