"""Scaling of the cost of a training step and of sampling with the work.

  python -m benchmarks.growth --out growth.png

Against the batch, the side length of the image, the steps of a sampler, the
size of the data set and the number of devices, each beside what theory says:

  batch, steps       in proportion; the memory of a sampler does not grow
  side length        its square in a convolution, its fourth power in attention
  data set           not at all: a batch is gathered by index
  devices            of a batch that stays as it is, each has its share
"""

import dataclasses
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import NamedTuple

import matplotlib
import numpy as np
import tyro

from benchmarks import measuring, ours
from benchmarks.cases import CASES, Case
from jaxdiff import data, parallel

matplotlib.use('Agg')
import matplotlib.pyplot as plt


@dataclass(frozen=True)
class Options:
  """Measures how time and memory of a training step grow with the work.

  With --devices, the last axis alone: it needs a process of its own.
  """

  out: str = 'growth.png'
  rounds: int = 5
  devices: int | None = None


class Axis(NamedTuple):
  """One panel: seconds and bytes against what grows."""

  name: str
  values: list[int]
  seconds: list[float]
  bytes: list[float]
  power: float  # of the seconds, in theory


def cost(side: measuring.Side, rounds: int) -> tuple[float, float]:
  """Measures seconds and bytes of one run."""
  seconds = measuring.in_turns({'it': side}, rounds)['it']
  return float(np.median(seconds)), float(side.bytes or 0)


def train(case: Case, batch_size: int, rounds: int) -> tuple[float, float]:
  """Measures a training step."""
  side = ours.train_step(case, ours.random_images(case, batch_size))
  return cost(side, rounds)


def over_batch(rounds: int) -> Axis:
  case, values = CASES['small'](), [1, 2, 4, 8, 16, 32, 64]
  found = [train(case, n, rounds) for n in values]
  return Axis('batch size', values, *map(list, zip(*found, strict=True)), 1)


def over_side_length(rounds: int) -> Axis:
  small, values, found = CASES['small'](), [16, 32, 64, 128], []
  network = dataclasses.replace(small.config.network, attention_resolutions=())
  for n in values:
    case = small._replace(
      config=dataclasses.replace(small.config, network=network),
      spec=small.spec._replace(shape=(n, n, 1)),
    )
    found.append(train(case, 2, rounds))
  return Axis(
    'side length of the image', values, *map(list, zip(*found, strict=True)), 2
  )


def over_steps(rounds: int) -> Axis:
  case, values = CASES['small'](), [5, 10, 20, 50, 100]
  found = [cost(ours.sampling(case, 4, n), rounds) for n in values]
  return Axis(
    'steps of a sampler', values, *map(list, zip(*found, strict=True)), 1
  )


def over_examples(rounds: int) -> Axis:
  values, seconds, sizes = [1_000, 10_000, 100_000, 1_000_000], [], []
  for n in values:
    images = np.zeros((n, 8, 8, 1), np.uint8)
    dataset = dataclasses.replace(
      data.load('digits'), size=n, gather=lambda i, x=images: {'x0': x[i]}
    )
    batches = data.batches(dataset, 64, seed=0)

    def hundred(batches=batches):
      for _ in range(100):
        next(batches)

    seconds.append(cost(measuring.Side(hundred, 0), rounds)[0] / 100)
    sizes.append(float(images.nbytes))
    batches.close()
  return Axis('examples in the data set', values, seconds, sizes, 0)


def over_devices(rounds: int) -> Axis:
  values, found = [1, 2, 4, 8], []
  for n in values:
    flags = f'--xla_force_host_platform_device_count={n}'
    # More threads than cores: collectives wait for one another.
    env = {**os.environ, 'XLA_FLAGS': flags, 'NPROC': '16'}
    command = [sys.executable, '-m', 'benchmarks.growth']
    command += ['--devices', str(n), '--rounds', str(rounds)]
    said = subprocess.run(
      command, env=env, capture_output=True, text=True, check=True, timeout=600
    )
    found.append(json.loads(said.stdout.splitlines()[-1]))
  name = 'devices that share the cores'
  return Axis(name, values, *map(list, zip(*found, strict=True)), 0)


def slope(values: list[int], costs: list[float]) -> float:
  """Fits the power of growth over the upper half of the range."""
  half = len(values) // 2
  logs = np.log(values[half - 1 :]), np.log(np.maximum(costs[half - 1 :], 1e-9))
  return float(np.polyfit(*logs, 1)[0])


def plot(axes: list[Axis], path: str) -> None:
  """Draws a panel for each axis, seconds above and bytes below."""
  figure, panels = plt.subplots(2, len(axes), figsize=(4 * len(axes), 6))
  for column, axis in zip(panels.T, axes, strict=True):
    values = np.asarray(axis.values, float)
    theory = axis.seconds[-1] * (values / values[-1]) ** axis.power
    column[0].loglog(values, axis.seconds, 'o-', label='seconds')
    column[0].loglog(values, theory, ':', label=f'power {axis.power:g}')
    column[1].loglog(values, np.asarray(axis.bytes) / 2**20, 'o-', label='MiB')
    column[1].set_xlabel(axis.name)
    for panel in column:
      panel.set_xticks(values, [f'{n:,}' for n in axis.values], rotation=30)
      panel.minorticks_off()
      # What hardly changes is to look so: two decades at least.
      low, high = panel.get_ylim()
      middle, half = (low * high) ** 0.5, max(high / low, 100) ** 0.5
      panel.set_ylim(middle / half, middle * half)
      panel.legend()
  figure.tight_layout()
  figure.savefig(path, dpi=80)


def main(options: Options) -> None:
  parallel.start()
  if options.devices:
    print(json.dumps(train(CASES['digits'](), 32, options.rounds)))
    return
  print(measuring.machine())
  start = time.monotonic()
  axes = []
  for make in (
    over_batch,
    over_side_length,
    over_steps,
    over_examples,
    over_devices,
  ):
    axis = make(options.rounds)
    axes.append(axis)
    print(f'\n| {axis.name} | seconds | MiB |\n|---|---|---|')
    for n, seconds, size in zip(*axis[1:4], strict=True):
      print(f'| {n:,} | {seconds:.4g} | {size / 2**20:.4g} |')
    grown = slope(axis.values, axis.seconds)
    print(f'power of the seconds {grown:.2f}, in theory {axis.power:g}')
  plot(axes, options.out)
  print(f'\n{options.out}, {time.monotonic() - start:.0f} s')


if __name__ == '__main__':
  main(tyro.cli(Options, description=__doc__))
