"""A strip of the same seeds over training: a row for each kept checkpoint.

  python train.py --checkpoint.every 250 --checkpoint.keep-every 250
  python -m benchmarks.progress runs/digits

Writes WORKDIR/progress.png: sample i of every row has the same noise and, in a
model of classes, the same label.
"""

from dataclasses import dataclass

import numpy as np
import tyro

from jaxdiff import files, parallel, scripts
from jaxdiff.config import Section, parse_flags
from jaxdiff.config.ranges import Count, NotNegative, Seed, Steps
from jaxdiff.generation import conditions
from jaxdiff.generation.flags import SamplerFlags
from jaxdiff.generation.job import job_of_run, load_run
from jaxdiff.modalities import pictures
from jaxdiff.runs.store import Checkpoints


@dataclass(frozen=True)
class Options(Section):
  """Draws the same seeds with the weights of each kept checkpoint."""

  workdir: tyro.conf.Positional[str]
  num: Count = 10  # images in a row
  seed: Seed = 0
  checkpoints: tuple[Count, ...] = ()  # all that are kept
  sampler: str | None = None
  steps: Steps | None = None
  scale: NotNegative | None = None
  out: str | None = None  # WORKDIR/progress.png

  def check(self) -> None:
    super().check()
    if self.num > 10:
      raise ValueError(f'--num must be at most 10, got {self.num}')


def main(options: Options) -> None:
  parallel.start()
  mesh, draw = parallel.local_mesh(), None
  out = options.out or f'{options.workdir}/progress.png'
  files.check_target(out)
  steps = options.checkpoints or sorted(Checkpoints(options.workdir).steps())
  if not steps:
    raise ValueError(f'{options.workdir} has no checkpoint')
  # As many as the devices can share; those beyond --num are not shown.
  index = np.arange(parallel.batch_size(options.num, options.num, mesh))
  rows = []
  for step in steps:
    flags = SamplerFlags(
      checkpoint=step,
      sampler=options.sampler,
      steps=options.steps,
      scale=options.scale,
    )
    run = load_run(options.workdir, flags, mesh)
    if run.spec.modality != 'image':
      raise ValueError(f'{options.workdir} is a run of {run.spec.modality}')
    takes = run.model.takes
    if takes not in ((), ('label',)):
      raise ValueError(
        f'{options.workdir} takes {", ".join(takes)}, not labels'
      )
    wanted = conditions.uniform(run.model) if takes else conditions.NONE
    job = job_of_run(
      run, mesh, wanted, num=len(index), seed=options.seed, draw=draw
    )
    draw = job.draw
    rows.append(np.stack(job.samples(index)[: options.num]))
    print(f'step {step:,}', flush=True)
  # Image i has the name i modulo the number of names.
  images = np.stack(rows, axis=1).reshape(-1, *rows[0].shape[1:])
  picture = pictures.labelled_grid(images, [f'step {step:,}' for step in steps])
  pictures.save_png(picture, out)
  print(out)


if __name__ == '__main__':
  with scripts.ending('benchmarks.progress'):
    main(parse_flags(Options))
