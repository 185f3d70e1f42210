"""Draws samples from a trained model: `python sample.py runs/digits`.

Image i depends on the seed and on i alone, whatever the batch size or the
number of devices. A job that was interrupted goes on where it was.
"""

import dataclasses
import sys
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Literal

import jax
import tyro
from tqdm import tqdm

from jaxdiff import build, outputs, parallel, pictures
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
  draw = parallel.compile_sample_step(
    build.make_sampler(config, run.image_shape), mesh, mode=options.mode
  )
  c = config.sampling
  out = options.out or str(
    workdir / f'{c.sampler}{c.steps}_seed{options.seed}_step{run.step}.png'
  )
  metadata = {
    'workdir': str(workdir),
    'checkpoint_step': run.step,
    'ema': options.ema,
    'seed': options.seed,
    **{k: v for k, v in dataclasses.asdict(c).items() if k != 'num'},
    'versions': {
      name: version(name) for name in ('jaxdiff', 'jax', 'flax', 'numpy')
    },
  }
  # Every device takes the same number of images.
  batch_size = -(-min(options.batch_size, options.num) // mesh.size) * mesh.size
  traced = {'seed': options.seed, 'eta': c.eta}
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
