"""Time that a save by several processes holds a training step.

  python -m benchmarks.job_saves
  python -m benchmarks.job_saves --processes 4 --flags --optimizer.name sgd

Processes of this machine train and save together. Process 0 prints. The copy is
that of `faults`, of the whole state to the host.
"""

import socket
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks import faults, flags, measuring
from jaxdiff import config as configs
from jaxdiff import parallel, scripts
from jaxdiff.config.ranges import Count, Seed


@dataclass(frozen=True)
class Options(configs.Section):
  """Measures how long a save by several processes holds a training step."""

  processes: Count = 2
  rounds: Count = 6
  flags: tuple[str, ...] = ()  # of train.py, the last of all
  # Those of one of the processes.
  address: str | None = None
  index: Seed = 0
  folder: str | None = None


def main(options: Options) -> None:
  if options.address is not None:
    run(options)
    return
  print(measuring.machine(), flush=True)
  with socket.socket() as free, tempfile.TemporaryDirectory() as folder:
    free.bind(('127.0.0.1', 0))
    address = f'127.0.0.1:{free.getsockname()[1]}'
    free.close()
    command = [sys.executable, '-m', 'benchmarks.job_saves']
    command += ['--processes', f'{options.processes}']
    command += ['--rounds', f'{options.rounds}']
    command += ['--address', address, '--folder', folder]
    jobs = [
      subprocess.Popen([*command, '--index', f'{i}', '--flags', *options.flags])
      for i in range(options.processes)
    ]
    if any([job.wait() for job in jobs]):
      sys.exit('a process has failed: see above')


def run(options: Options) -> None:
  """One of the processes."""
  parallel.start(options.address, options.processes, options.index)
  config = configs.parse(list(options.flags))
  found = faults.saves(config, Path(options.folder), options.rounds)
  if parallel.is_primary():
    for name, seconds in found.items():
      print(f'{name}: {1e3 * seconds:.1f} ms, {seconds / found["step"]:.0%}')


if __name__ == '__main__':
  with scripts.ending('benchmarks.job_saves'):
    main(flags.parse(Options))
