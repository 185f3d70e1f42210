"""Timing in turns: two sides run A B A B.

So other work of the machine, and its temperature, falls on both alike. Each
side has a process of its own: in one process XLA would ask for the memory that
PyTorch has freed.
"""

import contextlib
import multiprocessing
import os
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

# On a GPU: no process may take it all.
os.environ.setdefault('XLA_PYTHON_CLIENT_PREALLOCATE', 'false')


class Side(NamedTuple):
  """One of the things that are compared; `run` returns when all is done."""

  run: Callable[[], Any]
  parameters: int
  flops: float | None = None  # of one run, as XLA counts them
  bytes: int | None = None  # beside the arguments, on each device, by XLA

  def time(self, cpu_time: bool = False) -> float:
    """Seconds of one run; see `in_turns`."""
    clock = time.process_time if cpu_time else time.perf_counter
    start = clock()
    self.run()
    return clock() - start


class Apart:
  """A side made and run in a new process.

  Args:
    make: a function of a module; returns a Side.
    args: its arguments.
  """

  def __init__(self, make: Callable[..., Side], *args: Any):
    context = multiprocessing.get_context('spawn')
    self._here, there = context.Pipe()
    process = context.Process(
      target=_serve, args=(there, make, args), daemon=True
    )
    process.start()
    there.close()  # so that its end is the end of what is read here
    self.parameters, self.flops, self.bytes = self._here.recv()

  def time(self, cpu_time: bool = False) -> float:
    """Seconds of one run, by the process's own clock."""
    self._here.send(cpu_time)
    return self._here.recv()


def _serve(
  there: Any, make: Callable[..., Side], args: tuple[Any, ...]
) -> None:
  side = make(*args)
  there.send(side[1:])
  # Until the other end is closed, with the process that asks.
  with contextlib.suppress(EOFError):
    while True:
      there.send(side.time(there.recv()))


def in_turns(
  sides: Mapping[str, Side | Apart], rounds: int, cpu_time: bool = False
) -> dict[str, np.ndarray]:
  """Seconds of each run, [rounds] a side, after two runs unmeasured.

  Args:
    sides: by name.
    rounds: how often each runs.
    cpu_time: seconds of all the process's threads instead of the clock's: for
      a machine that has other work to do.
  """
  for side in sides.values():
    side.time()  # compiles
    side.time()  # and what is done once more: buffers, autotuning
  seconds: dict[str, list[float]] = {name: [] for name in sides}
  for _ in range(rounds):
    for name, side in sides.items():
      seconds[name].append(side.time(cpu_time))
  return {name: np.asarray(each) for name, each in seconds.items()}


def ratio(ours: np.ndarray, theirs: np.ndarray) -> tuple[float, float, float]:
  """Ratio of the medians, and the quartiles of the ratios of single rounds."""
  low, high = np.percentile(ours / theirs, [25, 75])
  return float(np.median(ours) / np.median(theirs)), float(low), float(high)


def report(
  title: str,
  sides: Mapping[str, Side | Apart],
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
