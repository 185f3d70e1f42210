"""Draws samples from a trained model: `python sample.py runs/digits`.

Sample i depends on the seed and on i alone, whatever the batch size or the
number of devices. A job that was interrupted goes on where it was.

A model of classes or texts draws what it is asked for, a row for each:

  --labels 0,1,2 --scale 2               all classes without
  --prompt "a small red circle" --scale 3 --negative-prompt "a square"
  --prompts FILE --seeds 7,8,9           a line and a seed each

A weaker run of the same task guides, or a classifier of images:

  --guide WORKDIR --scale 2     --classifier WORKDIR --labels 0,1 --scale 2

A model that enlarges needs the small image, or the model that draws it:

  --image SMALL.png      --base WORKDIR of the smaller model

With --edit it starts from images of yours:

  --edit img2img --image A.png --strength 0.6   variations; 1 keeps nothing
  --edit inpaint --image A.png --mask M.png     new content where M is white
  --edit interpolate --image A.png --other B.png     from A to B in --num steps

A model of text writes; what is given stays, and _ is what it is to write:

  --infill "037+481=___"                 --show prints it step by step

--animate FILE.gif also draws the first samples as a film, from noise to data.
"""

from pathlib import Path

from jaxdiff import malloc

if __name__ == '__main__':
  malloc.relaunch()  # before the second that importing jax takes

import jax
import numpy as np

from jaxdiff import files, parallel, scripts
from jaxdiff.config import parse_flags
from jaxdiff.generation import writer
from jaxdiff.generation.flags import Flags
from jaxdiff.generation.from_flags import make_job
from jaxdiff.generation.job import Job, at_once
from jaxdiff.generation.sampler import Samples, make_sampler
from jaxdiff.modalities import pictures


def sample(flags: Flags) -> Path:
  mesh = parallel.local_mesh()
  job = make_job(flags, mesh)
  name = job.name + (f'_num{job.num}' if flags.num else '')
  default = job.run.workdir / f'{name}{job.modality.endings[0]}'
  out = files.as_path(flags.out or default)
  writer.check_output(out, job.modality)
  if flags.show:
    show(job)
  if flags.animate:
    animate(job, flags.animate)
  most = flags.batch_size or at_once(job.run.spec)
  batch_size = parallel.batch_size(job.num, most, mesh)
  path = job.write(out, batch_size, 'sampling')
  print(f'{job.num} {job.modality.unit}s: {path}')
  return path


def show(job: Job) -> None:
  """Prints the first texts of the job as they are unmasked."""
  from jaxdiff.modalities import text

  for way in text.ways(ways(job, 4), job.run.spec.symbols, columns=33):
    text.show(way)


def animate(job: Job, file: str) -> None:
  """Draws the first samples of the job as a film, from noise to data."""
  frames = job.modality.frames(ways(job, job.modality.filmed), 41)
  pictures.save_film(frames, file)
  print(f'{len(frames)} frames: {file}')


def ways(job: Job, num: int) -> Samples:
  """Draws the first `num` samples of a job with every xt on the way."""
  sampling = job.run.config.sampling
  draw = jax.jit(make_sampler(job.run.model, sampling, trajectory=True))
  index = np.arange(min(num, job.num))
  return draw(job.params, job.options(index), index)


def main(argv: list[str] | None = None) -> None:
  with scripts.ending('sample.py') as parsed:
    flags = parsed(parse_flags(Flags, argv))
    parallel.start()
    sample(flags)


if __name__ == '__main__':
  scripts.run(main)
