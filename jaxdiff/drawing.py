"""What sample.py draws: flags and trained runs become one job."""

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from importlib.metadata import version
from typing import Annotated, Any, Literal, NamedTuple

import tyro
from jax.sharding import Mesh

from jaxdiff import build, edits, inputs, parallel, requests
from jaxdiff import config as configs
from jaxdiff.infills import read_infills


@dataclass(frozen=True)
class Options:
  """Draw samples from the run in WORKDIR. None: as the run was configured."""

  workdir: Annotated[str, tyro.conf.Positional]
  num: int | None = None  # None: 64, and as many of each label or prompt
  seed: int = 0
  seeds: str | None = None  # 1,2,3: instead, one for each label or prompt
  label: int | None = None
  labels: str | None = None  # 0,1,2
  prompt: str | None = None
  prompts: str | None = None  # a file, one a line
  negative_prompt: str | None = None
  scale: float | None = None  # of guidance; 1: none
  base: str | None = None  # a workdir: its images are what is enlarged
  sampler: str | None = None
  steps: int | None = None
  eta: float | None = None  # ddim: 0 deterministic, 1 ancestral
  times: str | None = None
  threshold: str | None = None
  out: str | None = None  # a folder, or all in one: .png .npz .txt .json
  batch_size: int = 64
  checkpoint: int | None = None  # a step; None: the newest
  ema: bool = True  # the averaged weights
  mode: Literal['jit', 'pmap'] = 'jit'
  edit: Literal['img2img', 'inpaint', 'interpolate'] | None = None
  image: str | None = None  # what is edited, or enlarged
  mask: str | None = None  # inpaint: white is filled
  other: str | None = None  # interpolate: where it ends
  strength: float = 0.6  # img2img: the time t in [0, 1] it is noised to
  repeats: int = 5  # inpaint: of each stretch, RePaint; 1: replacement alone
  jump: int = 5  # inpaint: steps in a stretch
  infill: str | None = None  # text, to be written where it is blank
  infills: str | None = None  # a file of them, one a line
  blank: str = '_'  # stands for what is to be written
  temperature: float | None = None  # of text and graphs
  block: int | None = None  # of text: left to right, so much at a time
  show: bool = False  # text as it comes about


class Job(NamedTuple):
  """Everything there is to a job but its output."""

  run: build.Run
  draw: Any  # (params, traced, index[B]) -> samples, compiled
  params: Any
  traced: Any
  num: int
  names: list[str]  # M conditions, sample i having that of i modulo M
  name: str  # tells jobs apart
  metadata: dict[str, Any]


def make_job(options: Options, mesh: Mesh) -> Job:
  """The job that the flags ask for.

  Raises:
    ValueError: flags that contradict one another or the model.
    FileNotFoundError: a run, a checkpoint or a file is missing.
    DamagedCheckpointError: no checkpoint can be trusted.
  """
  options = _checked(options)
  # The run, after that of the small images where there is one.
  workdirs = [*filter(None, [options.base]), options.workdir]
  runs = [_load(options, workdir, mesh) for workdir in workdirs]
  asked = requests.Asked(
    options.labels if options.label is None else str(options.label),
    options.prompt,
    options.prompts,
    options.negative_prompt,
  )
  run = runs[-1]
  _check_kind(options, runs)
  told = requests.make_options(
    runs,
    workdirs,
    asked,
    seed=options.seed,
    seeds=options.seeds,
    infills=read_infills(
      run.spec, options.infill, options.infills, options.blank
    ),
  )
  traced, names = told.traced[-1], told.names
  conditional = any(
    r.config.condition.label or r.config.condition.text for r in runs
  )
  if options.scale is not None and not conditional:
    raise ValueError('--scale is of guidance, and this model has no condition')
  rows = max(1, len(names))
  num = -(-64 // rows) * rows if options.num is None else options.num
  if num < 1 or options.batch_size < 1:
    raise ValueError('--num and --batch-size must be at least 1')

  edit, numbers = _make_edit(options, num)
  if options.edit == 'interpolate' and names:
    raise ValueError('--edit interpolate needs a model without conditions')
  images, described = _images(options, run)
  if run.config.condition.low_res and not options.base:
    small = {'low_res': images.pop('image')[None]}
    traced['cond'] = {**traced.get('cond', {}), **small}
  traced |= images

  draw = build.make_sampler(run.config, run.spec, edit=edit)
  params = run.params
  if options.base:
    base = build.make_sampler(runs[0].config, runs[0].spec)
    draw = build.make_cascade(base, draw)
    params, traced = (runs[0].params, params), (told.traced[0], traced)

  c = run.config.sampling
  name = options.edit or c.sampler.partition('(')[0]
  name = f'{name}{c.steps}_seed{options.seed}_step{run.step}'
  if conditional:
    name += f'_scale{c.scale:g}'
  if told.sha256:
    name += f'_{told.sha256[:6]}'
  metadata = {
    'workdir': options.workdir,
    'checkpoint_step': run.step,
    'ema': options.ema,
    'seed': options.seeds or options.seed,
    'conditions': names,
    'conditions_sha256': told.sha256,
    **{k: v for k, v in configs.to_dict(c).items() if k != 'num'},
    **({'negative_prompt': options.negative_prompt} if told.names else {}),
    **({'base': [options.base, runs[0].step]} if options.base else {}),
    **({'edit': options.edit, **numbers} if edit else {}),
    **described,
    'versions': {
      name: version(name) for name in ('jaxdiff', 'jax', 'flax', 'numpy')
    },
  }
  # What the name does not say, where it is not as the run was configured.
  unsaid = ('times', 'threshold', 'temperature', 'block', 'ema')
  other = [getattr(options, n) for n in unsaid]
  if other != [None] * 4 + [True] or '(' in c.sampler:
    text = json.dumps({k: v for k, v in metadata.items() if k != 'versions'})
    name += f'_{hashlib.sha256(text.encode()).hexdigest()[:6]}'
  draw = parallel.compile_sample_step(draw, mesh, mode=options.mode)
  return Job(run, draw, params, traced, num, names, name, metadata)


def _checked(options: Options) -> Options:
  """The options, but for what contradicts itself."""
  if options.label is not None and options.labels is not None:
    raise ValueError('give --label or --labels, not both')
  if options.edit != 'interpolate':
    return options
  if options.sampler not in (None, 'ddim') or options.eta:
    raise ValueError('--edit interpolate has --sampler ddim, --eta 0')
  # Whatever the run is configured for.
  return dataclasses.replace(options, sampler='ddim', eta=0.0)


def _load(options: Options, workdir: str, mesh: Mesh) -> build.Run:
  """A run, its sampling as configured unless told otherwise."""
  run = build.load_run(
    workdir, mesh, checkpoint=options.checkpoint, ema=options.ema
  )
  names = (
    *('sampler', 'steps', 'eta', 'times', 'threshold', 'scale'),
    *('temperature', 'block'),
  )
  chosen = {
    name: getattr(options, name)
    for name in names
    if getattr(options, name) is not None
  }
  sampling = dataclasses.replace(run.config.sampling, **chosen)
  return run._replace(config=dataclasses.replace(run.config, sampling=sampling))


def _check_kind(options: Options, runs: list[build.Run]) -> None:
  """Raises ValueError for flags that this kind of model has no use for."""
  run = runs[-1]
  if build.of_categories(run.config):
    useless = ['eta', 'threshold', 'edit', 'base']
    if run.spec.kind != 'text':
      useless += ['block', 'show']
  else:
    useless = ['temperature', 'block', 'show']
  given = [n for n in useless if getattr(options, n) not in (None, False)]
  if given:
    raise ValueError(f'--{given[0]} is not for a model of this kind of data')
  enlarging = bool(run.config.condition.low_res)
  if options.base and not enlarging:
    raise ValueError(f'{options.workdir} enlarges nothing: --base has no use')
  if options.base and runs[0].spec.shape != run.small_shape:
    raise ValueError(
      f'{options.workdir} enlarges {run.small_shape}, and {options.base} draws '
      f'{runs[0].spec.shape}'
    )
  if options.edit and enlarging:
    raise ValueError('--edit needs a model that draws without a small image')


def _images(
  options: Options, run: build.Run
) -> tuple[dict[str, Any], dict[str, Any]]:
  """The images that were given, and what is known of their files."""
  enlarging = bool(run.config.condition.low_res)
  return inputs.read(
    {name: getattr(options, name) for name in ('image', 'mask', 'other')},
    ('image',)
    if enlarging and not options.base
    else edits.IMAGES.get(options.edit, ()),
    run.small_shape if enlarging else run.spec.shape,
  )


def _make_edit(
  options: Options, num: int
) -> tuple[edits.Edit | None, dict[str, Any]]:
  """The edit, and the numbers it depends on."""
  match options.edit:
    case 'img2img':
      numbers = {'strength': options.strength}
      return edits.img2img(**numbers), numbers
    case 'inpaint':
      numbers = {'jump': options.jump, 'repeats': options.repeats}
      return edits.inpaint(**numbers), numbers
    case 'interpolate':
      return edits.interpolate(num), {'num': num}
  return None, {}
