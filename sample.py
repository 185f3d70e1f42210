"""Draws samples from a trained model: `python sample.py runs/digits`.

Image i depends on the seed and on i alone, whatever the batch size or the
number of devices. A job that was interrupted goes on where it was.

A model of classes or texts draws what it is asked for, a row for each:

  --labels 0,1,2 --scale 2               all classes without
  --prompt "a small red circle" --scale 3 --negative-prompt "a square"
  --prompts FILE --seeds 7,8,9           a line and a seed each

A model that enlarges needs the small image, or the model that draws it:

  --image SMALL.png      --base WORKDIR of the smaller model

With --edit it starts from images of yours:

  --edit img2img --image A.png --strength 0.6   variations; 1 keeps nothing
  --edit inpaint --image A.png --mask M.png     new content where M is white
  --edit interpolate --image A.png --other B.png     from A to B in --num steps
"""

import dataclasses
import sys
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Literal

import jax
import tyro
from tqdm import tqdm

from jaxdiff import (
  build,
  edits,
  inputs,
  outputs,
  parallel,
  pictures,
  requests,
)
from jaxdiff import config as configs
from jaxdiff.checkpoints import DamagedCheckpointError


@dataclass(frozen=True)
class Options:
  """Draw images from the run in WORKDIR. None: as the run was configured."""

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
  out: str | None = None  # .png: a grid; .npz: arr_0; else a folder of PNGs
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


def make_edit(
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


def load(options: Options, workdir: str, mesh: Any) -> build.Run:
  """A run, its sampling as configured unless told otherwise."""
  run = build.load_run(
    workdir, mesh, checkpoint=options.checkpoint, ema=options.ema
  )
  chosen = {
    name: getattr(options, name)
    for name in ('sampler', 'steps', 'eta', 'times', 'threshold', 'scale')
    if getattr(options, name) is not None
  }
  sampling = dataclasses.replace(run.config.sampling, **chosen)
  return run._replace(config=dataclasses.replace(run.config, sampling=sampling))


def sample(options: Options) -> Path:
  if options.out:
    outputs.check_output(options.out)
  if options.label is not None and options.labels is not None:
    raise ValueError('give --label or --labels, not both')
  if options.edit == 'interpolate':
    if options.sampler not in (None, 'ddim') or options.eta:
      raise ValueError('--edit interpolate has --sampler ddim, --eta 0')
    # Whatever the run is configured for.
    options = dataclasses.replace(options, sampler='ddim', eta=0.0)
  mesh = parallel.make_mesh(devices=jax.local_devices())
  asked = requests.Asked(
    options.labels if options.label is None else str(options.label),
    options.prompt,
    options.prompts,
    options.negative_prompt,
  )
  # The run, after that of the small images where there is one.
  workdirs = [*filter(None, [options.base]), options.workdir]
  runs = [load(options, workdir, mesh) for workdir in workdirs]
  told = requests.make_options(
    runs, workdirs, asked, seed=options.seed, seeds=options.seeds
  )
  run, traced, names = runs[-1], told.traced[-1], told.names
  enlarging = bool(run.config.condition.low_res)
  if options.base and not enlarging:
    raise ValueError(f'{options.workdir} enlarges nothing: --base has no use')
  if options.base and runs[0].spec.shape != run.small_shape:
    raise ValueError(
      f'{options.workdir} enlarges {run.small_shape}, and {options.base} draws '
      f'{runs[0].spec.shape}'
    )
  rows = max(1, len(names))
  num = -(-64 // rows) * rows if options.num is None else options.num
  if num < 1 or options.batch_size < 1:
    raise ValueError('--num and --batch-size must be at least 1')
  if options.scale is not None and not names:
    raise ValueError('--scale is of guidance, and this model has no condition')

  edit, numbers = make_edit(options, num)
  if options.edit == 'interpolate' and names:
    raise ValueError('--edit interpolate needs a model without conditions')
  if edit and enlarging:
    raise ValueError('--edit needs a model that draws without a small image')
  wanted = edits.IMAGES.get(options.edit, ())
  images, described = inputs.read(
    {name: getattr(options, name) for name in ('image', 'mask', 'other')},
    ('image',) if enlarging and not options.base else wanted,
    run.small_shape if enlarging else run.spec.shape,
  )
  if enlarging and not options.base:
    small = {'low_res': images.pop('image')[None]}
    traced['cond'] = {**traced.get('cond', {}), **small}
  traced |= images

  draw = build.make_sampler(run.config, run.spec, edit=edit)
  params = run.params
  if options.base:
    base = build.make_sampler(runs[0].config, runs[0].spec)
    draw = build.make_cascade(base, draw)
    params, traced = (runs[0].params, params), (told.traced[0], traced)
  draw = parallel.compile_sample_step(draw, mesh, mode=options.mode)

  c = run.config.sampling
  name = options.edit or c.sampler.partition('(')[0]
  name = f'{name}{c.steps}_seed{options.seed}_step{run.step}'
  if told.sha256:
    name += f'_scale{c.scale:g}_{told.sha256[:6]}'
  out = options.out or str(Path(options.workdir) / f'{name}.png')
  metadata = {
    'workdir': options.workdir,
    'checkpoint_step': run.step,
    'ema': options.ema,
    'seed': options.seeds or options.seed,
    'conditions': names,
    'conditions_sha256': told.sha256,
    **{k: v for k, v in configs.to_dict(c).items() if k != 'num'},
    **({'negative_prompt': options.negative_prompt} if names else {}),
    **({'base': [options.base, runs[0].step]} if options.base else {}),
    **({'edit': options.edit, **numbers} if edit else {}),
    **described,
    'versions': {
      name: version(name) for name in ('jaxdiff', 'jax', 'flax', 'numpy')
    },
  }
  # Every device takes the same number of images.
  batch_size = -(-min(options.batch_size, num) // mesh.size) * mesh.size
  with tqdm(total=num, desc='sampling', unit='image') as bar:
    path = outputs.draw_to(
      out,
      num,
      lambda index: pictures.to_uint8(draw(params, traced, index)),
      metadata,
      names=names,
      batch_size=batch_size,
      progress=bar.update,
    )
  print(f'{num} images: {path}')
  return path


def main(argv: list[str] | None = None) -> None:
  options = tyro.cli(Options, args=argv)
  try:
    parallel.start()
    sample(options)
  except (ValueError, FileNotFoundError, DamagedCheckpointError) as error:
    sys.exit(f'sample.py: {error}')


if __name__ == '__main__':
  main()
