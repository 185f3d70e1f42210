"""The README's example and commands."""

import re
import shlex

from digits_run import ROOT

from jaxdiff import config as configs
from jaxdiff.generation.flags import Flags


def test_the_readme_example_runs(tmp_path, monkeypatch):
  text = (ROOT / 'README.md').read_text()
  (code,) = re.findall(r'```python\n(.*?)```', text, re.S)
  monkeypatch.chdir(tmp_path)
  exec(compile(code, 'README.md', 'exec'), {})


def test_the_readme_commands_parse(monkeypatch):
  text = (ROOT / 'README.md').read_text()
  commands = re.findall(r'python (train|sample)\.py *(.*)', text)
  assert len(commands) >= 3
  for script, flags in commands:
    flags = shlex.split(flags.split('#')[0].replace('`', ' '))
    if script == 'train':
      configs.parse(flags)
    else:
      configs.parse_flags(Flags, flags)
