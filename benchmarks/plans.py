"""Plans of the recipes of papers: memory and least time of a step on TPUs.

  pip install libtpu
  python -m benchmarks.plans runs/plans
  python -m benchmarks.plans runs/plans --only dit_b4_imagenet256 mdlm_text8

Runs `jaxdiff.plan` for one recipe after the other, in bfloat16 at the batch
size of the paper, and prints a table of all plans in OUT. A U-Net compiles for
2 to 20 CPU minutes, the others for one or two. OUT/NAME.txt has the whole plan
of a recipe. Existing files are kept.

digress_qm9 reads the molecules of its paper from qm9.csv in this folder, a file
with a column `smiles`. RDKit reads it: pip install rdkit. Without them, name
other recipes by --only.
"""

import importlib.util
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from tqdm import tqdm

from jaxdiff import files, recipes, scripts
from jaxdiff.config import Section, load_file, parse_flags
from jaxdiff.data.sets import FILES
from jaxdiff.parallel.topology import check_libtpu

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
  'adm_imagenet256': f'v5e:4x4 --shape 256 256 3 {_CLASSES} --parallel.fsdp 8',
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
  'sd_text_to_image': (
    'v5e:16x16 --shape 64 64 4 --text-shape 77 768 --parallel.fsdp 8 '
    '--training.accumulate 4'
  ),
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
_FULL = 'Ran out of memory'  # libtpu's words
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
  """Returns the file of a recipe, as --config takes it in any folder."""
  configs = recipes.shipped('configs')
  for file in sorted(configs.glob(f'**/{name}.py')):
    return file.relative_to(configs.parent)
  raise ValueError(f'there is no recipe {name}.py in {configs}')


def check_needs(names: Sequence[str]) -> None:
  """Checks what compiling these recipes needs: libtpu, and files of data.

  Raises:
    ValueError: Something is missing.
  """
  if names:
    check_libtpu()
  for name in names:
    kind, _, file = load_file(str(path(name))).data.name.partition(':')
    if '--shape' in RECIPES[name] or kind not in FILES:
      continue
    lacks = [] if files.as_path(file).is_file() else [f'the file {file}']
    if kind == 'smiles' and importlib.util.find_spec('rdkit') is None:
      lacks.append('RDKit (pip install rdkit)')
    if lacks:
      raise ValueError(
        f'{name} needs {" and ".join(lacks)}; or name other recipes by --only'
      )


def plan(name: str) -> str:
  """Compiles a recipe and returns the printed plan, or why there is none."""
  topology, *flags = RECIPES[name].split()
  command = [sys.executable, '-m', 'jaxdiff.plan', str(path(name))]
  command += ['--topology', topology, *flags, '--network.dtype', 'bfloat16']
  done = subprocess.run(command, capture_output=True, text=True)
  last = (done.stderr.strip().splitlines() or [''])[-1]
  if done.returncode and _FULL not in last:
    raise ValueError(f'the plan of {name} failed: {last}')
  return done.stdout + (last if done.returncode else '')


def row(name: str, text: str) -> str:
  """Returns the row of the table that a printed plan has.

  Raises:
    ValueError: The text is not a whole plan.
  """
  found = {k: re.search(v, text) for k, v in _FIELDS.items()}
  lacks = [k for k, x in found.items() if x is None]
  if 'batch' in lacks or (lacks and _FULL not in text):
    raise ValueError(f'the plan of {name} lacks {", ".join(lacks)}')
  cell = {k: x[1] if x else 'does not fit' for k, x in found.items()}
  topology, *flags = RECIPES[name].split(' --')
  kinds = 'parallel', 'network', 'training'
  division = [x for x in flags if x.startswith(kinds)]
  with_flags = ''.join(f' `--{flag}`' for flag in division)
  return (
    f'| {name} | {topology}{with_flags} | {cell["batch"]} '
    f'| {cell["memory"]} | {cell["milliseconds"]} | {cell["bound"]} '
    f'| {cell["rate"]} |'
  )


def rows(out: Path) -> tuple[list[str], list[str]]:
  """Reads the plans in a folder: the rows of the table, and what is wrong."""
  found, wrong = [], []
  for name in RECIPES:
    file = out / f'{name}.txt'
    if file.exists():
      try:
        found.append(row(name, files.read_text(file)))
      except ValueError:
        wrong.append(
          f'{file} is damaged: delete it, and the same command makes it again'
        )
  return found, wrong


def make(out: Path, names: Sequence[str]) -> None:
  """Compiles the recipes that have no plan in the folder.

  Raises:
    ValueError: A kept plan is damaged, or something is missing, or plans have
      failed; the others are made.
  """
  wrong = rows(out)[1]
  if wrong:
    raise ValueError('; '.join(wrong))
  missing = [name for name in names if not (out / f'{name}.txt').exists()]
  check_needs(missing)
  for name in tqdm(missing, 'plans', dynamic_ncols=True):
    try:
      text = plan(name)
      row(name, text)
    except ValueError as error:
      wrong.append(str(error))
    else:
      files.write_text(text, out / f'{name}.txt')
  if wrong:
    raise ValueError('; '.join(wrong))


def main(options: Options) -> None:
  out = Path(options.out)
  files.check_target(out, folder=True)
  try:
    make(out, options.only or tuple(RECIPES))
  finally:
    print('| recipe | chips | batch | GiB a chip | ms a step | bound by | /s |')
    print('|---|---|---|---|---|---|---|')
    print(*rows(out)[0], sep='\n', flush=True)


if __name__ == '__main__':
  with scripts.ending('benchmarks.plans'):
    main(parse_flags(Options))
