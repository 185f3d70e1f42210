"""The end of a script: one line for every error that a user can cause."""

import contextlib
import errno
import io
import logging
import re
import sys
import threading
from collections.abc import Callable, Iterator, Set
from typing import TypeVar

import jax

from jaxdiff import parallel
from jaxdiff.config.ranges import Section, flags_of

Parsed = TypeVar('Parsed', bound=Section)

# Sections whose fields are also flags of other commands.
_SHORTENED = ('sampling.', 'data.', 'parallel.')
_ADVICE = {
  errno.ENOSPC: 'free some space, then the same command continues',
  errno.EDQUOT: 'free some space, then the same command continues',
  errno.EFBIG: 'lift the limit on sizes of files; the same command continues',
  errno.EACCES: 'change its permissions, or name another folder',
  errno.EPERM: 'change its permissions, or name another folder',
  errno.EROFS: 'name a folder that is not read-only',
}


def run(main: Callable[[], None]) -> None:
  """Runs the main function of a script; its last line is the last of all."""
  # An error in a library's thread is raised where it is waited for.
  threading.excepthook = lambda _: None
  for library in ('absl', 'asyncio', 'gcsfs'):
    logging.getLogger(library).setLevel(logging.CRITICAL)
  # A name may have characters that the terminal or the log has not.
  for stream in (sys.stdout, sys.stderr):
    if isinstance(stream, io.TextIOWrapper):
      stream.reconfigure(errors='backslashreplace')
  try:
    main()
  except SystemExit as error:
    if not error.code:
      raise
    code = error.code
    from jaxdiff.parallel.peers import end

    end(*(code, 1) if isinstance(code, str) else ('', code))


@contextlib.contextmanager
def ending(name: str) -> Iterator[Callable[[Parsed], Parsed]]:
  """Ends the script `name` with one line, its last, instead of a traceback.

  The other processes of a job are told, so that they end too.

  Yields:
    A function that is given the parsed command, and returns it: the line then
    names no flag that this command lacks.
  """
  known: set[str] = set()

  def parsed(command: Parsed) -> Parsed:
    known.update(flags_of(command))
    return command

  try:
    yield parsed
  except KeyboardInterrupt:
    parallel.fail(f'{name}: interrupted; the same command continues', 130)
  except Exception as error:
    message = _message(error)
    if message is None:
      raise
    parallel.fail(f'{name}: {own_flags(message, known)}')
  parallel.leave()


def own_flags(text: str, known: Set[str]) -> str:
  """Calls the flags in a message as the command at hand does.

  Of --sampling.sampler, sample.py has --sampler and a sweep --samplers. What it
  has not is of the run: --diffusion.process becomes diffusion.process. The
  flags of another command's whole line stay.

  Args:
    text: the message.
    known: the flags of the command; without any, the message stays.
  """

  def own(found: re.Match[str]) -> str:
    flag, section, name = found[0], found[1] or '', found[2]
    if {flag, f'--{section}{name.removeprefix("no-")}'} & known:
      return flag
    if section in ('', *_SHORTENED):
      for short in (f'--{name}', f'--{name}s'):
        if short in known:
          return short
    if section:
      return flag[2:]
    longer = [x for x in known if x.endswith(f'.{name}')]
    return longer[0] if len(longer) == 1 else flag

  if not known:
    return text
  line, python, rest = text.partition('python ')
  line = re.sub(r'--([a-z]+\.)?([a-z][a-z0-9-]*[a-z0-9])', own, line)
  return line + python + rest


def _message(error: Exception) -> str | None:
  """Returns what to tell a user; None for an error of the program."""
  text = str(error)
  if isinstance(error, jax.errors.JaxRuntimeError):
    if 'RESOURCE_EXHAUSTED' not in text:
      return None
    return f'out of memory, use a smaller batch: {text.splitlines()[0]}'
  if isinstance(error, MemoryError):
    return 'out of memory: use a smaller batch, or a machine with more memory'
  if isinstance(error, RuntimeError):
    # From `Path.home` and `expanduser`.
    known = 'home directory' in text
    return f'{text} Set HOME, or give full paths.' if known else None
  # Clients of buckets have errors of their own.
  bucket = type(error).__module__.startswith(('aiohttp.', 'gcsfs.', 'google.'))
  if not bucket and not isinstance(error, ValueError | OSError):
    return None
  advice = _ADVICE.get(getattr(error, 'errno', None))
  return f'{text}: {advice}' if advice else text
