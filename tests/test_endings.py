"""The end of a script: one line, the last, and nothing of its libraries."""

import errno
import os
import subprocess
import sys

import jax
import pytest

from jaxdiff import runs, scripts
from jaxdiff.config import parse, parse_flags
from jaxdiff.evaluation.__main__ import COMMANDS
from jaxdiff.generation.flags import Flags
from jaxdiff.runs.logs import NonFiniteLossError

RUN = """
import atexit, sys, threading
from jaxdiff import scripts

def fail():
  raise RuntimeError('of a thread')

def main():
  atexit.register(lambda: print('at exit', file=sys.stderr))
  thread = threading.Thread(target=fail)
  thread.start()
  thread.join()
  print('begun caf\\udce9')
  with scripts.ending('train.py'):
    raise OSError(28, 'No space left on device', 'a.json')

scripts.run(main)
"""


HttpError = type('HttpError', (Exception,), {'__module__': 'gcsfs.retry'})


def ended(error):
  with pytest.raises(SystemExit) as raised, scripts.ending('train.py'):
    raise error
  return raised.value.code


@pytest.mark.parametrize(
  ('error', 'line'),
  [
    (ValueError('--seed must be 0'), 'train.py: --seed must be 0'),
    (NonFiniteLossError('step 3'), 'train.py: step 3'),
    (runs.DamagedCheckpointError('all'), 'train.py: all'),
    (OSError(errno.ENOSPC, 'full', 'a'), "[Errno 28] full: 'a': free some"),
    (OSError(errno.EROFS, 'no', 'a'), 'name a folder that is not read-only'),
    (PermissionError(errno.EACCES, 'no', 'a'), 'change its permissions'),
    (RuntimeError('Could not determine home directory.'), 'Set HOME'),
    (HttpError('Invalid Credentials, 401'), 'train.py: Invalid Credentials'),
    (MemoryError(), 'out of memory: use a smaller batch'),
    (
      jax.errors.JaxRuntimeError('RESOURCE_EXHAUSTED: 9 GB\nallocations'),
      'use a smaller batch: RESOURCE_EXHAUSTED: 9 GB',
    ),
  ],
)
def test_errors_that_a_user_can_cause_are_one_line(error, line):
  message = ended(error)
  assert message.startswith('train.py: ') and line in message
  assert '\n' not in message


def test_errors_of_the_program_keep_their_traceback():
  for error in (TypeError('x'), RuntimeError('x'), KeyError('x')):
    with pytest.raises(type(error)), scripts.ending('train.py'):
      raise error


def test_an_interrupt_ends_as_one(capsys):
  assert ended(KeyboardInterrupt()) == 130
  assert capsys.readouterr().err == (
    'train.py: interrupted; the same command continues\n'
  )


def test_the_line_is_the_last_of_the_process():
  run = subprocess.run(
    [sys.executable, '-c', RUN],
    env={**os.environ, 'JAX_PLATFORMS': 'cpu'},
    capture_output=True,
    text=True,
    timeout=100,
  )
  assert run.returncode == 1 and run.stdout == 'begun caf\\udce9\n'
  assert run.stderr == (
    "train.py: [Errno 28] No space left on device: 'a.json': free some space, "
    'then the same command continues\n'
  )


@pytest.mark.parametrize(
  ('command', 'words', 'text', 'wanted'),
  [
    # The words that a user typed.
    (
      Flags,
      'RUN',
      '--sampling.sampler surest_first needs --diffusion.process absorbing',
      '--sampler surest_first needs diffusion.process absorbing',
    ),
    (
      Flags,
      'RUN',
      '--sampling.block must be 4, as --network.block',
      '--block must be 4, as network.block',
    ),
    (
      COMMANDS,
      'sweep RUN',
      '--sampling.sampler x; --eta and --guide at --scale 1; --num 3',
      '--samplers x; --etas and --guides at --scales 1; --num 3',
    ),
    (
      COMMANDS,
      'likelihood RUN',
      'need --diffusion.num-steps 3; then python sample.py RUN --sampler a',
      'need diffusion.num-steps 3; then python sample.py RUN --sampler a',
    ),
    (COMMANDS, 'text RUN', 'a larger --parallel.mode', 'a larger --mode'),
    (
      None,
      '--config configs/digits.py',
      'smaller --scale, --training.num-steps 3, --features, --unknown, '
      '--network.no-remat',
      'smaller --sampling.scale, --training.num-steps 3, '
      '--evaluation.features, --unknown, --network.no-remat',
    ),
  ],
)
def test_the_flags_of_a_line_are_those_of_the_command(
  command, words, text, wanted
):
  words = words.split()
  read = parse(words) if command is None else parse_flags(command, words)
  with pytest.raises(SystemExit) as raised, scripts.ending('x') as parsed:
    parsed(read)
    raise ValueError(text)
  assert raised.value.code == f'x: {wanted}'
