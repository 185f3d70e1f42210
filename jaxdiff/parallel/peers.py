"""Roll call of a job's processes, and the watch that they keep on one another.

Each process keeps a connection to process 0, on the coordinator's port: a
process that dies closes it, and one that hangs falls silent. jax itself notices
after minutes, and ends a process without a word that a user understands.
"""

import contextlib
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

_RETRY = 0.2  # seconds


class Peers:
  """The connections of this process: to process 0, or of it to all others.

  Args:
    address: host:port of process 0.
    num: number of processes.
    index: of this one.
    timeout: seconds to wait for a process that is silent.
    patience: seconds to wait for one that is not there yet; None: as many.

  Raises:
    OSError: a process is missing; the message names it.
  """

  def __init__(
    self,
    address: str,
    num: int,
    index: int,
    timeout: float,
    patience: float | None = None,
  ):
    self.advice: Callable[[], str] = lambda: 'start all processes again'
    self._index, self._timeout = index, timeout
    self._ending = threading.Lock()
    host, _, port = address.rpartition(':')
    wait = timeout if patience is None else patience
    if index == 0:
      self._connections = _call(int(port), num, wait)
    else:
      self._connections = {0: _answer(host, int(port), index, num, wait)}
    self._listening = [
      threading.Thread(target=self._listen, args=peer, daemon=True)
      for peer in self._connections.items()
    ]
    for thread in self._listening:
      thread.start()
    threading.Thread(target=self._say_alive, daemon=True).start()

  def leave(self) -> None:
    """Waits until all processes are done."""
    self._tell('done')
    for thread in self._listening:
      thread.join()

  def fail(self, line: str, code: int) -> NoReturn:
    """Ends this process with a last line, and the others with it."""
    # A call that waits for a lost process may fail before the watch notices it.
    time.sleep(1)
    self._end(line, f'process {self._index} stopped: {line}', code)

  def _tell(self, word: str, text: str = '') -> None:
    for connection in self._connections.values():
      with contextlib.suppress(OSError):  # `_listen` notices
        connection.send([word, text])

  def _say_alive(self) -> None:
    while True:
      self._tell('alive')
      time.sleep(min(self._timeout / 5, 10))

  def _listen(self, peer: int, connection: '_Connection') -> None:
    """Reads what a process says until it is done."""
    connection.socket.settimeout(self._timeout)
    try:
      word, text = 'alive', ''
      while word == 'alive':
        word, text = connection.read()
      if word == 'done':
        return
    except TimeoutError:
      text = f'process {peer} has been silent for {self._timeout:g} s'
    except (OSError, ValueError):
      text = f'process {peer} has died, its own last lines may say why'
    self._end(f'{text}; {self.advice()}', text, 1)

  def _end(self, line: str, reason: str, code: int) -> NoReturn:
    """Tells the others the reason, says a last line, and ends the process."""
    self._ending.acquire()  # for ever: only one line is the last
    self._tell('failed', reason)
    end(f'\n{line}', code)  # threads of jax wait for those that are gone


def free_address() -> str:
  """Returns host:port of this machine, as the others of a job reach it."""
  host = socket.gethostname()
  with (
    contextlib.suppress(OSError),  # no network: a name will do
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as way,
  ):
    way.connect(('192.0.2.1', 9))  # an address of no machine; nothing is sent
    host = way.getsockname()[0]
  with _server(0) as free:
    return f'{host}:{free.getsockname()[1]}'


class _Connection:
  """Lines of JSON, sent and read."""

  def __init__(self, connected: socket.socket):
    self.socket, self._lines = connected, connected.makefile()

  def send(self, value: Any) -> None:
    self.socket.sendall(json.dumps(value).encode() + b'\n')

  def read(self) -> Any:
    line = self._lines.readline()
    if not line:
      raise ConnectionResetError('the other side is closed')
    return json.loads(line)


def _call(port: int, num: int, timeout: float) -> dict[int, _Connection]:
  """Waits in process 0 for all others."""
  found: dict[int, _Connection] = {}
  deadline = time.monotonic() + timeout
  with _server(port) as server:
    while missing := sorted(set(range(1, num)) - found.keys()):
      server.settimeout(max(deadline - time.monotonic(), 0.01))
      try:
        connection = _Connection(server.accept()[0])
      except TimeoutError:
        listed = ', '.join(map(str, missing))
        problem = (
          f'of {num} processes {listed} did not come within {timeout:g} s: '
          'start all, or give a larger --parallel.timeout'
        )
        _answer_all(found, problem)
        raise TimeoutError(problem) from None
      connection.socket.settimeout(5)
      with contextlib.suppress(OSError, ValueError):  # not one of ours
        index, theirs = connection.read()
        if index in missing and theirs == num:
          found[index] = connection
          continue
        problem = (
          f'process {index} of {theirs} is not awaited: process 0 waits for '
          f'{missing} of {num}'
        )
        connection.send(problem)
  _answer_all(found, None)
  return found


def _answer_all(found: Mapping[int, _Connection], problem: str | None) -> None:
  for connection in found.values():
    with contextlib.suppress(OSError):
      connection.send(problem)


def _answer(
  host: str, port: int, index: int, num: int, timeout: float
) -> _Connection:
  """Reaches process 0, and waits until all are there."""
  deadline = time.monotonic() + timeout
  while True:
    left = max(deadline - time.monotonic(), 0.01)
    try:
      connected = socket.create_connection((host, port), left)
      break
    except OSError as error:
      if left < _RETRY:
        raise TimeoutError(
          f'process 0 did not come to {host}:{port} within {timeout:g} s '
          f'({error}): start it, or give a larger --parallel.timeout'
        ) from None
      time.sleep(_RETRY)
  connection = _Connection(connected)
  connection.send([index, num])
  connected.settimeout(timeout + 5)
  try:
    problem = connection.read()
  except (OSError, ValueError):
    problem = 'process 0 has died before all were there: start all again'
  if problem is not None:
    raise ConnectionError(problem)
  return connection


def _server(port: int) -> socket.socket:
  dual = socket.has_dualstack_ipv6()
  family = socket.AF_INET6 if dual else socket.AF_INET
  return socket.create_server(('', port), family=family, dualstack_ipv6=dual)


def end(line: str, code: int) -> NoReturn:
  """Says a last line and ends the process: libraries have more to say."""
  sys.stdout.flush()
  sys.stderr.flush()
  stderr = os.dup(2)
  os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
  time.sleep(0.05)  # what other threads are just writing comes before
  os.write(stderr, line.encode() + b'\n' if line else b'')
  os._exit(code)
