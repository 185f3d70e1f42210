"""The training loop of a run: steps, logs, checkpoints, reports, stopping."""

import contextlib
import math
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax

from jaxdiff import data, files, flops, names, parallel
from jaxdiff.config import Config, registry, steps_at_once
from jaxdiff.models import optimizer
from jaxdiff.runs.config_json import (
  check_alike,
  check_continues,
  first_start,
  only_writer,
  save_config,
)
from jaxdiff.runs.logs import Log, Tracker
from jaxdiff.runs.store import Checkpoints
from jaxdiff.runs.traces import Trace
from jaxdiff.training import Task

_MOST = 10**12  # numbers in a state


class Report(NamedTuple):
  """Something that is done with the averaged weights on the way.

  every: steps between two reports; the last step has one too.
  run: (params, step) -> metrics for the log, or None.
  everywhere: every process runs it, and not the first alone.
  """

  every: int
  run: Callable[[Any, int], Mapping[str, float] | None]
  everywhere: bool = False


def fit(
  config: Config,
  task: Task,
  dataset: data.Dataset,
  described: Mapping[str, Any],
  reports: Sequence[Report] = (),
) -> Any:
  """Trains a task from where its workdir is to the last step.

  Args:
    config: of the run; its training, checkpoint and parallel sections are read.
    task: the initial state and the step.
    dataset: the training set.
    described: what config.json is to hold.
    reports: previews and measurements.

  Returns:
    The averaged weights, a whole copy on this process's first device.

  Raises:
    ValueError: the workdir holds a run of another configuration; or the
      network is larger than any machine.
    NonFiniteLossError: the loss is nan or infinite.
  """
  workdir, c = files.as_path(config.workdir), config.training
  total = c.num_steps
  mesh = parallel.make_mesh(config.parallel.fsdp)
  parallel.check_batch_size(c.batch_size, mesh, c.accumulate)
  check_alike(described)
  key = jax.random.key(config.seed)
  abstract = jax.eval_shape(task.init, key)
  num = sum(math.prod(x.shape) for x in jax.tree.leaves(abstract))
  if num > _MOST:
    raise ValueError(
      f'parameters, averages and the optimizer are {num:.1e} numbers, and '
      f'{_MOST:.0e} is the most: take a smaller network'
    )
  sharding = parallel.state_sharding(
    abstract, mesh, rules=config.parallel.rules
  )
  history = check_continues(workdir, described)
  started = first_start(workdir)
  with contextlib.ExitStack() as stack:
    if parallel.is_primary():
      stack.enter_context(only_writer(workdir))
      saved = {**described, 'history': history, 'started': started}
      save_config(workdir, saved)
    received = stack.enter_context(signals())
    store = stack.enter_context(
      Checkpoints(
        workdir,
        max_to_keep=config.checkpoint.max_to_keep,
        keep_every=config.checkpoint.keep_every,
      )
    )
    restored = store.restore(parallel.placed(abstract, sharding))
    first, state = restored or (
      0,
      parallel.initialise(task.init, key, sharding),
    )
    at_once = steps_at_once(config, first)
    step = parallel.compile_train_step(
      task.step,
      mesh,
      sharding,
      mode=config.parallel.mode,
      num_steps=at_once,
      frozen=task.frozen,
    )
    if first and parallel.is_primary():
      done = 'continues from' if first < total else 'is finished at'
      print(f'{workdir} {done} step {first}')
      say_rate(config, history, first)
    parallel.advise(lambda: _advice(workdir, store))
    primary = parallel.is_primary()
    tracker = names.make(
      registry.TRACKERS,
      config.log if primary else 'none',
      '--log',
      workdir=str(workdir),
      first=first,
      settings=described,
    )
    if not isinstance(tracker, Tracker):
      raise ValueError(f'--log={config.log} must build a Tracker')
    batches = data.batches(
      dataset,
      c.batch_size,
      seed=config.seed,
      start_step=first,
      flip=config.data.flip,
      part=parallel.process(),
      at_once=at_once,
    )
    stack.callback(batches.close)
    log = stack.enter_context(
      Log(
        workdir,
        first,
        total,
        c.batch_size,
        primary,
        tracker,
        started=started,
      )
    )
    trace = stack.enter_context(Trace(workdir, c.profiled))
    trace.at(first)
    peak = parallel.peak_flops(mesh)

    for now in range(first + at_once, total + 1, at_once):
      batch = next(batches)
      if peak and log.least is None:
        log.least = _flops(task, abstract, batch, at_once) / peak
      state, metrics = step(state, batch)
      log.add(now, metrics)
      due = lambda every, now=now: now % every == 0 or now == total
      stopping = parallel.stopping(now, bool(received))
      saving = stopping or due(config.checkpoint.every)
      if saving or due(c.log_every):
        log.flush()  # raises before a state gone wrong is saved
      trace.at(now, metrics)
      if saving:
        with log.paused():
          store.save(now, parallel.joined(state, sharding))
      for report in reports:
        if due(report.every):
          params = task.whole(parallel.gather(state.ema_params, mesh))
          jax.block_until_ready(params)
          with log.paused():
            if report.everywhere or parallel.is_primary():
              log.measured(now, report.run(params, now) or {})
      if stopping and now < total:
        store.wait()
        if parallel.is_primary():
          print(f'\nstopped at step {now}, saved; the same command continues')
          print(f'goodput      {log.goodput}')
        sys.exit(130 if signal.SIGINT in received else 0)
    params = task.whole(parallel.gather(state.ema_params, mesh))
  if parallel.is_primary():
    print(f'\ngoodput      {log.goodput}')
  return params


def _flops(task: Task, abstract: Any, batch: Any, at_once: int) -> float:
  """Counts the FLOPs of a step of all processes, from the batch of this one."""
  cut = lambda x: jax.ShapeDtypeStruct(x.shape[int(at_once > 1) :], x.dtype)
  cut_batch = jax.tree.map(cut, batch)
  step = flops.count(task.step, abstract, cut_batch, task.frozen)
  return step * parallel.process()[1]


def say_rate(
  config: Config, history: Sequence[Mapping[str, Any]], first: int
) -> None:
  """Says that the learning rate jumps where a decay is made longer."""
  latest = history[-1] if history else {'step': None}
  if latest['step'] != first or 'training.num_steps' not in latest['changed']:
    return
  old, new = latest['changed']['training.num_steps']
  rate = lambda num_steps: optimizer.rate(config.optimizer, num_steps)(first)
  if rate(old) != rate(new):
    print(
      f'--training.num-steps is {new} and was {old}: the learning rate goes on '
      f'at {rate(new):.2g} instead of {rate(old):.2g}'
    )


def _advice(workdir: Path, store: Checkpoints) -> str:
  """Says what is left of a job that has lost a process."""
  saved = store.steps()
  last = f'step {saved[-1]} is saved' if saved else 'nothing is saved yet'
  return f'{last} in {workdir}: start all again, and the job continues'


@contextlib.contextmanager
def signals() -> Iterator[list[int]]:
  """Collects SIGTERM and SIGINT; the second SIGINT ends the process.

  In a job of several processes SIGTERM is jax's, see `parallel.stopping`.
  """
  received: list[int] = []

  def handle(number: int, frame: Any) -> None:
    if number == signal.SIGINT and received:
      raise KeyboardInterrupt
    received.append(number)
    if not parallel.alone():
      signal.raise_signal(signal.SIGTERM)

  own = (signal.SIGTERM,) if parallel.alone() else ()
  before = {n: signal.signal(n, handle) for n in (signal.SIGINT, *own)}
  try:
    yield received
  finally:
    for number, handler in before.items():
      signal.signal(number, handler)
