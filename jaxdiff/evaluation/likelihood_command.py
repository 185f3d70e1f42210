"""`python -m jaxdiff.evaluation likelihood WORKDIR`."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import jax
import tyro
from tqdm import tqdm

from jaxdiff import build, data, guidance, parallel, samplers
from jaxdiff.evaluation import likelihood
from jaxdiff.losses import learned_variance


@dataclass(frozen=True)
class Likelihood:
  """Bits/dim of a held-out split, by the bound (by term) and by the ODE.

  Writes likelihood.json and likelihood.png in WORKDIR.
  """

  workdir: Annotated[str, tyro.conf.Positional]
  split: str = 'test'
  num: int | None = None  # examples; None: the whole split
  steps: int = 1000  # of the bound's grid, uniform in t
  num_terms: int | None = None  # random terms per example; None: all steps
  batch_size: int = 128
  ode: bool = True
  seed: int = 0
  checkpoint: int | None = None
  ema: bool = True

  def run(self) -> None:
    mesh = parallel.make_mesh(devices=jax.local_devices())
    run = build.load_run(
      self.workdir, mesh, checkpoint=self.checkpoint, ema=self.ema
    )
    dataset = build.load_examples(run.config, self.workdir, self.split).dataset
    if self.num is not None:
      size = min(self.num, len(dataset))
      dataset = dataclasses.replace(dataset, size=size)
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

    size = -(-min(self.batch_size, len(dataset)) // mesh.size) * mesh.size
    num_batches = -(-len(dataset) // size)
    with tqdm(total=num_batches, desc='likelihood', unit='batch') as bar:

      def batches():
        for batch in data.epoch(dataset, size):
          yield batch
          bar.update()

      report = likelihood.evaluate(
        denoiser,
        run.params,
        schedule,
        batches(),
        samplers.uniform_times(self.steps),
        mesh=mesh,
        seed=self.seed,
        variance=run.config.diffusion.variance,
        num_terms=self.num_terms,
        with_ode=self.ode,
      )
    out = Path(self.workdir)
    described = {
      'dataset': dataset.name,
      'split': dataset.split,
      'checkpoint_step': run.step,
      'num_steps': self.steps,
      'num_terms': self.num_terms,
      'seed': self.seed,
      'dequantisation': 'uniform (ODE), discretised Gaussian (bound)',
      **report._asdict(),
    }
    (out / 'likelihood.json').write_text(json.dumps(described, indent=2) + '\n')
    likelihood.plot(report, out / 'likelihood.png')
    print(likelihood.table(report))
    print(f'{out / "likelihood.json"}, {out / "likelihood.png"}')
