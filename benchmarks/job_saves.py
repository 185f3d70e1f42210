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

import tyro

from benchmarks import faults, measuring
from jaxdiff import config as configs
from jaxdiff import parallel


@dataclass(frozen=True)
class Options:
  """The flags are those of train.py."""

  processes: int = 2
  rounds: int = 6
  flags: tuple[str, ...] = ()
  # Those of one of the processes.
  address: str | None = None
  index: int = 0
  folder: str = ''


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
    flags = ['--flags', *options.flags] if options.flags else []
    jobs = [
      subprocess.Popen([*command, '--index', f'{i}', *flags])
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
  parallel.leave()


if __name__ == '__main__':
  main(tyro.cli(Options, description=__doc__))
