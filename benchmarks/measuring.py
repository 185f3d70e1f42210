"""Timing in turns: what is compared runs A B A B in one process, so that what
else the machine does, and how warm it is, falls on both alike."""

import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


class Side(NamedTuple):
  """One of the things that are compared; `run` returns when all is done."""

  run: Callable[[], Any]
  parameters: int
  flops: float | None = None  # of one run, as XLA counts them
  bytes: int | None = None  # beside the arguments, on each device, by XLA


def in_turns(
  sides: Mapping[str, Side], rounds: int, cpu_time: bool = False
) -> dict[str, np.ndarray]:
  """Seconds of each run, [rounds] a side, after two runs unmeasured.

  Args:
    sides: by name.
    rounds: how often each runs.
    cpu_time: seconds of all the process's threads instead of the clock's: for
      a machine that has other work to do.
  """
  clock = time.process_time if cpu_time else time.perf_counter
  for side in sides.values():
    side.run()  # compiles
    side.run()  # and what is done once more: buffers, autotuning
  seconds: dict[str, list[float]] = {name: [] for name in sides}
  for _ in range(rounds):
    for name, side in sides.items():
      start = clock()
      side.run()
      seconds[name].append(clock() - start)
  return {name: np.asarray(each) for name, each in seconds.items()}


def ratio(ours: np.ndarray, theirs: np.ndarray) -> tuple[float, float, float]:
  """Ratio of the medians, and the quartiles of the ratios of single rounds."""
  low, high = np.percentile(ours / theirs, [25, 75])
  return float(np.median(ours) / np.median(theirs)), float(low), float(high)


def report(
  title: str,
  sides: Mapping[str, Side],
  seconds: Mapping[str, np.ndarray],
  examples: int,
  peak: float,
) -> None:
  """Prints a table; the first side is ours.

  Args:
    title: what one run is.
    sides: as timed.
    seconds: from `in_turns`.
    examples: in one run, for their number a second.
    peak: flops a second, from `matmul_peak`.
  """
  ours = next(iter(sides))
  print(f'\n{title}')
  print('| | parameters | median s | examples/s | ours / it | of the peak |')
  print('|---|---|---|---|---|---|')
  # Equal work: XLA's count stands for all that have as many parameters.
  flops = sides[ours].flops
  for name, side in sides.items():
    median = np.median(seconds[name])
    middle, low, high = ratio(seconds[ours], seconds[name])
    against = '' if name == ours else f'{middle:.2f} ({low:.2f} - {high:.2f})'
    share = f'{flops / median / peak:.0%}' if flops and name == ours else ''
    print(
      f'| {name} | {side.parameters:,} | {median:.4g} '
      f'| {examples / median:.4g} | {against} | {share} |',
      flush=True,
    )
  if flops:
    print(f'{flops / 1e9:.4g} GFLOP counted by XLA')
  others = [name for name in sides if name != ours]
  if others:
    best = min(others, key=lambda name: np.median(seconds[name]))
    middle, low, high = ratio(seconds[ours], seconds[best])
    print(f'ours / fastest ({best}): {middle:.3f} ({low:.3f} - {high:.3f})')


def matmul_peak(
  dtype: Any = jnp.float32, rounds: int = 7, cpu_time: bool = False
) -> float:
  """Flops a second of the best of some large matrix products; with `cpu_time`
  of one core's."""
  clock = time.process_time if cpu_time else time.perf_counter
  size = 2048 if jax.default_backend() == 'cpu' else 8192
  a = jnp.ones((size, size), dtype)
  # Several in one program: the time to start it does not count.
  many = 1 if jax.default_backend() == 'cpu' else 20
  product = jax.jit(
    lambda a: jax.lax.fori_loop(0, many, lambda _, x: (a @ x) / size, a)
  )
  jax.block_until_ready(product(a))
  best = np.inf
  for _ in range(rounds):
    start = clock()
    jax.block_until_ready(product(a))
    best = min(best, clock() - start)
  return 2 * size**3 * many / best


def machine() -> str:
  """In a line: backend, device, versions."""
  device = jax.devices()[0]
  return (
    f'{device.platform} {device.device_kind}, {jax.device_count()} device(s), '
    f'jax {jax.__version__}'
  )
