"""Recipes and scripts that ship with the package, and the installed commands.

In a checkout they are train.py, sample.py and configs/ beside the package. In a
wheel the same files are in jaxdiff/shipped/.
"""

import runpy
from pathlib import Path

from jaxdiff import malloc

PACKAGE = Path(__file__).parent


def shipped(name: str) -> Path:
  """Returns the path of a shipped file, such as 'configs/digits.py'."""
  inside = PACKAGE / 'shipped'
  return (inside if inside.is_dir() else PACKAGE.parent) / name


def train() -> None:
  """Runs train.py: the command `jaxdiff-train`."""
  malloc.relaunch()
  runpy.run_path(str(shipped('train.py')), run_name='__main__')


def sample() -> None:
  """Runs sample.py: the command `jaxdiff-sample`."""
  malloc.relaunch()
  runpy.run_path(str(shipped('sample.py')), run_name='__main__')


def evaluate() -> None:
  """Runs jaxdiff.evaluation: the command `jaxdiff-evaluate`."""
  malloc.relaunch()
  runpy.run_module('jaxdiff.evaluation', run_name='__main__', alter_sys=True)
