"""The job of the flags of sample.py: conditions, edits, cascades, infills."""

import hashlib
import json
from typing import Any

import numpy as np
from jax.sharding import Mesh

from jaxdiff import modalities, parallel
from jaxdiff.generation import conditions as conditions_lib
from jaxdiff.generation import edits, inputs, sampler
from jaxdiff.generation.flags import Flags
from jaxdiff.generation.infills import read_infills
from jaxdiff.generation.job import Job, describe, load_run
from jaxdiff.runs import Run


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
  rows, names = condition_rows(flags, loaded)
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
  options |= images

  draw = sampler.make_sampler(run.model, c, edit=edit)
  params, traced_all = run.params, options
  if flags.base:
    base = sampler.make_sampler(loaded[0].model, loaded[0].config.sampling)
    draw = sampler.make_cascade(base, draw)
    params, traced_all = (loaded[0].params, params), (traced[0], options)

  metadata = describe(
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


def condition_rows(
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
  # Any other changed setting is in the name as a hash.
  unsaid = ('times', 'threshold', 'seeds', 'base', 'image', 'mask', 'other')
  other = [getattr(flags, field) for field in (*unsaid, 'jump', 'repeats')]
  plain = all(value is None for value in other) and flags.ema
  if not plain or '(' in c.sampler or ':' in (flags.sampler or ''):
    text = json.dumps({k: v for k, v in metadata.items() if k != 'versions'})
    return f'{name}_{hashlib.sha256(text.encode()).hexdigest()[:6]}'
  if metadata['conditions_sha256']:
    name += f'_{metadata["conditions_sha256"][:6]}'
  return name
