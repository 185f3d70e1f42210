"""The job of the flags of sample.py: conditions, edits, cascades, infills."""

import dataclasses
import sys
from typing import Any

import numpy as np
from jax.sharding import Mesh

from jaxdiff import modalities, parallel, runs
from jaxdiff.data.dataset import Cut
from jaxdiff.generation import conditions as conditions_lib
from jaxdiff.generation import edits, inputs, sampler, writer
from jaxdiff.generation.flags import (
  EDITS,
  Flags,
  changed,
  configure,
  of_network,
  suffix,
)
from jaxdiff.generation.infills import read_infills
from jaxdiff.generation.job import (
  Job,
  at_once,
  describe,
  described_cut,
  load_run,
  name_of,
  settings,
  sketch_run,
)
from jaxdiff.runs import Run

# Settings of a sampler, those on which others depend first.
_SETTINGS = ('sampler', 'guidance', 'steps', 'eta', 'times', 'threshold')
_SETTINGS += ('scale', 'momentum', 'denoise_last')


def make_job(flags: Flags, mesh: Mesh) -> Job:
  """Builds the job of the flags.

  Raises:
    ValueError: Flags that contradict one another or the model.
    FileNotFoundError: A run, a checkpoint or a file is missing.
    DamagedCheckpointError: No checkpoint can be trusted.
  """
  # The run is the last of a cascade. Errors come before weights are read.
  found = stages(flags)[::-1]
  sketches = [sketch_run(path, own) for path, own in found]
  run = sketches[-1]
  _check_flags(flags, sketches)
  modality = modalities.make(run.spec)
  if flags.out:
    writer.check_output(flags.out, modality)
  names = condition_names(flags, sketches)
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
  num_rows = max(1, len(names))
  num = flags.num or -(-at_once(run.spec) // num_rows) * num_rows
  _check_num(flags, num, len(names))
  seeds = conditions_lib.read_seeds(flags.seeds, flags.seed or 0, num_rows)
  paths = {name: getattr(flags, name) for name in ('image', 'mask', 'other')}
  enlarged = run.config.condition.low_res is not None
  images = inputs.read(paths, run.small_shape if enlarged else run.spec.shape)
  edit, numbers = _edit(flags, num)

  loaded = [load_run(path, own, mesh) for path, own in found]
  run = loaded[-1]
  rows, cut = condition_rows(flags, loaded)
  options = [
    sampler.traced_options(r.config, **each, seed=seeds, frozen=r.model.frozen)
    for r, each in zip(loaded, rows, strict=True)
  ]
  if enlarged and not flags.base:
    small = {'low_res': images.arrays['image'][None]}
    options[-1]['cond'] = options[-1].get('cond', {}) | small
  else:
    options[-1] |= images.arrays
  options[-1] |= {'given': given.arrays} if given else {}
  if getattr(run.config.network, 'beside', 0):
    beside = edits.beside(run.model, **images.arrays)
    options[-1]['cond'] = options[-1].get('cond', {}) | {'beside': beside[None]}
    edit, numbers = edits.fill(), {}
  if edit and run.spec.latents:
    edit = edits.in_latents(edit, run.model)

  draw = sampler.make_sampler(run.model, run.config.sampling, edit=edit)
  if not flags.base:
    params, traced = run.params, options[0]
  else:
    base = sampler.make_sampler(loaded[0].model, loaded[0].config.sampling)
    draw = sampler.make_cascade(base, draw)
    params, traced = tuple(r.params for r in loaded), tuple(options)

  metadata = describe(
    run,
    params,
    ema=flags.average,
    seed=flags.seeds or flags.seed or 0,
    conditions=names[:num],
    conditions_sha256=None,
    **described_cut(cut),
    paths={'base': flags.base, **images.paths, **flags.guides},
    **images.hashes,
    **({'edit': flags.edit, **numbers} if edit else {}),
    **of_network(flags),
  )
  if flags.base:
    metadata['base'] = settings(loaded[0])
  if names:
    metadata['negative_prompt'] = flags.negative_prompt
    values = rows, given and given.arrays, seeds
    metadata['conditions_sha256'] = runs.digest(values)
  return Job(
    run,
    parallel.compile_sample_step(draw, mesh, mode=flags.mode),
    params,
    lambda index: traced,
    num,
    names,
    _name(flags, run, metadata),
    metadata,
    modality,
  )


def draw(workdir: str, **flags: Any) -> list[Any]:
  """Draws samples from a run: what sample.py would write, in memory.

  Args:
    workdir: Of the run.
    flags: Those of sample.py, such as num=8, seed=0, labels='0,1', steps=20.

  Returns:
    Images uint8 [H, W, C], points [D], strings, or dicts of a graph's arrays.

  Raises:
    TypeError: There is no such flag.
    ValueError: And other errors, as `make_job`.
  """
  mesh = parallel.local_mesh()
  checked = Flags(workdir=workdir, **flags)
  job = make_job(checked, mesh)
  most = checked.batch_size or at_once(job.run.spec)
  size = parallel.batch_size(job.num, most, mesh)
  samples: list[Any] = []
  for start in range(0, job.num, size):
    samples += job.samples(start + np.arange(size))  # the last are too many
  return samples[: job.num]


def stages(flags: Flags) -> list[tuple[str, Flags]]:
  """Returns the workdir and the flags of each stage, those of --base last.

  A setting of the sampler that fits one stage alone is given to that one, and
  this is printed.

  Raises:
    ValueError: A setting that fits no stage; the message is that of WORKDIR.
  """
  found = {flags.workdir: flags}
  if flags.base:
    # A step, a width and a guide are those of WORKDIR alone.
    own = {'ema_std': None, 'guide': None, 'classifier': None}
    base = dataclasses.replace(flags, checkpoint=flags.base_checkpoint, **own)
    found[flags.base] = base
  settings = [n for n in _SETTINGS if getattr(flags, n) is not None]
  if len(found) == 1 or not settings:
    return list(found.items())
  configs = {path: runs.read_config(path)[0] for path in found}
  for path, given in found.items():
    found[path] = dataclasses.replace(given, **dict.fromkeys(settings))
  for name in settings:
    unfit = {}
    for path, given in found.items():
      more = dataclasses.replace(given, **{name: getattr(flags, name)})
      try:
        configure(configs[path], more)
        found[path] = more
      except ValueError as error:
        unfit[path] = error
    if len(unfit) == len(found):
      raise unfit[flags.workdir]
    for path, error in unfit.items():
      print(f'--{name} is not for {path}: {error}', file=sys.stderr)
  return list(found.items())


def condition_names(flags: Flags, runs: list[Run]) -> list[str]:
  """Returns the names of the requested conditions; nothing is encoded."""
  conditions_lib.check_taken(runs, flags)
  found = [conditions_lib.requested_names(run, flags) for run in runs]
  names = next(filter(None, found), [])
  for each in found:
    if each and len(each) != len(names):
      raise ValueError(
        f'the stages of a cascade are asked for {len(names)} and '
        f'{len(each)} conditions: give as many --labels as prompts'
      )
  return names


def condition_rows(
  flags: Flags, loaded: list[Run]
) -> tuple[list[dict[str, Any]], Cut | None]:
  """Returns the condition rows of each run, and cut texts."""
  found = [conditions_lib.requested(run, flags) for run in loaded]
  nothing = np.arange(0)
  rows = [each.options(nothing) if each.names else {} for each in found]
  cut = max(filter(None, (each.cut for each in found)), default=None)
  return rows, cut


def _check_num(flags: Flags, num: int, num_rows: int) -> None:
  """Raises ValueError where what was asked for would not be drawn."""
  if num >= num_rows:
    return
  for name in ('prompts', 'infills', 'labels', 'seeds'):
    if getattr(flags, name) is not None:
      raise ValueError(
        f'--num {num} would leave out {num_rows - num} of the {num_rows} '
        f'--{name}: give --num {num_rows} or more, or fewer --{name}'
      )
  print(f'only the first {num} of {num_rows} classes', file=sys.stderr)


def _check_flags(flags: Flags, loaded: list[Run]) -> None:
  """Raises ValueError for flags that have no effect on this model."""
  run = loaded[-1]
  text = run.spec.modality == 'text'
  unused = [] if text else ['block', 'show']
  given = [n for n in unused if getattr(flags, n) not in (None, False)]
  if run.model.schedule is None:
    wrong = ['eta', 'threshold', 'denoise_last', 'edit', 'base']
    given += [n for n in wrong if getattr(flags, n) is not None]
  if given:
    raise ValueError(f'--{given[0]} is not for a model of this kind of data')
  enlarging = bool(run.config.condition.low_res)
  if enlarging and (flags.base is None) == (flags.image is None):
    raise ValueError(
      f'{flags.workdir} enlarges images: give --image SMALL.png or --base '
      'WORKDIR of the model that draws them'
    )
  if flags.base and not enlarging:
    raise ValueError(f'{flags.workdir} enlarges nothing: --base has no effect')
  if flags.base and loaded[0].spec.shape != run.small_shape:
    raise ValueError(
      f'{flags.workdir} enlarges {run.small_shape}, and {flags.base} draws '
      f'{loaded[0].spec.shape}'
    )
  if flags.image and not (flags.edit or enlarging):
    raise ValueError('--image needs --edit')
  if flags.edit and enlarging:
    raise ValueError('--edit needs a model that draws without a small image')
  if flags.edit and run.spec.modality != 'image':
    raise ValueError('--edit is for a model of images')
  if flags.edit == 'interpolate' and {'label', 'text'} & {*run.model.takes}:
    raise ValueError('--edit interpolate needs a model without conditions')
  if getattr(run.config.network, 'beside', 0):
    if flags.edit != 'inpaint':
      raise ValueError(
        f'{flags.workdir} is trained to fill in: give --edit inpaint, --image '
        'and --mask'
      )
    if (flags.jump, flags.repeats) != (None, None):
      raise ValueError('--jump and --repeats are for models of whole images')


def _edit(flags: Flags, num: int) -> tuple[edits.Edit | None, dict[str, Any]]:
  """Builds the edit, and the numbers on which it depends."""
  if flags.edit is None:
    return None, {}
  numbers = dict(EDITS[flags.edit].numbers)
  numbers |= {k: x for k, x in changed(flags).items() if k in numbers}
  if flags.edit == 'interpolate':
    numbers['num'] = num
  return getattr(edits, flags.edit)(**numbers), numbers


def _name(flags: Flags, run: Run, metadata: dict[str, Any]) -> str:
  """Returns the default name of the output, without an ending."""
  seed = 's' if flags.seeds else flags.seed or 0
  name = name_of(run, seed, flags.edit)
  # These are in the name already, or change no sample.
  named = ['workdir', 'num', 'out', 'show', 'batch_size', 'mode', 'edit']
  named += ['steps', 'seed', 'checkpoint', 'animate']
  if flags.sampler and flags.sampler.isidentifier() and not flags.edit:
    named.append('sampler')
  described = {k: x for k, x in metadata.items() if k not in writer.UNCOMPARED}
  return name + suffix(flags, *named, content=described)
