"""Sample quality of digits, judged by a support-vector machine.

  python -m benchmarks.digits_quality runs/digits

A support-vector machine (RBF, calibrated) learns the real training digits.
Read off generated and held-out real digits alike:

  confident   fraction labelled with over 0.9 confidence; the ratio of the two
  classes     smallest and largest fraction of a class, times 10
  nearest     median distance to the nearest training digit, [-1, 1] pixels:
              a copy has 0, a real digit the model never saw has the figure of
              the first row

Writes WORKDIR/quality.json and a grid PNG for each sampler.
"""

import dataclasses
import itertools
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tyro
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.metrics import pairwise_distances
from sklearn.svm import SVC

from jaxdiff import data, parallel
from jaxdiff.generation.flags import Flags
from jaxdiff.generation.from_flags import make_job
from jaxdiff.modalities import pictures


@dataclasses.dataclass(frozen=True)
class Options:
  """Scores the digits of a run."""

  workdir: tyro.conf.Positional[str]
  num: int = 500
  seed: int = 0
  samplers: tuple[str, ...] = (
    'ddim:10',
    'ddim:20',
    'ddim:50',
    'ancestral:250',
    'ancestral:1000',
  )


def real(split: str) -> tuple[np.ndarray, np.ndarray]:
  """Reads flat images [N, 64] in [-1, 1] and labels [N]."""
  dataset = data.load('digits', split)
  batch = dataset.gather(np.arange(len(dataset)))
  images = batch['x0'].reshape(len(dataset), -1) / 127.5 - 1
  return images, batch['label']


def fit(
  images: np.ndarray, labels: np.ndarray
) -> Callable[[np.ndarray], np.ndarray]:
  """Fits a support-vector machine: images [N, 64] -> probabilities [N, 10].

  One machine for each pair of classes, each calibrated by Platt's sigmoid over
  five folds; the pairs r_kj = P(k | k or j) are coupled by P(k) proportional
  to 1 / (sum_j 1 / r_kj - (K - 2)) (Price et al. 1994).
  """
  svm = SVC(C=10, gamma=0.06)
  pair = CalibratedClassifierCV(svm, cv=5, ensemble=False)
  machines = {}
  for low, high in itertools.combinations(range(10), 2):
    chosen = np.isin(labels, (low, high))
    machines[low, high] = clone(pair).fit(images[chosen], labels[chosen])

  def probabilities(images: np.ndarray) -> np.ndarray:
    total = np.full((len(images), 10), -8.0)
    for (low, high), machine in machines.items():
      r = np.clip(machine.predict_proba(images), 1e-6, 1 - 1e-6)
      total[:, low] += 1 / r[:, 0]
      total[:, high] += 1 / r[:, 1]
    return (1 / total) / (1 / total).sum(1, keepdims=True)

  return probabilities


def main(options: Options) -> None:
  parallel.start()
  train, labels = real('train')
  test, test_labels = real('test')
  probabilities = fit(train, labels)
  accuracy = (probabilities(test).argmax(1) == test_labels).mean()

  def describe(images: np.ndarray) -> dict[str, float]:
    probability = probabilities(images)
    found = np.bincount(probability.argmax(1), minlength=10)
    fraction = found / len(images) * 10
    nearest = pairwise_distances(images, train).min(1)
    return {
      'confident': float((probability.max(1) > 0.9).mean()),
      'least_class': float(fraction.min()),
      'largest_class': float(fraction.max()),
      'nearest_median': float(np.median(nearest)),
      'nearest_5_percent': float(np.quantile(nearest, 0.05)),
    }

  mesh = parallel.local_mesh()
  batch_size = parallel.batch_size(options.num, options.num, mesh)
  held_out = describe(test)
  rows = {'held-out real': {**held_out, 'ratio': 1.0}}
  for sampler in options.samplers:
    name, steps = sampler.split(':')
    out = Path(options.workdir) / 'quality' / f'{name}{steps}.npz'
    start = time.monotonic()
    flags = Flags(
      workdir=options.workdir,
      num=options.num,
      seed=options.seed,
      sampler=name,
      steps=int(steps),
    )
    make_job(flags, mesh).write(out, batch_size, sampler)
    seconds = time.monotonic() - start
    images = np.load(out)['arr_0']
    pictures.save_png(pictures.grid(images[:100]), out.with_suffix('.png'))
    row = describe(images.reshape(len(images), -1) / 127.5 - 1)
    ratio = row['confident'] / held_out['confident']
    rows[sampler] = {**row, 'ratio': ratio, 'seconds': seconds}

  result = {'svm_test_accuracy': accuracy, 'num': options.num, 'rows': rows}
  path = Path(options.workdir) / 'quality.json'
  path.write_text(json.dumps(result, indent=2) + '\n')
  print(f'SVM accuracy on held-out real digits {accuracy:.3f}')
  print('| digits | confident | ratio | classes | nearest | seconds |')
  print('|---|---|---|---|---|---|')
  for name, row in rows.items():
    print(
      f'| {name} | {row["confident"]:.3f} | {row["ratio"]:.3f} | '
      f'{row["least_class"]:.2f} - {row["largest_class"]:.2f} | '
      f'{row["nearest_median"]:.2f} | {row.get("seconds", 0):.0f} |'
    )


if __name__ == '__main__':
  main(tyro.cli(Options))
