"""Draws samples from a trained model: `python sample.py runs/digits`.

Sample i depends on the seed and on i alone, whatever the batch size or the
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

A model of text writes; what is given stays, and _ is what it is to write:

  --infill "037+481=___"                 --show prints it step by step
"""

import sys
from pathlib import Path

import jax
import numpy as np
import tyro
from tqdm import tqdm

from jaxdiff import build, drawing, outputs, parallel
from jaxdiff.drawing import Job, Options
from jaxdiff.runs import DamagedCheckpointError


def sample(options: Options) -> Path:
  mesh = parallel.make_mesh(devices=jax.local_devices())
  job = drawing.make_job(options, mesh)
  medium = build.make_medium(job.run.spec)
  default = Path(options.workdir) / f'{job.name}{medium.endings[0]}'
  out = options.out or str(default)
  outputs.check_output(out, medium)
  if options.show:
    show(job)
  batch_size = parallel.batch_size(job.num, options.batch_size, mesh)
  with tqdm(total=job.num, desc='sampling', unit=medium.unit) as bar:
    path = outputs.draw_to(
      out,
      job.num,
      lambda index: medium.split(job.draw(job.params, job.traced, index)),
      job.metadata,
      medium,
      names=job.names,
      batch_size=batch_size,
      progress=bar.update,
    )
  print(f'{job.num} {medium.unit}s: {path}')
  return path


def show(job: Job) -> None:
  """The first texts of the job as they come about."""
  from jaxdiff.modalities import text as texts

  config, spec = job.run.config, job.run.spec
  draw = jax.jit(build.make_sampler(config, spec, trajectory=True))
  path = draw(job.params, job.traced, np.arange(min(4, job.num)))
  for way in texts.ways(path, spec.symbols, columns=33):
    texts.show(way)


def main(argv: list[str] | None = None) -> None:
  options = tyro.cli(Options, args=argv)
  try:
    parallel.start()
    sample(options)
  except (ValueError, FileNotFoundError, DamagedCheckpointError) as error:
    sys.exit(f'sample.py: {error}')


if __name__ == '__main__':
  main()
