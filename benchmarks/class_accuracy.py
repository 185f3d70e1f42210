"""Accuracy of class-conditional digits against the guidance scale.

  python -m benchmarks.class_accuracy runs/digits_class

The support-vector machine of `benchmarks.digits_quality` reads samples of each
class at several guidance scales. `diversity` is the mean distance between two
samples of one class over that between two real digits of it: 1 is as varied
as the real ones, 0 one image again and again.
"""

import dataclasses
import json
from pathlib import Path

import numpy as np
import tyro
from sklearn.metrics import pairwise_distances

from benchmarks.digits_quality import fit, real
from jaxdiff import parallel
from jaxdiff.generation.conditions import requested
from jaxdiff.generation.flags import Flags
from jaxdiff.generation.job import job_of_run, load_run
from jaxdiff.modalities import pictures


@dataclasses.dataclass(frozen=True)
class Options:
  """Scores the digits of a class-conditional run."""

  workdir: tyro.conf.Positional[str]
  num: int = 1000
  scales: tuple[float, ...] = (0.0, 1.0, 1.5, 2.0, 3.0, 5.0)
  sampler: str | None = None
  steps: int | None = None
  seed: int = 0


def spread(images: np.ndarray, labels: np.ndarray) -> float:
  """Computes the mean distance of two images [N, D] of one class."""
  distances = []
  for label in range(10):
    chosen = images[labels == label]
    total = pairwise_distances(chosen).sum()
    distances.append(total / (len(chosen) * (len(chosen) - 1)))
  return float(np.mean(distances))


def main(options: Options) -> None:
  parallel.start()
  train, labels = real('train')
  test, test_labels = real('test')
  probabilities = fit(train, labels)
  rows = {
    'real': {
      'accuracy': float((probabilities(test).argmax(1) == test_labels).mean()),
      'diversity': spread(test, test_labels) / spread(train, labels),
    }
  }
  mesh = parallel.local_mesh()
  batch_size = parallel.batch_size(options.num, options.num, mesh)
  requested_labels, draw = np.arange(options.num) % 10, None
  for scale in options.scales:
    out = Path(options.workdir) / 'classes' / f'{scale:g}.npz'
    flags = Flags(
      workdir=options.workdir,
      scale=scale,
      sampler=options.sampler,
      steps=options.steps,
    )
    run = load_run(options.workdir, flags, mesh)
    job = job_of_run(
      run,
      mesh,
      requested(run, flags),
      num=options.num,
      seed=options.seed,
      draw=draw,
    )
    draw = job.draw
    job.write(out, batch_size, f'scale {scale:g}')
    images = np.load(out)['arr_0']
    grid = pictures.labelled_grid(images[:100], [str(i) for i in range(10)])
    pictures.save_png(grid, out.with_suffix('.png'))
    flat = images.reshape(len(images), -1) / 127.5 - 1
    found = probabilities(flat).argmax(1)
    rows[f'{scale:g}'] = {
      'accuracy': float((found == requested_labels).mean()),
      'diversity': spread(flat, requested_labels) / spread(train, labels),
    }
  path = Path(options.workdir) / 'classes.json'
  described = {**dataclasses.asdict(options), 'rows': rows}
  path.write_text(json.dumps(described, indent=2) + '\n')
  print('| scale | accuracy | diversity |')
  print('|---|---|---|')
  for scale, row in rows.items():
    print(f'| {scale} | {row["accuracy"]:.3f} | {row["diversity"]:.2f} |')


if __name__ == '__main__':
  main(tyro.cli(Options))
