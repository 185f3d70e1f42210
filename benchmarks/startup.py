"""Start-up time, from `python train.py` to its first finished step.

  python -m benchmarks.startup
  python -m benchmarks.startup --flags --config configs/fashion_mnist.py

Cold: the compilation cache is empty. Warm: it is that of the cold start. The
data set is prepared beforehand, by a run that is not counted.
"""

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks import flags, measuring
from jaxdiff import scripts
from jaxdiff.config import Section
from jaxdiff.config.ranges import Count


@dataclass(frozen=True)
class Options(Section):
  """Measures the time from a start of train.py to its first finished step."""

  rounds: Count = 3
  flags: tuple[str, ...] = ()  # of train.py, the last of all


def first_step(words: tuple[str, ...], cache: Path, workdir: Path) -> float:
  """Measures seconds until train.py logs its first step, then kills it."""
  env = {**os.environ, 'JAX_COMPILATION_CACHE_DIR': str(cache)}
  command = [sys.executable, 'train.py', *words]
  command += ['--workdir', str(workdir), '--training.log-every', '1']
  metrics = workdir / 'metrics.jsonl'
  start = time.perf_counter()
  with tempfile.TemporaryFile() as said:
    run = subprocess.Popen(command, env=env, stdout=said, stderr=said)
    try:
      while not (metrics.exists() and metrics.stat().st_size):
        if run.poll() is not None:
          said.seek(0)
          raise SystemExit(f'train.py ended: {said.read().decode()[-2000:]}')
        time.sleep(0.01)
      return time.perf_counter() - start
    finally:
      run.kill()
      run.wait()


def main(options: Options) -> None:
  print(measuring.machine())
  seconds: dict[str, list[float]] = {'cold': [], 'warm': []}
  with tempfile.TemporaryDirectory() as folder:
    root = Path(folder)
    first_step(options.flags, root / 'unused', root / 'prepares')
    for n in range(options.rounds):
      for name in seconds:
        workdir = root / f'{name}_{n}'
        took = first_step(options.flags, root / f'cache_{n}', workdir)
        seconds[name].append(took)
  for name, each in seconds.items():
    print(
      f'{name}: {np.median(each):.1f} s to the first finished step '
      f'({min(each):.1f} - {max(each):.1f})'
    )


if __name__ == '__main__':
  with scripts.ending('benchmarks.startup'):
    main(flags.parse(Options))
