"""Jobs: samples of a run, by its sampler and under conditions."""

import dataclasses
import math
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh
from tqdm import tqdm

from jaxdiff import hub, lora, modalities, models, parallel, runs
from jaxdiff.config import Spec, to_dict
from jaxdiff.data.dataset import Cut
from jaxdiff.generation import conditions as conditions_lib
from jaxdiff.generation import guides, sampler, writer
from jaxdiff.generation.conditions import Conditions
from jaxdiff.generation.flags import SamplerFlags, configure
from jaxdiff.modalities import Modality
from jaxdiff.pretrained import lora_weights
from jaxdiff.runs import Run, stable_diffusion

_LARGE = 256**2  # pixels of an image


class Job(NamedTuple):
  """A run, its compiled sampler, and the samples to draw."""

  run: Run
  draw: Callable[..., sampler.Samples]  # (params, options, index[B])
  params: Any
  options: Callable[[np.ndarray], Any]  # index[B] -> traced options
  num: int
  names: list[str]  # M conditions, sample i having that of i modulo M
  name: str  # for files; other flags, another name
  metadata: dict[str, Any]
  modality: Modality

  def samples(self, index: np.ndarray) -> list[Any]:
    """Draws samples `index`, one by one as the modality has them.

    Raises:
      ValueError: A sample is not finite.
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


def sketch_run(workdir: str | Path, flags: SamplerFlags) -> Run:
  """Describes a run without its weights, its sampling changed by the flags.

  Raises:
    ValueError: A flag that does not fit the run.
  """
  if stable_diffusion.is_one(workdir):
    config, spec, _ = stable_diffusion.read(
      workdir, **_published(workdir, flags)
    )
  elif (flags.size, flags.prediction) != (None, None):
    name = 'size' if flags.prediction is None else 'prediction'
    raise ValueError(
      f'--{name} is for Stable Diffusion; the run in {workdir} has its own'
    )
  else:
    config, spec = runs.read_config(workdir)
  try:
    model = models.sketch(config, spec)
  except ValueError as error:
    raise ValueError(f'{workdir}/config.json: {error}') from error
  run = Run(Path(config.workdir), config, spec, model, 0, None)
  run = _adapted(run, flags)
  sampler.make_sampler(run.model, run.config.sampling)
  if flags.classifier:  # which is small
    mesh = parallel.local_mesh()
    guide = guides.load(None, flags.classifier, mesh)
    run = guides.guided(run, guide, mesh)
  return run


def load_run(workdir: str | Path, flags: SamplerFlags, mesh: Mesh) -> Run:
  """Loads a run, its sampling changed by the flags.

  Raises:
    ValueError: A flag that does not fit the run; and as `runs.load`.
  """
  sketch_run(workdir, flags)  # errors come before the weights
  if stable_diffusion.is_one(workdir):
    settings = _published(workdir, flags)
    run = runs.load_stable_diffusion(workdir, mesh, **settings)
  else:
    run = runs.load(
      workdir,
      mesh,
      checkpoint=flags.checkpoint,
      ema=flags.average,
      lora_scale=1.0 if flags.lora_scale is None else flags.lora_scale,
    )
  run = _adapted(_with_factors(run, flags), flags)
  guide = guides.load(flags.guide, flags.classifier, mesh)
  return guides.guided(run, guide, mesh)


def _adapted(run: Run, flags: SamplerFlags) -> Run:
  """Changes the sampling of a run by the flags.

  Raises:
    ValueError: A flag that does not fit the run.
  """
  config, workdir = run.config, run.workdir
  if run.model.process is None:
    raise ValueError(
      f'{workdir} holds a classifier or an autoencoder: it draws no samples'
    )
  if getattr(flags, 'edit', None) == 'interpolate':
    if run.model.estimator is None:
      raise ValueError(
        f'--edit interpolate follows the ODE, and {workdir} estimates where it '
        'ends'
      )
    # Whatever the run is configured for.
    sampling = dataclasses.replace(config.sampling, sampler='ddim', eta=0.0)
    config = dataclasses.replace(config, sampling=sampling)
  run = configured(run._replace(config=config), flags)
  # A stage of a cascade may have settings that are meant for the other.
  alone = not getattr(flags, 'base', None)
  for name in ('guide', 'guidance', 'momentum')[: 3 if alone else 1]:
    if getattr(flags, name) and run.config.sampling.scale == 1:
      raise ValueError(f'--{name} has no effect at scale 1: give --scale 2')
  return run


def _published(workdir: str | Path, flags: SamplerFlags) -> dict[str, Any]:
  """The settings of a Stable Diffusion, without checkpoints and an average."""
  for name in ('checkpoint', 'ema', 'ema_std'):
    if getattr(flags, name) != getattr(SamplerFlags, name):
      flag = name.replace('_', '-')
      raise ValueError(f'--{flag} is for runs that were trained here')
  if flags.prediction and hub.local_path(workdir).is_dir():
    raise ValueError(f'--prediction is for a single file; {workdir} says it')
  return {
    'size': flags.size,
    'dtype': flags.dtype or 'float32',
    'prediction': flags.prediction,
  }


def _with_factors(run: Run, flags: SamplerFlags) -> Run:
  """Merges the factors of --lora.

  Raises:
    ValueError: The run has no factors that --lora-scale could multiply, or no
      U-Net that those of a file are for.
  """
  if flags.lora is None:
    if flags.lora_scale is not None and run.config.lora.rank is None:
      raise ValueError(
        f'--lora-scale is for a run of --lora.rank, or with --lora FILE; '
        f'{run.workdir} has no factors'
      )
    return run
  if run.config.lora.rank is not None:
    raise ValueError(f'{run.workdir} has factors of its own: give no --lora')
  levels = len(getattr(run.config.network, 'channel_mults', ()))
  factors = lora_weights.read(flags.lora, run.params, levels)
  scale = 1.0 if flags.lora_scale is None else flags.lora_scale
  merge = jax.jit(lora.merged)
  return run._replace(params=merge(run.params, factors, scale))


def configured(run: Run, flags: SamplerFlags) -> Run:
  """Returns a run with its sampling changed by the flags; see `configure`."""
  config, model = configure(run.config, flags), run.model
  network = lambda config: (config.diffusion, config.network)
  if network(config) != network(run.config):
    make = models.sketch if run.params is None else models.make
    made = make(config, run.spec)
    model = made._replace(frozen=model.frozen)
  return run._replace(config=config, model=model)


def job_of_run(
  run: Run,
  mesh: Mesh,
  conditions: Conditions = conditions_lib.NONE,
  *,
  num: int,
  seed: int = 0,
  ema: bool | float = True,
  mode: str = 'jit',
  draw: Callable[..., sampler.Samples] | None = None,
) -> Job:
  """Builds the job of `num` samples that are measured.

  Args:
    run: From `load_run`.
    mesh: Of this process's devices.
    conditions: Of the samples.
    num: Of samples.
    seed: Of the noise.
    ema: As the run was loaded; for the metadata.
    mode: 'jit' or 'pmap'.
    draw: Of another job, whose run differs in weights, scale and eta at most:
      nothing is compiled again.
  """
  if draw is None:
    plain = sampler.make_sampler(run.model, run.config.sampling)
    draw = parallel.compile_sample_step(plain, mesh, mode=mode)
  metadata = describe(
    run,
    run.params,
    seed=seed,
    ema=ema,
    labels=conditions.name,
    **described_cut(conditions.cut),
  )
  return Job(
    run,
    draw,
    run.params,
    lambda index: sampler.traced_options(
      run.config,
      **conditions.options(index),
      seed=seed,
      frozen=run.model.frozen,
    ),
    num,
    [],
    name_of(run, seed),
    metadata,
    modalities.make(run.spec),
  )


def at_once(spec: Spec) -> int:
  """Returns how many samples are drawn, and how many at a time, by default."""
  large = spec.modality == 'image' and math.prod(spec.shape[:2]) > _LARGE
  return 1 if large else 64


def name_of(run: Run, seed: int | str, what: str | None = None) -> str:
  """Names a job by `what` or its sampler, steps, seed and checkpoint."""
  c = run.config.sampling
  what = what or c.sampler.partition('(')[0]
  return f'{what}{c.steps}_seed{seed}_step{run.step}'


def settings(run: Run) -> dict[str, Any]:
  """Returns the step and the sampler of a run."""
  sampling = to_dict(run.config.sampling)
  sampling.pop('num')
  return {
    'checkpoint_step': run.step,
    **sampling,
    'variance': getattr(run.config.diffusion, 'variance', None),
  }


def described_cut(cut: Cut | None) -> dict[str, Any]:
  """Returns the field of metadata for texts that lose their end, if any."""
  return {'conditions_truncated': cut._asdict()} if cut and cut.num else {}


def describe(run: Run, params: Any, **more: Any) -> dict[str, Any]:
  """Returns all on which samples depend: run, weights, sampler, versions."""
  latents = run.spec.latents
  return {
    'workdir': str(run.workdir),
    'params_sha256': runs.digest(params),
    **({'autoencoder_sha256': latents['sha256']} if latents else {}),
    **settings(run),
    **more,
    'versions': {
      name: version(name) for name in ('jaxdiff', 'jax', 'flax', 'numpy')
    },
  }
