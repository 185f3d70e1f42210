"""Puts train.py, sample.py and configs/ into the wheel, as jaxdiff/shipped/."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithScripts(build_py):
  def run(self):
    super().run()
    if self.editable_mode:
      return  # there the checkout has them
    target = Path(self.build_lib, 'jaxdiff', 'shipped')
    (target / 'configs').mkdir(parents=True, exist_ok=True)
    for file in ('train.py', 'sample.py', *Path('configs').glob('*.py')):
      shutil.copy(file, target / file)


setup(cmdclass={'build_py': BuildWithScripts})
