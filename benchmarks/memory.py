"""Memory of a training step, ours and PyTorch's, each in its own process.

  python -m benchmarks.memory --case cifar10 --batch-size 16

On a CPU the peak of the process, libraries and compilation included, and what
it has when the last step is done; on a GPU the peak of what is allocated on it.
"""

import resource
import subprocess
import sys
from dataclasses import dataclass

import jax
import tyro

from benchmarks import measuring, ours
from benchmarks.cases import CASES, Name


@dataclass(frozen=True)
class Options:
  """Measures the memory of a training step, ours and PyTorch's.

  With --side, that side alone, in this process.
  """

  case: Name = 'small'
  batch_size: int = 16
  steps: int = 3
  bfloat16: bool = False
  peers: tuple[str, ...] = ('diffusers eager', 'diffusers channels_last')
  side: str | None = None


def measure(options: Options) -> str:
  """Runs some steps and reports the memory they took."""
  case = CASES[options.case]()
  batch = ours.random_images(case, options.batch_size)
  if options.side == 'jaxdiff':
    side = ours.train_step(case, batch, options.bfloat16, counted=False)
  else:
    from benchmarks import torch_peers

    side = torch_peers.train_step(case, options.side, batch, options.bfloat16)
  for _ in range(options.steps):
    side.run()
  if jax.default_backend() != 'cpu':
    if options.side == 'jaxdiff':
      peak = jax.devices()[0].memory_stats()['peak_bytes_in_use']
    else:
      import torch

      peak = torch.cuda.max_memory_allocated()
    return f'{peak / 2**30:.2f} GiB allocated on the device at most'
  peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
  with open('/proc/self/status') as file:
    now = next(line for line in file if line.startswith('VmRSS')).split()[1]
  return f'{peak:.2f} GiB at most, {int(now) / 2**20:.2f} at the end'


def main(options: Options) -> None:
  if options.side:
    print(f'{options.side}: {measure(options)}')
    return
  print(measuring.machine(), flush=True)
  for name in ('jaxdiff', *options.peers):
    command = [sys.executable, '-m', 'benchmarks.memory', *sys.argv[1:]]
    subprocess.run([*command, '--side', name], check=True)


if __name__ == '__main__':
  main(tyro.cli(Options, description=__doc__))
