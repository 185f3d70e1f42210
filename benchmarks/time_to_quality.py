"""Sample quality after 5, 10, 20 and 60 minutes of a core: ours and PyTorch's.

  pip install torch diffusers
  python -m jaxdiff.data prepare tfds:fashion_mnist
  python -m jaxdiff.classifier train tfds:fashion_mnist
  python -m benchmarks.time_to_quality runs/time_to_quality

Both sides train at the same time, each on one core, by one recipe: that of
configs/fashion_mnist.py. PyTorch's has diffusers' `UNet2DModel` with the same
layers, on squares of 2x2 pixels as well. The learning rate falls to 0 at the
last of the minutes. Minutes are processor time, so other work on the machine
does not count. Imports and compilation are included; those of ours are spread
over the steps.

Then each draws samples by its averaged weights with several seeds, in 100
steps of DDPM or as --sampler and --steps say, and `evaluation fid` measures
them. OUT/ancestral_100.json has the table, OUT/ancestral_100.png the curves.
Existing files are kept. A second sampler draws from the same trained networks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import matplotlib.pyplot as plt
import numpy as np
import tyro
from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

from benchmarks import kept
from benchmarks import minutes as equal_minutes
from benchmarks import time_to_quality_torch as torch_side
from benchmarks.minutes import run
from jaxdiff import data, files, malloc, scripts
from jaxdiff.config import Section, parse_flags
from jaxdiff.config.ranges import Count

CONFIG = 'configs/fashion_mnist.py'
SIDES = ('ours', 'pytorch')


@dataclass(frozen=True)
class Options(Section):
  """Trains by one recipe in JAX and PyTorch, and measures samples of both.

  The data set must have grey images of 28x28.
  """

  out: Annotated[str, tyro.conf.Positional]
  minutes: tuple[Count, ...] = (5, 10, 20, 60)  # multiples of the first
  data: str = 'tfds:fashion_mnist'
  num: Count = 1000
  seeds: Count = 3
  sampler: Literal['ancestral', 'ddim'] = 'ancestral'
  steps: Count = 100
  features: str = 'classifier:runs/classifier_fashion_mnist'
  side: Literal['ours', 'pytorch'] | None = None  # of a process of its own

  def check(self) -> None:
    super().check()
    if not self.minutes or any(m % self.minutes[0] for m in self.minutes):
      raise ValueError(
        f'--minutes must be multiples of the first, got {self.minutes}'
      )


def ours(options: Options, out: Path) -> None:
  """Runs train.py for as many steps as fit."""
  from benchmarks import ours as our_side
  from jaxdiff import config as c

  config = c.load_file(CONFIG)
  case = our_side.Case(config, c.Spec('image', (28, 28, 1)), {})
  batch = our_side.random_images(case, config.training.batch_size)
  side = our_side.train_step(case, batch)
  side.run()
  each = equal_minutes.seconds_each(side.run)
  steps = equal_minutes.number_of_steps(options.minutes, each)
  flags = ['--config', CONFIG, '--data.name', options.data]
  flags += ['--workdir', str(out), '--training.num-steps', str(steps[-1])]
  flags += ['--checkpoint.every', str(steps[0])]
  flags += ['--checkpoint.keep-every', str(steps[0])]
  flags += ['--training.preview-every', str(steps[-1])]
  run('train.py', *flags)
  seconds = equal_minutes.child_seconds()
  save_times(options, out, steps, [seconds * n / steps[-1] for n in steps])


def pytorch(options: Options, out: Path) -> None:
  """Trains by the same recipe in PyTorch."""
  steps, seconds = torch_side.train(CONFIG, options.data, options.minutes, out)
  save_times(options, out, steps, seconds)


def save_times(
  options: Options, out: Path, steps: Sequence[int], seconds: Sequence[float]
) -> None:
  rows = zip(options.minutes, steps, seconds, strict=True)
  times = {m: {'step': n, 'minutes': s / 60} for m, n, s in rows}
  files.write_json(out / 'times.json', times)


def rows_of(times: Any) -> dict[str, dict[str, float]]:
  """Takes the rows that `save_times` wrote."""
  rows = {
    minute: {'step': int(row['step']), 'minutes': float(row['minutes'])}
    for minute, row in times.items()
  }
  if not rows:
    raise ValueError('there are no rows')
  return rows


def draw_ours(
  options: Options, run_dir: Path, out: Path, step: int, seed: int
) -> None:
  flags = ['--sampler', options.sampler, '--steps', str(options.steps)]
  flags += ['--checkpoint', str(step), '--seed', str(seed)]
  flags += ['--num', str(options.num)]
  run('sample.py', str(run_dir), *flags, '--out', str(out))


def draw_pytorch(
  options: Options, run_dir: Path, out: Path, step: int, seed: int
) -> None:
  eta = {'ancestral': 1.0, 'ddim': 0.0}[options.sampler]
  torch_side.draw(run_dir, out, options.num, step, seed, options.steps, eta)


def sampler_name(options: Options) -> str:
  """Returns the name of the files of a sampler, such as ancestral_100."""
  return f'{options.sampler}_{options.steps}'


def measure(options: Options, out: Path, side: str) -> list[dict[str, float]]:
  """Draws and measures the samples of a side: a row for each of the minutes."""
  draw = {'ours': draw_ours, 'pytorch': draw_pytorch}[side]
  flags = ['--reference', options.data, '--features', options.features]
  flags += ['--num', str(options.num)]
  rows = []
  for minute, row in kept.read(out / 'times.json', rows_of).items():
    distances = []
    for seed in range(options.seeds):
      name = f'{sampler_name(options)}_{minute}_{seed}'
      samples, score = out / name, out / f'{name}.json'
      if not score.exists():
        draw(options, out, samples, row['step'], seed)
      distances.append(equal_minutes.distance(samples, score, *flags))
    rows.append(row | {'distances': distances})
  return rows


def plot(result: dict[str, list], path: Path) -> None:
  """Draws distance against minutes, and prints the numbers."""
  figure, axes = plt.subplots(figsize=(5, 3.5), layout='constrained')
  for side, rows in result.items():
    distances = np.array([row['distances'] for row in rows])
    mean = distances.mean(1)
    std = distances.std(1, ddof=int(distances.shape[1] > 1))
    x = [row['minutes'] for row in rows]
    axes.errorbar(x, mean, std, label=side, marker='o', capsize=3)
    for row, a, b in zip(rows, mean, std, strict=True):
      print(f'{side:8} {row["minutes"]:5.1f} min {row["step"]:6} steps', end='')
      print(f'  {a:.3f} +- {b:.3f}')
  axes.set(xscale='log', yscale='log', xlabel='minutes of one core')
  axes.set_ylabel('Frechet distance')
  for axis in (axes.xaxis, axes.yaxis):  # 20 and 0.5, not powers of ten
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(ScalarFormatter())
    axis.set_minor_formatter(NullFormatter())
  axes.legend()
  figure.savefig(path, dpi=150)


def main(options: Options) -> None:
  out = Path(options.out)
  if options.side:
    {'ours': ours, 'pytorch': pytorch}[options.side](
      options, out / options.side
    )
    return
  # Errors come before the training.
  equal_minutes.check_features(options.features)
  if data.load(options.data).shape != (28, 28, 1):
    raise ValueError(f'--data must be of 28x28 grey images, not {options.data}')
  names = ('minutes', 'data', 'num', 'features')
  equal_minutes.keep_options(out, **{n: getattr(options, n) for n in names})
  equal_minutes.train_sides(
    'benchmarks.time_to_quality', SIDES, out, 'times.json'
  )
  result = {side: measure(options, out / side, side) for side in SIDES}
  name = sampler_name(options)
  files.write_json(out / f'{name}.json', result)
  plot(result, out / f'{name}.png')


if __name__ == '__main__':
  malloc.relaunch()  # as train.py does
  with scripts.ending('benchmarks.time_to_quality'):
    main(parse_flags(Options))
