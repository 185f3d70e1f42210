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
    for file in ('train.py', 'sample.py', *Path('configs').rglob('*.py')):
      (target / file).parent.mkdir(parents=True, exist_ok=True)
      shutil.copy(file, target / file)


setup(cmdclass={'build_py': BuildWithScripts})
