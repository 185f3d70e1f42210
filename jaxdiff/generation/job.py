"""A job: the flags of sample.py and trained runs become samples."""

import dataclasses
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jax.sharding import Mesh
from tqdm import tqdm

from jaxdiff import modalities, models, parallel, runs
from jaxdiff.generation import conditions as conditions_lib
from jaxdiff.generation import edits, inputs, sampler, writer
from jaxdiff.generation.conditions import Conditions
from jaxdiff.generation.flags import Flags, SamplerFlags, configure
from jaxdiff.generation.infills import read_infills
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


def make_job(flags: Flags, mesh: Mesh) -> Job:
  """Builds the job of the flags.

  Raises:
    ValueError: flags that contradict one another or the model.
    FileNotFoundError: a run, a checkpoint or a file is missing.
    DamagedCheckpointError: no checkpoint can be trusted.
  """
  # The run, after that of the small images where there is one.
  workdirs = [*filter(None, [flags.base]), flags.workdir]
  loaded = [load_run(workdir, flags, mesh) for workdir in workdirs]
  run, seed = loaded[-1], flags.seed or 0
  c = run.config.sampling
  _check_flags(flags, loaded)
  rows, names = _conditions(flags, loaded)
  given = read_infills(
    run.spec, flags.infill, flags.infills, flags.blank or '_'
  )
  if given:
    if names and len(given.texts) not in (1, len(names)):
      raise ValueError(
        f'{len(names)} labels need one text to infill or as many, got '
        f'{len(given.texts)}'
      )
    names = names or given.texts
  seeds = conditions_lib.read_seeds(flags.seeds, seed, max(1, len(names)))
  traced = [
    sampler.traced_options(r.config, **each, seed=seeds)
    for r, each in zip(loaded, rows, strict=True)
  ]
  options = traced[-1]
  options |= {'given': given.arrays} if given else {}
  digest = None
  if names:
    digest = conditions_lib.digest(rows, given and given.arrays, seeds)
  num = flags.num
  if num is None:
    num = -(-64 // max(1, len(names))) * max(1, len(names))

  edit, numbers = _edit(flags, num)
  if flags.edit == 'interpolate' and names:
    raise ValueError('--edit interpolate needs a model without conditions')
  images, described = _images(flags, run)
  if run.config.condition.low_res and not flags.base:
    small = {'low_res': images.pop('image')[None]}
    options['cond'] = {**options.get('cond', {}), **small}
    options |= {'scale': c.scale, 'augment': c.augment}
  options |= images

  draw = sampler.make_sampler(run.model, c, edit=edit)
  params, traced_all = run.params, options
  if flags.base:
    base = sampler.make_sampler(loaded[0].model, loaded[0].config.sampling)
    draw = sampler.make_cascade(base, draw)
    params, traced_all = (loaded[0].params, params), (traced[0], options)

  metadata = _metadata(
    run,
    params,
    ema=flags.ema,
    seed=flags.seeds or seed,
    conditions=names,
    conditions_sha256=digest,
    **({'negative_prompt': flags.negative_prompt} if names else {}),
    **({'base': [flags.base, loaded[0].step]} if flags.base else {}),
    **({'edit': flags.edit, **numbers} if edit else {}),
    **described,
  )
  return Job(
    run,
    parallel.compile_sample_step(draw, mesh, mode=flags.mode),
    params,
    lambda index: traced_all,
    num,
    names,
    _name(flags, run, metadata),
    metadata,
    modalities.make(run.spec),
  )


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
    **_metadata(run, run.params, seed=seed, ema=ema),
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


def _metadata(run: Run, params: Any, **more: Any) -> dict[str, Any]:
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
  config = configure(config, flags)
  model = run.model
  if config.diffusion != run.config.diffusion:
    model = models.make(config, run.spec)
  return run._replace(config=config, model=model)


def _conditions(
  flags: Flags, loaded: list[Run]
) -> tuple[list[dict[str, Any]], list[str]]:
  """Returns the condition rows of each run, and the names of the rows."""
  request = conditions_lib.Request(
    flags.labels if flags.label is None else str(flags.label),
    flags.prompt,
    flags.prompts,
    flags.negative_prompt,
  )
  conditions_lib.check_request(loaded, request)
  found = [conditions_lib.requested(run, request) for run in loaded]
  names = next((each.names for each in found if each.names), [])
  for each in found:
    if each.names and len(each.names) != len(names):
      raise ValueError(
        f'the stages of a cascade are asked for {len(names)} and '
        f'{len(each.names)} conditions: give as many --labels as prompts'
      )
  nothing = np.arange(0)
  rows = [each.options(nothing) if each.names else {} for each in found]
  return rows, names


def _check_flags(flags: Flags, loaded: list[Run]) -> None:
  """Raises ValueError for flags that have no effect on this model."""
  run = loaded[-1]
  text = run.spec.modality == 'text'
  unused = [] if text else ['block', 'show']
  given = [n for n in unused if getattr(flags, n) not in (None, False)]
  if run.model.schedule is None:
    wrong = ['eta', 'threshold', 'edit', 'base']
    given += [n for n in wrong if getattr(flags, n) is not None]
  if given:
    raise ValueError(f'--{given[0]} is not for a model of this kind of data')
  enlarging = bool(run.config.condition.low_res)
  if flags.base and not enlarging:
    raise ValueError(f'{flags.workdir} enlarges nothing: --base has no effect')
  if flags.base and loaded[0].spec.shape != run.small_shape:
    raise ValueError(
      f'{flags.workdir} enlarges {run.small_shape}, and {flags.base} draws '
      f'{loaded[0].spec.shape}'
    )
  if flags.edit and enlarging:
    raise ValueError('--edit needs a model that draws without a small image')
  if flags.edit and run.spec.modality != 'image':
    raise ValueError('--edit is for a model of images')


def _images(flags: Flags, run: Run) -> tuple[dict[str, Any], dict[str, Any]]:
  """Reads the images of the flags, and the hashes of their files."""
  enlarging = bool(run.config.condition.low_res)
  paths = {name: getattr(flags, name) for name in ('image', 'mask', 'other')}
  wanted = edits.IMAGES.get(flags.edit, ())
  if enlarging and not flags.base:
    wanted = ('image',)
  shape = run.small_shape if enlarging else run.spec.shape
  return inputs.read(paths, wanted, shape)


def _edit(flags: Flags, num: int) -> tuple[edits.Edit | None, dict[str, Any]]:
  """Builds the edit, and the numbers on which it depends."""
  or_else = lambda value, default: default if value is None else value
  match flags.edit:
    case 'img2img':
      numbers = {'strength': or_else(flags.strength, 0.6)}
      return edits.img2img(**numbers), numbers
    case 'inpaint':
      numbers = {
        'jump': or_else(flags.jump, 5),
        'repeats': or_else(flags.repeats, 5),
      }
      return edits.inpaint(**numbers), numbers
    case 'interpolate':
      return edits.interpolate(num), {'num': num}
  return None, {}


def _name(flags: Flags, run: Run, metadata: dict[str, Any]) -> str:
  """Returns the default name of the output: it tells jobs apart."""
  c = run.config.sampling
  name = flags.edit or c.sampler.partition('(')[0]
  name += f'{c.steps}_seed{flags.seeds and "s" or flags.seed or 0}'
  name += f'_step{run.step}'
  for field in ('eta', 'strength', 'temperature', 'block'):
    value = getattr(flags, field)
    if value is not None:
      name += f'_{field}{value:g}'
  if run.config.condition.label or run.config.condition.text:
    name += f'_scale{c.scale:g}'
  # What the name does not say yet, where it is not as the run was configured.
  unsaid = ('times', 'threshold', 'seeds', 'base', 'image', 'mask', 'other')
  other = [getattr(flags, field) for field in (*unsaid, 'jump', 'repeats')]
  plain = all(value is None for value in other) and flags.ema
  if not plain or '(' in c.sampler or ':' in (flags.sampler or ''):
    text = json.dumps({k: v for k, v in metadata.items() if k != 'versions'})
    return f'{name}_{hashlib.sha256(text.encode()).hexdigest()[:6]}'
  if metadata['conditions_sha256']:
    name += f'_{metadata["conditions_sha256"][:6]}'
  return name
