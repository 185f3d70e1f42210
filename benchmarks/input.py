"""Throughput of the input pipeline, beside that of a training step.

  python -m benchmarks.input
  python -m benchmarks.input --data tfds:cifar10 --case cifar10

Batches as train.py takes them: shuffled, mirrored, float32 in [-1, 1]. With
torch installed its DataLoader, over the same images in memory, in turns.
"""

import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import tyro

from benchmarks import measuring, ours
from benchmarks.cases import CASES
from jaxdiff import data


@dataclass(frozen=True)
class Options:
  """Measures how many images a second the input pipeline delivers.

  captioned_shapes is built in: 24,000 images of 32x32.
  """

  data: str = 'captioned_shapes'
  batch_size: int = 128
  rounds: int = 5
  seconds: float = 3.0  # of each measurement
  case: Literal['digits', 'small', 'cifar10'] = 'digits'  # the step beside it
  step_batch_size: int = 64


def rate(batches: Iterator[Any], size: int, seconds: float) -> float:
  """Measures images a second, once the first have come."""
  next(batches), next(batches)
  start, count = time.perf_counter(), 0
  while time.perf_counter() - start < seconds:
    next(batches)
    count += size
  return count / (time.perf_counter() - start)


def loaders(dataset: data.Dataset, size: int) -> dict[str, Callable]:
  """Builds endless batches, by the name of their loader."""
  found = {
    'jaxdiff': lambda: data.batches(dataset, size, seed=0, flip=True),
  }
  try:
    import torch
  except ImportError:
    return found
  x0 = dataset.gather(np.arange(len(dataset)))['x0']
  images = torch.from_numpy(np.moveaxis(np.asarray(x0), -1, 1).copy())

  class Images(torch.utils.data.Dataset):
    """One by one, as its users write it."""

    def __len__(self):
      return len(images)

    def __getitem__(self, index):
      x = images[index]
      x = x.float() / 127.5 - 1.0 if x.dtype == torch.uint8 else x
      return x.flip(-1) if torch.rand(()) < 0.5 else x

  def torch_loader(workers):
    loader = torch.utils.data.DataLoader(
      Images(), size, shuffle=True, drop_last=True, num_workers=workers
    )
    return itertools.chain.from_iterable(itertools.repeat(loader))

  found['DataLoader'] = lambda: torch_loader(0)
  found['DataLoader, 2 workers'] = lambda: torch_loader(2)
  return found


def waiting(options: Options) -> tuple[float, float]:
  """Measures images a second of the step, and its fraction of waiting."""
  case = CASES[options.case]()
  size = options.step_batch_size
  step = ours.train_step(case, ours.random_images(case, size))
  dataset = data.load(options.data)
  batches = data.batches(dataset, size, seed=0, flip=True)
  step.run(), step.run(), next(batches)
  waited, start, count = 0.0, time.perf_counter(), 0
  while time.perf_counter() - start < 3 * options.seconds:
    before = time.perf_counter()
    next(batches)
    waited += time.perf_counter() - before
    step.run()
    count += size
  total = time.perf_counter() - start
  batches.close()
  return count / total, waited / total


def main(options: Options) -> None:
  print(measuring.machine())
  dataset = data.load(options.data)
  rates: dict[str, list[float]] = {}
  for _ in range(options.rounds):
    for name, make in loaders(dataset, options.batch_size).items():
      batches = make()
      found = rate(iter(batches), options.batch_size, options.seconds)
      rates.setdefault(name, []).append(found)
      if hasattr(batches, 'close'):
        batches.close()
  shape = 'x'.join(map(str, dataset.shape))
  for name, each in rates.items():
    low, middle, high = np.percentile(each, [25, 50, 75])
    print(f'{name}: {middle:,.0f} {shape} images/s ({low:,.0f} - {high:,.0f})')
  taken, fraction = waiting(options)
  times = np.median(rates['jaxdiff']) / taken
  print(
    f'a step of {options.case}, batch {options.step_batch_size}, takes '
    f'{taken:,.0f} images/s: the input is {times:,.0f} times as fast; '
    f'{fraction:.2%} of the time was spent waiting for it'
  )


if __name__ == '__main__':
  main(tyro.cli(Options, description=__doc__))
