"""A job: a run and conditions become samples."""

import dataclasses
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jax.sharding import Mesh
from tqdm import tqdm

from jaxdiff import modalities, models, parallel, runs
from jaxdiff.config import to_dict
from jaxdiff.generation import conditions as conditions_lib
from jaxdiff.generation import sampler, writer
from jaxdiff.generation.conditions import Conditions
from jaxdiff.generation.flags import SamplerFlags, configure
from jaxdiff.modalities import Modality
from jaxdiff.runs import Run


class Job(NamedTuple):
  """Everything about samples but where they go."""

  run: Run
  draw: Callable[..., sampler.Samples]  # (params, options, index[B]), compiled
  params: Any
  options: Callable[[np.ndarray], Any]  # index[B] -> traced options
  num: int
  names: list[str]  # M conditions, sample i having that of i modulo M
  name: str  # for files; tells jobs apart
  metadata: dict[str, Any]
  modality: Modality

  def samples(self, index: np.ndarray) -> list[Any]:
    """Draws samples `index`, one by one as the modality has them.

    Raises:
      ValueError: a sample is not finite.
    """
    drawn = self.draw(self.params, self.options(index), index)
    sampler.check_finite(drawn, index)
    return list(self.modality.split(drawn))

  def write(self, out: str | Path, batch_size: int, desc: str) -> Path:
    """Draws all samples and writes them to `out`, with a progress bar."""
    unit = self.modality.unit
    with tqdm(total=self.num, desc=desc, unit=unit, dynamic_ncols=True) as bar:
      return writer.write(
        out,
        self.num,
        self.samples,
        self.metadata,
        self.modality,
        names=self.names,
        batch_size=batch_size,
        progress=bar.update,
      )


def load_run(workdir: str | Path, flags: SamplerFlags, mesh: Mesh) -> Run:
  """Loads a run, its sampling changed by the flags.

  Raises:
    ValueError: a flag that does not fit the run; and as `runs.load`.
  """
  run = runs.load(workdir, mesh, checkpoint=flags.checkpoint, ema=flags.ema)
  config = run.config
  if run.model.process is None:
    raise ValueError(f'{workdir} holds a classifier: it draws no samples')
  if getattr(flags, 'edit', None) == 'interpolate':
    # Whatever the run is configured for.
    sampling = dataclasses.replace(config.sampling, sampler='ddim', eta=0.0)
    config = dataclasses.replace(config, sampling=sampling)
  return configured(run._replace(config=config), flags)


def configured(run: Run, flags: SamplerFlags) -> Run:
  """Returns a run with its sampling changed by the flags; see `configure`."""
  config, model = configure(run.config, flags), run.model
  if config.diffusion != run.config.diffusion:
    model = models.make(config, run.spec)
  return run._replace(config=config, model=model)


def job_of_run(
  run: Run,
  mesh: Mesh,
  conditions: Conditions = conditions_lib.NONE,
  *,
  num: int,
  seed: int = 0,
  ema: bool = True,
  mode: str = 'jit',
  draw: Callable[..., sampler.Samples] | None = None,
) -> Job:
  """Builds the job of samples that are measured.

  Args:
    run: from `load_run`.
    mesh: of this process's devices.
    conditions: of the samples.
    num: of samples.
    seed: of the noise.
    ema: whether the weights of the run are the averaged ones.
    mode: 'jit' or 'pmap'.
    draw: that of another job, whose run differs in weights, scale and eta at
      most: nothing is compiled again.
  """
  if draw is None:
    plain = sampler.make_sampler(run.model, run.config.sampling)
    draw = parallel.compile_sample_step(plain, mesh, mode=mode)
  c = run.config.sampling
  metadata = {
    **describe(run, run.params, seed=seed, ema=ema),
    'labels': conditions.name,
    'variance': getattr(run.config.diffusion, 'variance', None),
  }
  return Job(
    run,
    draw,
    run.params,
    lambda index: sampler.traced_options(
      run.config, **conditions.options(index), seed=seed
    ),
    num,
    [],
    f'{c.sampler.partition("(")[0]}{c.steps}_seed{seed}_step{run.step}',
    metadata,
    modalities.make(run.spec),
  )


def describe(run: Run, params: Any, **more: Any) -> dict[str, Any]:
  """Returns all on which samples depend: run, weights, sampler, versions."""
  sampling = {
    k: v for k, v in to_dict(run.config.sampling).items() if k != 'num'
  }
  return {
    'workdir': str(run.workdir),
    'checkpoint_step': run.step,
    'params_sha256': runs.digest(params),
    **sampling,
    **more,
    'versions': {
      name: version(name) for name in ('jaxdiff', 'jax', 'flax', 'numpy')
    },
  }
