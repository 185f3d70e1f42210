"""The watch of a job's processes over one another: who is missing is said."""

import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from jaxdiff.parallel import peers

PEERS = Path(__file__).parents[2] / 'jaxdiff' / 'parallel' / 'peers.py'
# By its path, for the package imports jax, which takes a second.
START = """
import importlib.util, os, sys, time
spec = importlib.util.spec_from_file_location('peers', sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
port, num, index, timeout = map(int, sys.argv[2:6])
try:
  peers = module.Peers(f'127.0.0.1:{port}', num, index, timeout)
except OSError as error:
  sys.exit(str(error))
peers.advice = lambda: 'step 4 is saved'
print('all there', flush=True)
"""
WAIT = 'time.sleep(60)'


def job(actions, num=None, timeout=30):
  """Runs a process for each action, {index: code}; returns its last lines."""
  with socket.socket() as free:
    free.bind(('127.0.0.1', 0))
    port = free.getsockname()[1]
  numbers = lambda i: map(str, (port, num or len(actions), i, timeout))
  processes = {
    i: subprocess.Popen(
      [sys.executable, '-c', START + code, str(PEERS), *numbers(i)],
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
      text=True,
    )
    for i, code in actions.items()
  }
  found = {i: p.communicate(timeout=50) for i, p in processes.items()}
  codes = {i: p.returncode for i, p in processes.items()}
  lines = {i: (err.splitlines() or [''])[-1] for i, (_, err) in found.items()}
  return lines, codes


def test_a_job_ends_together():
  slow = 'time.sleep(0.5); peers.leave(); print("left")'
  begun = time.monotonic()
  lines, codes = job({0: 'peers.leave()', 1: slow, 2: 'peers.leave()'})
  assert time.monotonic() - begun < 20
  assert set(codes.values()) == {0} and set(lines.values()) == {''}


def test_nothing_is_said_after_the_last_line():
  noisy = """
import threading
def say():
  while True:
    os.write(2, b'noise\\n')
for _ in range(4):
  threading.Thread(target=say, daemon=True).start()
time.sleep(0.2)
peers.fail('no space left', 1)
"""
  lines, codes = job({0: noisy, 1: WAIT})
  assert lines == {
    0: 'no space left',
    1: 'process 0 stopped: no space left; step 4 is saved',
  }
  assert set(codes.values()) == {1}


@pytest.mark.parametrize('lost', [0, 1])
def test_a_process_that_dies_is_named_by_all(lost):
  begun = time.monotonic()
  die = 'time.sleep(0.5); os._exit(9)'  # when all have started
  actions = {i: die if i == lost else WAIT for i in range(3)}
  lines, codes = job(actions)
  assert time.monotonic() - begun < 20
  for i in set(actions) - {lost}:
    assert codes[i] == 1
    assert lines[i].startswith(f'process {lost} has died')
    assert lines[i].endswith('step 4 is saved')


def test_the_reason_of_a_failure_reaches_all():
  lines, codes = job({0: WAIT, 1: 'peers.fail("disk full", 3)', 2: WAIT})
  assert lines[1] == 'disk full' and codes == {0: 1, 1: 3, 2: 1}
  for i in (0, 2):
    assert lines[i] == 'process 1 stopped: disk full; step 4 is saved'


def test_a_process_that_hangs_is_named():
  stop = 'import signal; os.kill(os.getpid(), signal.SIGSTOP)'
  with socket.socket() as free:
    free.bind(('127.0.0.1', 0))
    port = free.getsockname()[1]
  run = lambda i, code: subprocess.Popen(
    [sys.executable, '-c', START + code, str(PEERS), str(port), '2', i, '1'],
    stderr=subprocess.PIPE,
    stdout=subprocess.PIPE,
    text=True,
  )
  first, hung = run('0', WAIT), run('1', stop)
  try:
    _, err = first.communicate(timeout=30)
    assert err.endswith('process 1 has been silent for 1 s; step 4 is saved\n')
  finally:
    hung.kill()


def test_who_does_not_come_is_named():
  lines, _ = job({0: WAIT, 2: WAIT}, num=4, timeout=2)
  for i in (0, 2):
    assert lines[i].startswith('of 4 processes 1, 3 did not come within 2 s')
  lines, _ = job({1: WAIT}, num=2, timeout=1)
  assert lines[1].startswith('process 0 did not come to 127.0.0.1:')


def test_a_free_address_is_reached():
  address = peers.free_address()
  found = {}
  join = lambda i: found.update({i: peers.Peers(address, 2, i, 30, 10)})
  threads = [threading.Thread(target=join, args=(i,)) for i in (0, 1)]
  for run in (lambda t: t.start(), lambda t: t.join()):
    for thread in threads:
      run(thread)
  assert set(found) == {0, 1}
  leaving = threading.Thread(target=found[1].leave)
  leaving.start()
  found[0].leave()
  leaving.join()
  with pytest.raises(TimeoutError, match='of 2 processes 1 did not come'):
    peers.Peers(peers.free_address(), 2, 0, 30, 0.1)
