"""Plans of the recipes of papers: memory and least time of a step on TPUs.

  pip install libtpu
  python -m benchmarks.plans runs/plans
  python -m benchmarks.plans runs/plans --only dit_b4_imagenet256 mdlm_text8

Runs `jaxdiff.plan` for one recipe after the other, in bfloat16 at the batch
size of the paper, and prints a table. A U-Net compiles for 2 to 20 CPU minutes,
the others for one or two. OUT/NAME.txt has the whole plan of a recipe. One that
is there is not made again.
"""

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from tqdm import tqdm

from jaxdiff import files, scripts
from jaxdiff.config import Section, parse_flags

_CLASSES = '--num-classes 1000'
_CIFAR = 'v5e:4x4 --shape 32 32 3'
_TEXT8 = 'v5e:4x4 --shape 256 --categories 27'
# The topology, and the flags of the data and of the division over chips.
RECIPES = {
  'ddpm_cifar10': _CIFAR,
  'ddpm_lsun256': 'v5e:4x4 --shape 256 256 3',
  'ddpm_celebahq256': 'v5e:4x4 --shape 256 256 3',
  'iddpm_cifar10_simple': _CIFAR,
  'iddpm_cifar10_hybrid': _CIFAR,
  'iddpm_cifar10_vlb': _CIFAR,
  'iddpm_imagenet64': 'v5e:4x4 --shape 64 64 3',
  'score_sde_vp_cifar10': _CIFAR,
  'score_sde_subvp_cifar10': _CIFAR,
  'score_sde_ve_cifar10': _CIFAR,
  'vdm_cifar10': _CIFAR,
  'edm_cifar10': f'{_CIFAR} --num-classes 10',
  'adm_imagenet64': f'v5e:8x8 --shape 64 64 3 {_CLASSES}',
  'adm_imagenet128': f'v5e:8x8 --shape 128 128 3 {_CLASSES}',
  'adm_imagenet256': (
    f'v5e:4x4 --shape 256 256 3 {_CLASSES} --parallel.fsdp 8 --network.remat'
  ),
  'cfg_imagenet64': f'v5e:8x8 --shape 64 64 3 {_CLASSES}',
  'jit_b16_imagenet256': f'v5e:8x8 --shape 256 256 3 {_CLASSES}',
  'dit_xl2_imagenet256': (
    f'v5e:4x4 --shape 32 32 4 {_CLASSES} --parallel.fsdp 8 --network.remat '
    '--network.remat-policy dots_with_no_batch_dims_saveable'
  ),
  'dit_b4_imagenet256': f'v5e:4x4 --shape 32 32 4 {_CLASSES}',
  'mean_flow_b4_imagenet256': f'v5e:4x4 --shape 32 32 4 {_CLASSES}',
  'edm2_xs_imagenet512': f'v5e:8x8 --shape 64 64 4 {_CLASSES}',
  'edm2_s_imagenet512': f'v5e:8x8 --shape 64 64 4 {_CLASSES}',
  'ldm4_celebahq256': 'v5e:4x4 --shape 64 64 3',
  'ldm8_lsun256': 'v5e:4x4 --shape 32 32 4',
  'sd_text_to_image': 'v5e:16x16 --shape 64 64 4',
  'd3pm_text8_absorbing': _TEXT8,
  'd3pm_text8_uniform': _TEXT8,
  'mdlm_text8': _TEXT8,
  'lm1b': 'v5e:4x4 --shape 128 --categories 30522',
  'text8': _TEXT8,
  'digress_community': 'v5e:2x2',
  'digress_planar': 'v5e:2x2',
  'digress_sbm': 'v5e:2x2',
  'digress_qm9': 'v5e:2x2',
}
_FIELDS = {
  'batch': r'a batch of ([\d,]+),',
  'memory': r'together +([\d.]+) GiB',
  'milliseconds': r'takes at least ([\d.]+) ms',
  'bound': r'bound by ([\w-]+):',
  'rate': r'([\d,]+) examples/s',
}


@dataclass(frozen=True)
class Options(Section):
  """Compiles the recipes that OUT has no plan of."""

  out: Annotated[str, tyro.conf.Positional]
  only: tuple[str, ...] = ()  # names of recipes; (): all

  def check(self) -> None:
    super().check()
    if unknown := [name for name in self.only if name not in RECIPES]:
      raise ValueError(f'--only must be of {list(RECIPES)}, got {unknown}')


def path(name: str) -> Path:
  """Returns the file of a recipe."""
  return next(Path('configs').glob(f'**/{name}.py'))


def plan(name: str) -> str:
  """Compiles a recipe and returns the printed plan, or why there is none."""
  topology, *flags = RECIPES[name].split()
  command = [sys.executable, '-m', 'jaxdiff.plan', str(path(name))]
  command += ['--topology', topology, *flags, '--network.dtype', 'bfloat16']
  done = subprocess.run(command, capture_output=True, text=True)
  last = (done.stderr.strip().splitlines() or [''])[-1]
  if done.returncode and 'Ran out of memory' not in last:
    raise ValueError(f'the plan of {name} failed: {last}')
  return done.stdout + (last if done.returncode else '')


def row(name: str, text: str) -> str:
  """Returns the row of the table that a printed plan has."""
  found = {k: re.search(v, text) for k, v in _FIELDS.items()}
  cell = {k: x[1] if x else 'does not fit' for k, x in found.items()}
  topology, *flags = RECIPES[name].split(' --')
  division = [x for x in flags if x.startswith(('parallel', 'network'))]
  with_flags = ''.join(f' `--{flag}`' for flag in division)
  return (
    f'| {name} | {topology}{with_flags} | {cell["batch"]} '
    f'| {cell["memory"]} | {cell["milliseconds"]} | {cell["bound"]} '
    f'| {cell["rate"]} |'
  )


def main(options: Options) -> None:
  out = Path(options.out)
  out.mkdir(parents=True, exist_ok=True)
  names = options.only or tuple(RECIPES)
  missing = [name for name in names if not (out / f'{name}.txt').exists()]
  for name in tqdm(missing, 'plans', dynamic_ncols=True):
    files.write_text(plan(name), out / f'{name}.txt')
  print('| recipe | chips | batch | GiB a chip | ms a step | bound by | /s |')
  print('|---|---|---|---|---|---|---|')
  for name in RECIPES:
    if (out / f'{name}.txt').exists():
      print(row(name, (out / f'{name}.txt').read_text()))


if __name__ == '__main__':
  with scripts.ending('benchmarks.plans'):
    main(parse_flags(Options))
