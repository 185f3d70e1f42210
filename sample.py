"""Draws samples from a trained model: `python sample.py runs/digits`.

Image i depends on the seed and on i alone, whatever the batch size or the
number of devices. A job that was interrupted goes on where it was.

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

from jaxdiff import build, edits, inputs, outputs, parallel, pictures
from jaxdiff.checkpoints import DamagedCheckpointError


@dataclass(frozen=True)
class Options:
  """Draw images from the run in WORKDIR. None: as the run was configured."""

  workdir: Annotated[str, tyro.conf.Positional]
  num: int = 64
  seed: int = 0
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
  image: str | None = None  # what is edited: of the model's proportions
  mask: str | None = None  # inpaint: white is filled
  other: str | None = None  # interpolate: where it ends
  strength: float = 0.6  # img2img: the time t in [0, 1] it is noised to
  repeats: int = 5  # inpaint: of each stretch, RePaint; 1: replacement alone
  jump: int = 5  # inpaint: steps in a stretch


def make_edit(options: Options) -> tuple[edits.Edit | None, dict[str, Any]]:
  """The edit, and the numbers it depends on."""
  match options.edit:
    case 'img2img':
      numbers = {'strength': options.strength}
      return edits.img2img(**numbers), numbers
    case 'inpaint':
      numbers = {'jump': options.jump, 'repeats': options.repeats}
      return edits.inpaint(**numbers), numbers
    case 'interpolate':
      if options.sampler not in (None, 'ddim') or options.eta:
        raise ValueError('--edit interpolate has --sampler ddim, --eta 0')
      numbers = {'num': options.num, 'sampler': 'ddim', 'eta': 0.0}
      return edits.interpolate(options.num), numbers
  return None, {}


def sample(options: Options) -> Path:
  workdir = Path(options.workdir)
  if options.num < 1 or options.batch_size < 1:
    raise ValueError('--num and --batch-size must be at least 1')
  if options.out:
    outputs.check_output(options.out)
  mesh = parallel.make_mesh(devices=jax.local_devices())
  run = build.load_run(
    workdir, mesh, checkpoint=options.checkpoint, ema=options.ema
  )
  chosen = {
    name: getattr(options, name)
    for name in ('sampler', 'steps', 'eta', 'times', 'threshold')
    if getattr(options, name) is not None
  }
  config = dataclasses.replace(
    run.config, sampling=dataclasses.replace(run.config.sampling, **chosen)
  )
  edit, numbers = make_edit(options)
  images, described = inputs.read(
    {name: getattr(options, name) for name in ('image', 'mask', 'other')},
    edits.IMAGES.get(options.edit, ()),
    run.image_shape,
  )
  draw = parallel.compile_sample_step(
    build.make_sampler(config, run.image_shape, edit=edit),
    mesh,
    mode=options.mode,
  )
  c = config.sampling
  name = options.edit or c.sampler
  out = options.out or str(
    workdir / f'{name}{c.steps}_seed{options.seed}_step{run.step}.png'
  )
  metadata = {
    'workdir': str(workdir),
    'checkpoint_step': run.step,
    'ema': options.ema,
    'seed': options.seed,
    **{k: v for k, v in dataclasses.asdict(c).items() if k != 'num'},
    **({'edit': options.edit, **numbers, **described} if edit else {}),
    'versions': {
      name: version(name) for name in ('jaxdiff', 'jax', 'flax', 'numpy')
    },
  }
  # Every device takes the same number of images.
  batch_size = -(-min(options.batch_size, options.num) // mesh.size) * mesh.size
  traced = {'seed': options.seed, 'eta': c.eta, **images}
  with tqdm(total=options.num, desc='sampling', unit='image') as bar:
    return outputs.draw_to(
      out,
      options.num,
      lambda index: pictures.to_uint8(draw(run.params, traced, index)),
      metadata,
      batch_size=batch_size,
      progress=bar.update,
    )


def main(argv: list[str] | None = None) -> None:
  options = tyro.cli(Options, args=argv)
  try:
    parallel.start()
    path = sample(options)
  except (ValueError, FileNotFoundError, DamagedCheckpointError) as error:
    sys.exit(f'sample.py: {error}')
  print(f'{options.num} images: {path}')


if __name__ == '__main__':
  main()
