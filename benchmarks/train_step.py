"""Time of a training step, ours and PyTorch's, in turns in one run.

  pip install torch diffusers denoising-diffusion-pytorch
  python -m benchmarks.train_step --case cifar10 --batch-size 16

Without the peers, or with --no-peers, ours alone. Everything a step does is in
it: the batch from the host, noise, gradient, clipping, Adam, average, loss.
With --beside CHECKOUT an older version of this repository is one of the sides.
"""

import os
import sys
from dataclasses import dataclass

import jax.numpy as jnp
import tyro

from benchmarks import measuring, ours
from benchmarks.cases import CASES, Name


@dataclass(frozen=True)
class Options:
  """Times a training step, ours and PyTorch's.

  On a GPU with --bfloat16, both compute in it and keep float32 weights.
  """

  case: Name = 'small'
  batch_size: int = 16
  rounds: int = 9
  peers: bool = True
  only: tuple[str, ...] = ()  # of the peers, by their names
  beside: str | None = None  # a folder with another version of the repository
  bfloat16: bool = False
  cpu_time: bool = False  # the process's, not the clock's


def of_checkout(
  folder: str, case: str, batch_size: int, bfloat16: bool
) -> measuring.Side:
  """Makes the side of another version, in a process that has loaded none."""
  for name in list(sys.modules):
    if name.partition('.')[0] in ('benchmarks', 'jaxdiff'):
      del sys.modules[name]
  os.chdir(folder)
  sys.path.insert(0, folder)
  from benchmarks import cases, ours

  made = cases.CASES[case]()
  batch = ours.random_images(made, batch_size)
  side = ours.train_step(made, batch, bfloat16)
  return measuring.Side(*side[:2])


def main(options: Options) -> None:
  case = CASES[options.case]()
  batch = ours.random_images(case, options.batch_size)
  apart = measuring.Apart
  sides = {'jaxdiff': apart(ours.train_step, case, batch, options.bfloat16)}
  if options.beside:
    sides[options.beside] = apart(
      of_checkout,
      os.path.abspath(options.beside),
      options.case,
      options.batch_size,
      options.bfloat16,
    )
  if options.peers:
    from benchmarks import torch_peers

    for name in options.only or torch_peers.names(case):
      step = torch_peers.train_step
      sides[name] = apart(step, case, name, batch, options.bfloat16)
  dtype = jnp.bfloat16 if options.bfloat16 else jnp.float32
  peak = measuring.matmul_peak(dtype, cpu_time=options.cpu_time)
  seconds = measuring.in_turns(sides, options.rounds, options.cpu_time)
  print(f'{measuring.machine()}, matmul peak {peak / 1e9:.4g} GFLOP/s')
  title = f'train step, {options.case}, batch {options.batch_size}'
  measuring.report(title, sides, seconds, options.batch_size, peak)


if __name__ == '__main__':
  main(tyro.cli(Options, description=__doc__))
