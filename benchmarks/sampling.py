"""Time of DDIM sampling and of one evaluation, ours and PyTorch's, in turns.

  pip install torch diffusers denoising-diffusion-pytorch
  python -m benchmarks.sampling --case cifar10 --batch-size 16 --steps 50

The weights are random: the time does not depend on them. With --no-peers, ours
alone.
"""

from dataclasses import dataclass

import jax.numpy as jnp
import tyro

from benchmarks import measuring, ours
from benchmarks.cases import CASES, Name


@dataclass(frozen=True)
class Options:
  """Times DDIM sampling and one evaluation, ours and PyTorch's.

  With --steps 0, the evaluation alone.
  """

  case: Name = 'small'
  batch_size: int = 16
  steps: int = 50
  rounds: int = 5
  peers: bool = True
  only: tuple[str, ...] = ()  # of the peers, by their names
  bfloat16: bool = False
  cpu_time: bool = False  # the process's, not the clock's


def main(options: Options) -> None:
  case, size, half = CASES[options.case](), options.batch_size, options.bfloat16
  dtype = jnp.bfloat16 if half else jnp.float32
  peak = measuring.matmul_peak(dtype, cpu_time=options.cpu_time)
  print(f'{measuring.machine()}, matmul peak {peak / 1e9:.4g} GFLOP/s')

  apart = measuring.Apart
  once = {'jaxdiff': apart(ours.evaluation, case, size, half)}
  names = ()
  if options.peers:
    from benchmarks import torch_peers

    names = options.only or torch_peers.names(case)
  for name in names:
    once[name] = apart(torch_peers.evaluation, case, name, size, half)
  seconds = measuring.in_turns(once, 3 * options.rounds, options.cpu_time)
  title = f'one evaluation, {options.case}, batch {size}'
  measuring.report(title, once, seconds, size, peak)

  if options.steps:
    steps = options.steps
    whole = {'jaxdiff': apart(ours.sampling, case, size, steps, half)}
    for name in names:
      draw = torch_peers.sampling
      whole[name] = apart(draw, case, name, size, steps, half)
    seconds = measuring.in_turns(whole, options.rounds, options.cpu_time)
    title = f'{steps} DDIM steps, {options.case}, batch {size}'
    measuring.report(title, whole, seconds, size, peak)


if __name__ == '__main__':
  main(tyro.cli(Options, description=__doc__))
