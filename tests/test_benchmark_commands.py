"""Commands in the docstrings and pages of benchmarks parse."""

import ast
import importlib
import re
import shlex
import types
from pathlib import Path

import pytest

from benchmarks import faults, flags, job_saves, startup
from jaxdiff import config as configs

FILES = sorted(Path('benchmarks').rglob('*.py'))
PAGES = [Path('README.md'), *sorted(Path('docs').glob('*.md'))]
PASSING_ON = (faults, job_saves, startup)


def documented():
  texts = [ast.get_docstring(ast.parse(file.read_text())) for file in FILES]
  texts += [page.read_text() for page in PAGES]
  for text in texts:
    text = (text or '').replace('\\\n', ' ')
    for line in re.findall(r'^ *python -m (benchmarks\..*)', text, re.M):
      yield ' '.join(shlex.split(line, comments=True))


COMMANDS = sorted(set(documented()))


def parsed(command, monkeypatch):
  """Runs the end of a script, with a `main` that returns its options."""
  name, *words = command.split()
  if name == 'benchmarks.inception_speed':
    for peer in ('torch', 'torchvision', 'pytorch_fid'):
      pytest.importorskip(peer)
  module = importlib.import_module(name)
  if hasattr(module, '__path__'):
    module = importlib.import_module(f'{name}.__main__')
  found = []
  names = {**vars(module), 'main': lambda *args: found.extend(args)}
  names['malloc'] = types.SimpleNamespace(relaunch=lambda: None)
  monkeypatch.setattr('sys.argv', [name, *words])
  end = ast.parse(Path(module.__file__).read_text()).body[-1]
  assert ast.unparse(end.test) == "__name__ == '__main__'"
  script = ast.Module(end.body, type_ignores=[])
  exec(compile(script, module.__file__, 'exec'), names)
  return found[0] if found else None


@pytest.mark.parametrize('command', COMMANDS)
def test_a_documented_command_parses(command, monkeypatch):
  parsed(command, monkeypatch)


def test_every_benchmark_has_a_command():
  scripts = {
    '.'.join(file.with_suffix('').parts).removesuffix('.__main__')
    for file in FILES
    if '__main__' in file.read_text()
  }
  commands = {command.split()[0] for command in COMMANDS}
  assert scripts - commands <= {'benchmarks.figures'}  # named in a sentence


@pytest.mark.parametrize('module', PASSING_ON)
def test_words_after_flags_are_those_of_train(module):
  words = ['--config', 'configs/fashion_mnist.py', '--training.num-steps', '9']
  options = flags.parse(module.Options, ['--rounds', '2', '--flags', *words])
  assert options.rounds == 2 and options.flags == tuple(words)
  assert configs.parse(list(options.flags)).training.num_steps == 9
  assert flags.parse(module.Options, ['--flags']).flags == ()
  assert flags.parse(module.Options, []).flags == ()


@pytest.mark.parametrize('module', PASSING_ON)
@pytest.mark.parametrize(
  ('words', 'message'),
  [
    (['--rounds', '0'], '--rounds must be in'),
    (['--flags', '--training.num-steps', '0'], '--training.num-steps'),
    (['--flags', '--config', 'configs/none.py'], 'does not exist'),
  ],
)
def test_wrong_flags_end_before_anything_starts(module, words, message):
  with pytest.raises(ValueError, match=message):
    flags.parse(module.Options, words)


def test_processes_of_a_job_are_given_the_flags(monkeypatch):
  """They are started by a command line of this program."""
  started = []

  class Started:
    def __init__(self, command):
      started.append(command)

    def wait(self):
      return 0

  monkeypatch.setattr(job_saves.subprocess, 'Popen', Started)
  words = ['--flags', '--optimizer.name', 'sgd']
  job_saves.main(flags.parse(job_saves.Options, words))
  for i, command in enumerate(started):
    options = flags.parse(job_saves.Options, command[3:])
    assert (options.index, options.processes) == (i, 2)
    assert options.flags == ('--optimizer.name', 'sgd')
