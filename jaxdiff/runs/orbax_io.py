"""One checkpoint by Orbax: written in the background under a seal, and read.

A local one is written under another name, and renamed at the end. In a bucket,
where nothing can be renamed, it gets a file at the end that marks it as whole.

Orbax's interface v1 has no place for the seal. `v1.save_async` never calls
`post_finalization_callback` (0.12.8, the newest on 2026-11-28, and 0.11.30).
`v1.training.Checkpointer` calls it before the commit, for it still saves by v0
within; its documentation promises a call "after the async save operation is
complete". `v1.load` reads what is written here.
"""

import errno
import os
import re
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxdiff import files, parallel
from jaxdiff.runs import seals
from jaxdiff.runs.leaves import (
  differences,
  from_arrays,
  named_leaves,
  note_of,
  to_arrays,
)

# Orbax takes half a second to import, so only what needs it imports it.

_NAMED = 4  # leaves that an error lists, of possibly thousands
_UNFINISHED = '.orbax-checkpoint-tmp'
_MARK = 'commit_success.txt'
# Orbax writes the time into these after the seal; restoring ignores them.
_UNSEALED = ('_CHECKPOINT_METADATA', _MARK)


class SaveError(OSError):
  """A checkpoint could not be saved."""


def finished(root: Path) -> list[int]:
  """Returns the steps of the checkpoints in a folder, in increasing order."""
  found = root.iterdir() if root.is_dir() else ()
  return sorted(
    int(path.name)
    for path in found
    if path.name.isdigit()
    and (path.is_dir() if files.is_local(path) else (path / _MARK).exists())
  )


def unfinished(root: Path) -> list[Path]:
  """Lists what interrupted saves, or one that is running, have written."""
  if files.is_local(root):
    return sorted(root.glob(f'*{_UNFINISHED}*'))
  found = (path for path in root.glob('*') if path.name.isdigit())
  return sorted(path for path in found if not (path / _MARK).exists())


def remove(directory: Path) -> None:
  """Removes a checkpoint; one of which a part is left is not finished."""
  if files.is_local(directory):
    part = directory.with_name(f'{directory.name}{_UNFINISHED}-removed')
    directory = directory.rename(part)
  else:
    (directory / _MARK).unlink(missing_ok=True)
  files.remove(directory)


def remove_unfinished(root: Path) -> None:
  """Removes what interrupted saves have left.

  Other threads of a save that has failed may still write: it is tried again
  while a folder is not empty.
  """
  tries = 100
  for path in unfinished(root):
    for left in reversed(range(tries)):
      try:
        files.remove(path)
        break
      except OSError as error:
        if error.errno != errno.ENOTEMPTY or not left:
          raise
        time.sleep(0.1)


class _Saved(NamedTuple):
  """A checkpoint, as Orbax's policies see one."""

  step: int
  metrics: None = None
  time: datetime = datetime.min


def superfluous(
  steps: Sequence[int], max_to_keep: int, keep_every: int | None
) -> list[int]:
  """Returns the steps that Orbax's policies do not preserve.

  Args:
    steps: all that are saved, in increasing order.
    max_to_keep: how many of the newest stay.
    keep_every: steps divisible by this stay as well.
  """
  from orbax.checkpoint import checkpoint_managers as policies

  chosen = [policies.LatestN(max_to_keep)]
  if keep_every is not None:
    chosen.append(policies.EveryNSteps(keep_every))
  preserved = policies.AnyPreservationPolicy(chosen).should_preserve(
    [_Saved(step) for step in steps], context=policies.PreservationContext()
  )
  return [n for n, stays in zip(steps, preserved, strict=True) if not stays]


class OrbaxIO:
  """Reads checkpoints, and writes one at a time."""

  def __init__(self):
    self._orbax: Any = None
    self._thread = ThreadPoolExecutor(1)
    self._begun: Future[None] | None = None
    self._saving: Path | None = None
    self._note: dict[str, Any] = {}

  @property
  def saving(self) -> bool:
    """Tells whether a save has begun that `wait` has not waited for."""
    return self._saving is not None

  def save(self, directory: Path, state: Any) -> None:
    """Copies `state` to the host, and writes it in the background.

    Raises:
      TypeError: a leaf of `state` is not an array.
    """
    import orbax.checkpoint as ocp

    copied = parallel.host_copy(to_arrays(state))
    self._saving = directory

    # Orbax prepares each leaf in Python, and processes wait for one another.
    # That takes longer than the copy, so a thread does it.
    def begin() -> None:
      self._note = note_of(state)
      self._checkpointer().save(directory, args=ocp.args.PyTreeSave(copied))

    self._begun = self._thread.submit(begin)

  def wait(self) -> None:
    """Waits for the save in progress.

    Raises:
      SaveError: it failed.
    """
    if self._saving is None:
      return
    try:
      if self._begun is not None:
        self._begun.result()
      self._checkpointer().wait_until_finished()
      if parallel.is_primary():  # an Orbax without the callback would be silent
        seals.read_note(self._saving)
    except Exception as error:
      raise self._save_error(self._saving, error) from error
    self._saving = None

  def close(self) -> None:
    """Ends the threads."""
    self._thread.shutdown()
    if self._orbax is not None:
      self._orbax.close()
      self._orbax = None

  def read(self, directory: Path, abstract_state: Any, partial: bool) -> Any:
    """Reads a checkpoint; see `Checkpoints.restore`."""
    import orbax.checkpoint as ocp

    def restore_args(leaf: Any) -> Any:
      sharding = getattr(leaf, 'sharding', None)
      if sharding is None:
        return ocp.RestoreArgs(restore_type=np.ndarray)
      return ocp.ArrayRestoreArgs(sharding=sharding)

    note = seals.read_note(directory)
    differing = differences(note, abstract_state, partial)
    if differing:
      more = len(differing) - _NAMED
      listed = '; '.join(differing[:_NAMED]) + f' and {more} more' * (more > 0)
      raise ValueError(
        f'{directory} holds another state than the one asked for: {listed}'
      )
    leaves = named_leaves(abstract_state)
    # By itself: one that fails would leave the others waiting for it.
    index, _ = parallel.process()
    alone = ocp.options.MultiprocessingOptions(
      primary_host=index,
      active_processes={index},
      barrier_sync_key_prefix=f'read{index}',
    )
    handler = ocp.PyTreeCheckpointHandler(multiprocessing_options=alone)
    restore = ocp.args.PyTreeRestore(
      item={name: 0 for name in leaves},
      restore_args={n: restore_args(leaf) for n, leaf in leaves.items()},
      partial_restore=partial,
    )
    with ocp.Checkpointer(handler, multiprocessing_options=alone) as reader:
      try:
        arrays = reader.restore(directory, args=restore)
      except OSError:
        raise
      except Exception as error:  # it may be of any type, `Exception` too
        text = str(error.__cause__ or error).partition('\n')[0]
        raise OSError(f'{directory} could not be read: {text}') from error
    return from_arrays(arrays, note, abstract_state)

  def _checkpointer(self) -> Any:
    import orbax.checkpoint as ocp

    if self._orbax is None:
      # With their numbers processes meet at the coordinator. Without, at a sum
      # over all devices, which would come between those of a step.
      _, num = parallel.process()
      together = ocp.options.MultiprocessingOptions(
        primary_host=0, active_processes=set(range(num))
      )
      # Not its CheckpointManager, which quietly declines any step up to the
      # newest on disk: after falling back, just the ones to be saved.
      self._orbax = ocp.AsyncCheckpointer(
        ocp.PyTreeCheckpointHandler(multiprocessing_options=together),
        async_options=ocp.AsyncOptions(post_finalization_callback=self._seal),
        multiprocessing_options=together,
      )
    return self._orbax

  def _seal(self) -> None:
    """Orbax's thread calls this on process 0, just before the rename."""
    path = self._saving
    if files.is_local(path):
      (path,) = path.parent.glob(f'{path.name}{_UNFINISHED}*')
    seals.seal(path, self._note, skip=_UNSEALED)

  def _save_error(self, directory: Path, error: Exception) -> SaveError:
    # A checkpointer that has failed to write its metadata would raise that
    # again at every later call, though the disk may have space by then.
    self._saving = self._orbax = self._begun = None
    text = ' '.join(str(error).split())
    system = re.search(r'os_error_code=.(\d+)', text)
    number = int(system[1]) if system else getattr(error, 'errno', None)
    found = SaveError(
      f'checkpoint {directory} could not be saved, older ones are whole: '
      + (os.strerror(number) if number else f'{type(error).__name__}: {text}')
    )
    found.errno = number
    return found
