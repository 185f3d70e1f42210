"""Trainings of equal minutes: how many steps fit, and what they took."""

import json
import math
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks import kept
from jaxdiff import files


def number_of_steps(minutes: tuple[int, ...], each: float) -> list[int]:
  """Returns the step at each of the minutes, of `each` seconds a step."""
  first = int(60 * minutes[0] / each)
  if first < 10:
    raise ValueError(f'a step takes {each:.2f} s: give more --minutes')
  return [first * minute // minutes[0] for minute in minutes]


def seconds_each(run: Callable[[], object], times: int = 20) -> float:
  """Measures the processor time of a call, the mean of several."""
  start = time.process_time()
  for _ in range(times):
    run()
  return (time.process_time() - start) / times


def keep_options(out: Path, **options: object) -> None:
  """Writes the options of a folder of results, or compares them with its own.

  Raises:
    ValueError: The folder was made with others, or the file is damaged.
    OSError: The folder cannot be written.
  """
  files.check_target(out, folder=True)
  file = out / 'options.json'
  new = json.loads(json.dumps(options))
  if not file.exists():
    files.write_json(file, new)
    return
  old = files.read_json(file, 'the file of options')
  if not isinstance(old, dict) or (lacks := sorted({*new} - {*old})):
    what = 'is damaged' if not isinstance(old, dict) else f'lacks {lacks}'
    raise ValueError(
      f'{file} {what}: bring it back from a copy, or name another folder'
    )
  kept.compare(out, old, new)


def train_sides(module: str, sides: Sequence[str], out: Path, end: str) -> None:
  """Trains all sides at once, each in a process on a core of its own.

  Args:
    module: Which is started with the arguments of this program and --side.
    sides: Its names of them.
    out: A folder, in which each side has one.
    end: The file that a side writes last; one that has it is not trained again.

  Raises:
    SystemExit: One has failed.
  """
  cores, jobs = sorted(os.sched_getaffinity(0)), []
  for i, side in enumerate(sides):
    (out / side).mkdir(parents=True, exist_ok=True)
    if not (out / side / end).exists():
      command = ['taskset', '-c', str(cores[i % len(cores)]), sys.executable]
      command += ['-m', module, *sys.argv[1:], '--side', side]
      jobs.append(subprocess.Popen(command))
  if any([job.wait() for job in jobs]):
    raise SystemExit('a side has failed: see above')


def distance(samples: Path, score: Path, *flags: str) -> float:
  """Returns the Frechet distance of samples, from `score` if it exists.

  Raises:
    ValueError: The file `score` is damaged.
  """
  if not score.exists():
    command = ['-m', 'jaxdiff.evaluation', 'fid', '--samples', str(samples)]
    run(*command, '--out', str(score), *flags)

  def value(result: Any) -> float:
    metrics = result['metrics']
    (name,) = (name for name in metrics if name.startswith('FD '))
    return finite(metrics[name]['value'])

  return kept.read(score, value)


def finite(value: Any) -> float:
  """Returns a number as it is; raises ValueError for anything else."""
  if type(value) not in (int, float) or not math.isfinite(value):
    raise ValueError(f'a finite number is needed, got {value!r}')
  return value


def child_seconds() -> float:
  """Returns the processor time of all commands that have ended."""
  used = resource.getrusage(resource.RUSAGE_CHILDREN)
  return used.ru_utime + used.ru_stime


def run(*command: str) -> None:
  """Runs Python on a script or module; a failure ends this program too."""
  if subprocess.run([sys.executable, *command]).returncode:
    raise SystemExit(f'python {" ".join(command[:3])} has failed: see above')


def check_features(text: str) -> None:
  """Loads the network of --features, so that errors come before the training.

  Raises:
    ValueError, OSError: There is none.
  """
  from jaxdiff.evaluation import extractors

  extractors.load(text)
