"""Goodput of a run and its terms: stops, kills, saves, restores, starts.

  python -m benchmarks.faults
  python -m benchmarks.faults --kills 20 --flags --config configs/digits.py

Processes of train.py are stopped and killed, and start again. A state is wrong
if any of its bits differs from that of a run that nothing disturbed.
"""

import hashlib
import json
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import jax
import numpy as np

from benchmarks import flags as command_line
from benchmarks import measuring
from jaxdiff import config as configs
from jaxdiff import data, models, parallel, runs, scripts, training
from jaxdiff.config.ranges import Count, In
from jaxdiff.models import optimizer as optimizers
from jaxdiff.runs import Checkpoints, examples
from jaxdiff.runs.logs import read_metrics

# No process lasts as long. The rate must not depend on the number of steps.
_STEPS = 100_000
_FLAGS = (
  *('--optimizer.schedule', 'constant', '--log', 'none'),
  *('--training.log-every', '1', '--training.preview-every', f'{_STEPS}'),
)


@dataclass(frozen=True)
class Options(configs.Section):
  """Stops, kills and starts a run of train.py, and measures what that costs."""

  kills: Annotated[int, In('[0, 1000000]')] = 20  # 0: only the times
  rounds: Count = 3
  flags: tuple[str, ...] = ()  # of train.py, the last of all


class Run:
  """Processes of train.py, one after another, in a workdir.

  Args:
    root: of its workdir, and of its compile cache.
    flags: of train.py.
    name: of the workdir.
  """

  def __init__(self, root: Path, flags: tuple[str, ...], name: str):
    self.workdir, self._cache, self._flags = root / name, root / 'xla', flags

  def start(self, steps: int = _STEPS, *flags: str) -> subprocess.Popen:
    command = [sys.executable, 'train.py', *self._flags, *_FLAGS, *flags]
    command += ['--workdir', str(self.workdir)]
    command += ['--training.num-steps', f'{steps}']
    env = {
      **os.environ,
      'JAX_COMPILATION_CACHE_DIR': str(self._cache),
      'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0',
    }
    # A killed process has logged more than it saved.
    metrics, saved = self.workdir / 'metrics.jsonl', self.saved()
    rows = [row for row in read_metrics(metrics) if row['step'] <= saved]
    if metrics.exists():
      metrics.write_text(''.join(json.dumps(row) + '\n' for row in rows))
    self._said = (self.workdir.parent / 'said').open('w+')
    return subprocess.Popen(
      command, env=env, stdout=self._said, stderr=self._said
    )

  def wait(self, process: subprocess.Popen, seen: Callable[[], Any]) -> None:
    while not seen():
      if process.poll() is not None:
        self._said.seek(0)
        raise SystemExit(f'train.py ended: {self._said.read()[-2000:]}')
      time.sleep(0.001)

  def step(self) -> int:
    """Returns the last step that is logged."""
    rows = read_metrics(self.workdir / 'metrics.jsonl')
    return int(rows[-1]['step']) if rows else 0

  def saved(self) -> int:
    return max(Checkpoints(self.workdir).steps(), default=0)

  def restore(self, step: int | None = None) -> tuple[int, Any]:
    """Returns the newest state, or that of a step; 0 and None without one."""
    with Checkpoints(self.workdir) as checkpoints:
      if not checkpoints.steps():
        return 0, None
      config, spec = runs.read_config(self.workdir)
      abstract = jax.eval_shape(_task(config, spec).init, jax.random.key(0))
      return checkpoints.restore(abstract, step)


def _task(config: configs.Config, spec: configs.Spec) -> training.Task:
  model = models.make(config, spec)
  optimizer = optimizers.make(config.optimizer, config.training.num_steps)
  options = optimizers.step_options(config)
  return training.make_task(model.init, model.loss, optimizer, **options)


def _digest(state: Any) -> str:
  state = state._replace(key=jax.random.key_data(state.key))
  found = hashlib.sha256()
  for leaf in jax.tree.leaves(state):
    found.update(np.asarray(leaf).tobytes())
  return found.hexdigest()


def wrong_states(root: Path, flags: tuple[str, ...], kills: int) -> int:
  """Kills a run again and again, by SIGKILL, and counts its wrong states.

  A third is killed before its first step, a third during a save, and a third
  at any moment of the steps.

  Args:
    root: of the workdirs.
    flags: of train.py.
    kills: how many.

  Returns:
    How many of the states that were left differ in a bit from those of a run
    that nothing disturbed, or are older than one that was whole before.
  """
  run, digests, wrong = Run(root, flags, 'killed'), {}, 0
  each = ('--checkpoint.every', '2')
  unfinished = lambda: list((run.workdir / 'checkpoints').glob('*tmp*'))
  for i in range(kills):
    before, process = run.saved(), run.start(_STEPS, *each)
    if i % 3 == 0:
      time.sleep(random.uniform(0, 5))
    else:
      first = before + random.randint(1, 8)
      run.wait(process, lambda first=first: run.step() > first)
      if i % 3 == 1:
        run.wait(process, unfinished)
      time.sleep(random.uniform(0, 0.03))
    whole = run.saved()
    process.kill()
    process.wait()
    step, state = run.restore()
    wrong += step < whole
    if step:
      digests[step] = _digest(state)
  reference = Run(root, flags, 'undisturbed')
  process = reference.start(max(digests), *each, '--checkpoint.keep-every', '1')
  last = max(digests)
  reference.wait(process, lambda: reference.saved() == last)
  process.wait()
  for step, found in digests.items():
    wrong += _digest(reference.restore(step)[1]) != found
  return wrong


def starts(run: Run) -> float:
  """Measures seconds until a process has done a step, then kills it."""
  before, process, start = run.saved(), run.start(), time.perf_counter()
  run.wait(process, lambda: run.step() > before)
  took = time.perf_counter() - start
  process.kill()
  process.wait()
  return took


def stop(run: Run) -> float:
  """Measures seconds from SIGTERM to a checkpoint that is on the disk."""
  before, process = run.saved(), run.start()
  run.wait(process, lambda: run.step() > before + 5)
  start = time.perf_counter()
  process.send_signal(signal.SIGTERM)
  run.wait(process, lambda: run.saved() > before)
  took = time.perf_counter() - start
  process.wait()
  return took


def saves(
  config: configs.Config, folder: Path, rounds: int, steps: int = 10
) -> dict[str, float]:
  """Measures a step alone and during a save, and what of a save blocks.

  Args:
    config: of a run, whose data are there. All processes of the job call.
    rounds: saves, of which the medians are returned.
    steps: between them, and during each.
  """
  read = examples.load(config, config.workdir)
  task, mesh = _task(config, read.spec), parallel.make_mesh()
  abstract = jax.eval_shape(task.init, jax.random.key(0))
  sharding = parallel.state_sharding(abstract, mesh)
  state = parallel.initialise(task.init, jax.random.key(0), sharding)
  step = parallel.compile_train_step(task.step, mesh, sharding)
  size, part = config.training.batch_size, parallel.process()
  batch = next(data.batches(read.dataset, size, seed=0, part=part))
  state, _ = jax.block_until_ready(step(state, batch))
  seconds: dict[str, list[float]] = {}

  def timed(name: str, call: Callable[[], Any], times: int = 1) -> Any:
    start = time.perf_counter()
    for _ in range(times):
      found = jax.block_until_ready(call())
    took = (time.perf_counter() - start) / times
    seconds.setdefault(name, []).append(took)
    return found

  def one() -> Any:
    nonlocal state
    state, metrics = step(state, batch)
    return metrics

  with Checkpoints(folder) as checkpoints:
    for i in range(1, rounds + 1):
      timed('step', one, steps)
      copied = state._replace(key=jax.random.key_data(state.key))
      timed('copy to the host', lambda x=copied: jax.tree.map(np.array, x))
      timed('save, what of it blocks', lambda i=i: checkpoints.save(i, state))
      timed('step during a save', one, steps)
      timed('save, the rest', checkpoints.wait)
  return {name: float(np.median(each)) for name, each in seconds.items()}


def goodput(terms: Mapping[str, float], between: float) -> tuple[float, float]:
  """Computes the goodput of a run that fails at random moments, at its best.

  A save every c seconds costs b, a failure the start R and half an interval:
  (1 - b / c) (1 - (R + c / 2) / M), about, at most at c = sqrt(2 b M).

  Args:
    terms: seconds 'blocked' by a save, and of a 'start'.
    between: M, the mean time between failures in seconds.

  Returns:
    The goodput, and c.

  Source: Young 1974, "A first order approximation to the optimum checkpoint
  interval".
  """
  blocked, start = terms['blocked'], terms['start']
  every = math.sqrt(2 * blocked * between)
  return (1 - blocked / every) * (1 - (start + every / 2) / between), every


def main(options: Options) -> None:
  print(measuring.machine(), flush=True)
  with tempfile.TemporaryDirectory() as folder:
    root = Path(folder)
    run = Run(root, options.flags, 'run')
    run.start(2).wait()  # prepares the data
    shutil.rmtree(root / 'xla')
    say = lambda name, value: print(f'| {name} | {value} |', flush=True)
    say('', '')
    say('---', '---')
    say('start to a step, nothing compiled', f'{starts(run):.1f} s')
    warm = np.median([starts(run) for _ in range(options.rounds)])
    say('start to a step, from the compile cache', f'{warm:.1f} s')
    stopped = [stop(run) for _ in range(options.rounds)]
    say('SIGTERM to a durable checkpoint', f'{np.median(stopped):.2f} s')
    restored = []
    for _ in range(options.rounds):
      start = time.perf_counter()
      state = run.restore()[1]
      restored.append(time.perf_counter() - start)
    size = sum(x.nbytes for x in jax.tree.leaves(state)) / 1e6
    say(f'restore of {size:.1f} MB', f'{np.median(restored):.2f} s')
    config, _ = runs.read_config(run.workdir)
    found = saves(config, root / 'saves', 3 * options.rounds)
    for name, seconds in found.items():
      share = seconds / found['step']
      say(name, f'{1e3 * seconds:.1f} ms, {share:.0%} of a step')
    lost = found['step during a save'] - found['step']
    blocked = found['save, what of it blocks'] + 10 * max(lost, 0)
    terms = {'blocked': blocked, 'start': float(warm)}
    for name, between in (('1 h', 3600), ('10 min', 600)):
      share, every = goodput(terms, between)
      say(
        f'goodput at a failure every {name}',
        f'{share:.1%} with a checkpoint every {every:.0f} s',
      )
    if options.kills:
      wrong = wrong_states(root, options.flags, options.kills)
      say(f'wrong states after {options.kills} kills', wrong)


if __name__ == '__main__':
  with scripts.ending('benchmarks.faults'):
    main(command_line.parse(Options))
