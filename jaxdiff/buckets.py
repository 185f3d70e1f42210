"""Buckets: gs:// by epath and gcsfs, and locks that are objects in them.

Where there is no flock there is a lease. Its holder writes a new number into
the object every few seconds. Whoever finds an object watches it: one that
changes is held, and one that does not change for `SECONDS` was left by a
process that is gone. No clocks are compared.
"""

import contextlib
import functools
import importlib.util
import os
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

SECONDS = 20.0
RENEWAL = 4.0
SETTLING = 2.0  # the longest time between the read and the write of `_take`


def as_path(text: str) -> Path:
  """Returns epath's path of gs://BUCKET/..., which has pathlib's methods.

  Raises:
    ValueError: gcsfs is not installed.
    OSError: the bucket cannot be reached.
  """
  _open(text.removeprefix('gs://').partition('/')[0])
  from etils import epath

  return epath.Path(text)


@functools.cache
def _open(bucket: str) -> None:
  """Prepares gcsfs, and lists the bucket once to find it."""
  if importlib.util.find_spec('gcsfs') is None:
    raise ValueError(f"gs://{bucket} needs gcsfs: pip install 'jaxdiff[gcs]'")
  os.environ['EPATH_USE_TF'] = 'false'  # not another client if it is installed
  import fsspec
  from etils import epath

  # Other processes write there, too.
  fsspec.config.conf.setdefault('gs', {})['use_listings_cache'] = False
  try:
    list(epath.Path(f'gs://{bucket}').iterdir())
  except FileNotFoundError:
    raise FileNotFoundError(f'there is no bucket gs://{bucket}') from None
  except Exception as error:  # of gcsfs, aiohttp or google.auth
    raise OSError(f'gs://{bucket} cannot be reached: {error}') from error


def below(folder: Path) -> list[Path]:
  """Lists the objects below a folder, sorted."""
  # epath forgets the gs:// of what it walks through.
  whole = lambda path: as_path('gs://' + os.fspath(path).removeprefix('gs://'))
  found = [whole(p) / name for p, _, names in folder.walk() for name in names]
  return sorted(found)


@contextlib.contextmanager
def held(path: Path) -> Iterator[None]:
  """Holds a lease; the process ends if another one takes it all the same.

  Raises:
    BlockingIOError: another process holds it.
  """
  name = uuid.uuid4().hex
  _take(path, name)
  done = threading.Event()
  thread = threading.Thread(target=_renew, args=(path, name, done), daemon=True)
  thread.start()
  try:
    yield
  finally:
    done.set()
    thread.join()
    path.unlink(missing_ok=True)


def _read(path: Path) -> str:
  try:
    return path.read_text()
  except FileNotFoundError:
    return ''


def _take(path: Path, name: str) -> None:
  found, since = _read(path), time.monotonic()
  while found and time.monotonic() - since < SECONDS:
    time.sleep(SETTLING / 4)
    before, found = found, _read(path)
    if found not in (before, ''):
      raise BlockingIOError(f'{path} is held by another process')
  # Of several that come here at once the last to write has it.
  path.write_text(f'{name} 0')
  time.sleep(SETTLING)
  if not _read(path).startswith(name):
    raise BlockingIOError(f'{path} was taken by another process')


def _renew(path: Path, name: str, done: threading.Event) -> None:
  """Writes new numbers; ends the process if the lease is not its own."""
  last = time.monotonic()
  number, reason = 0, ''
  while not done.wait(RENEWAL):
    try:
      if not _read(path).startswith(name):
        reason = 'another process has taken it'
        break
      number += 1
      path.write_text(f'{name} {number}')
      last = time.monotonic()
    except Exception as error:  # of gcsfs, aiohttp or google.auth
      if time.monotonic() - last > SECONDS / 2:
        reason = f'it could not be renewed: {error}'
        break
  if reason:
    print(f'\n{path} is lost, {reason}', file=sys.stderr, flush=True)
    os._exit(1)
