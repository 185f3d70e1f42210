"""Checkpoints: Orbax directories, each under a seal.

    workdir/checkpoints/STEP/            an Orbax checkpoint
    workdir/checkpoints/STEP/seal.json   its leaves and a SHA-256 of each file
    workdir/checkpoints/STEP.damaged/    a damaged one, set aside

Orbax writes into a temporary directory and renames it at the end, so a process
may be killed at any moment. But Orbax restores an array with a flipped byte
without a word. So the directory is sealed just before the rename, and the seal
is checked before anything is restored.

The seal also lists the leaves of the state. So an intact checkpoint of another
network is told from a damaged one: a damaged one is passed over for an older
one, an intact one never is.
"""

import os
import shutil
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxdiff.runs import seals
from jaxdiff.runs.leaves import (
  differences,
  from_arrays,
  named_leaves,
  to_arrays,
)

# Orbax takes half a second to import, so only what needs it imports it.

_UNFINISHED = '.orbax-checkpoint-tmp'
# Orbax writes the time into these after the seal; restoring ignores them.
_UNSEALED = ('_CHECKPOINT_METADATA', 'commit_success.txt')


class DamagedCheckpointError(RuntimeError):
  """All checkpoints that could be restored are damaged."""


class Checkpoints:
  """The checkpoints of one run, on a file system that all processes see.

  Every process of a job makes one and calls its methods in the same order. One
  job at a time may write to a `workdir`; any number may read.

  Use it as a context manager, or call `close`: a save that fails in the
  background is raised by the next `save`, `restore`, `wait` or `close`.

  Args:
    workdir: directory of the run; the first save makes it.
    max_to_keep: how many of the newest checkpoints stay, at least 1.
    keep_every: steps divisible by this stay as well; None for no others.

  Raises:
    ValueError: if `max_to_keep` or `keep_every` is less than 1.
  """

  def __init__(
    self,
    workdir: str | os.PathLike[str],
    *,
    max_to_keep: int = 3,
    keep_every: int | None = None,
  ):
    if max_to_keep < 1:
      raise ValueError(f'max_to_keep must be at least 1, got {max_to_keep}')
    if keep_every is not None and keep_every < 1:
      raise ValueError(f'keep_every must be at least 1, got {keep_every}')
    self._root = Path(workdir).absolute() / 'checkpoints'
    self._max_to_keep = max_to_keep
    self._keep_every = keep_every
    self._orbax = None
    self._saving: tuple[int, dict[str, Any]] | None = None
    self._damaged: set[int] = set()

  def __enter__(self) -> 'Checkpoints':
    return self

  def __exit__(self, *_: object) -> None:
    self.close()

  def steps(self) -> list[int]:
    """Returns the steps on disk in increasing order, damaged ones included."""
    if not self._root.is_dir():
      return []
    found = (p for p in self._root.iterdir() if p.is_dir())
    return sorted(int(p.name) for p in found if p.name.isdigit())

  def save(self, step: int, state: Any) -> None:
    """Copies `state` to the host and writes it in the background.

    The buffers of `state` may be donated as soon as this returns. A save that
    is still being written is waited for first.

    Checkpoints that `restore` passed over are renamed `STEP.damaged`, and what
    an interrupted save left behind is removed.

    Args:
      step: larger than every step saved so far.
      state: tree of jax and numpy arrays, typed PRNG keys among them.

    Raises:
      ValueError: if `step` or a newer one is already saved.
      TypeError: if a leaf of `state` is not an array.
      RuntimeError: if this save could not start, or the one before it failed.
    """
    import orbax.checkpoint as ocp

    self.wait()
    newer = [s for s in self.steps() if s >= step and s not in self._damaged]
    if newer:
      raise ValueError(
        f'step must be larger than every saved step, got {step} while'
        f' {self._path(newer[-1])} exists; move what is newer away, or use'
        ' another workdir'
      )
    arrays, note = to_arrays(state)
    self._saving = step, note
    try:
      if jax.process_index() == 0:
        self._clear_the_way()
      self._checkpointer().save(
        self._path(step), args=ocp.args.PyTreeSave(arrays)
      )
    except Exception as error:
      raise self._save_error(step, error) from error

  def restore(
    self,
    abstract_state: Any,
    step: int | None = None,
    *,
    partial: bool = False,
  ) -> tuple[int, Any] | None:
    """Reads the newest checkpoint that is still what was written.

    Changes nothing on disk, so the directory of a running job may be read. A
    damaged or half-written checkpoint is passed over, with a warning.

    Args:
      abstract_state: tree of `jax.ShapeDtypeStruct`, as from `jax.eval_shape`.
        A leaf with a sharding is restored into it, however it was saved; one
        without stays on the default device. With several processes every leaf
        needs a sharding.
      step: the one to read instead of the newest good one.
      partial: read these leaves alone, of a state that may have more.

    Returns:
      The step and a state like `abstract_state`, or None if nothing is saved.

    Raises:
      FileNotFoundError: if `step` is not saved.
      DamagedCheckpointError: if all that are saved, or the one asked for, are
        damaged; names each.
      ValueError: if the checkpoint's leaves have other names, shapes or dtypes
        than those of `abstract_state`; names each.
      RuntimeError: if the save before this failed.
    """
    self.wait()
    while True:
      saved = self.steps()
      try:
        return self._restore(saved, abstract_state, step, partial)
      except (OSError, ValueError, DamagedCheckpointError):
        # A job that writes here may have removed what was being read.
        if jax.process_count() > 1 or self.steps() == saved:
          raise

  def _restore(
    self,
    saved: list[int],
    abstract_state: Any,
    step: int | None,
    partial: bool,
  ) -> tuple[int, Any] | None:
    if step is not None and step not in saved:
      raise FileNotFoundError(f'no step {step} in {self._root}, only {saved}')
    candidates = saved[::-1] if step is None else [step]
    good, damaged = None, [f'{self._root}: process 0 says which']
    if jax.process_index() == 0:
      good, damaged = self._newest_good(candidates)
    good = _as_process_0_says(good)
    if good is None:
      if not candidates:
        return None
      raise DamagedCheckpointError(
        'no good checkpoint; bring one back from a copy, or move these away to'
        ' start again:\n  ' + '\n  '.join(damaged)
      )
    if step is None:
      self._damaged = {s for s in candidates if s > good}
    return good, self._read(self._path(good), abstract_state, partial)

  def wait(self) -> None:
    """Waits for the save in progress, then drops checkpoints not to be kept.

    Raises:
      RuntimeError: if the save failed; those before it are untouched.
    """
    if self._saving is None:
      return
    step, _ = self._saving
    try:
      self._checkpointer().wait_until_finished()
    except Exception as error:
      raise self._save_error(step, error) from error
    self._saving = None
    # Older ones go only now that the newer one is known to be on the disk.
    if jax.process_index() == 0:
      for old in self.steps()[: -self._max_to_keep]:
        if self._keep_every is None or old % self._keep_every:
          shutil.rmtree(self._path(old))

  def close(self) -> None:
    """Waits for the save in progress and ends Orbax's threads.

    Raises:
      RuntimeError: if the save failed.
    """
    try:
      self.wait()
    finally:
      if self._orbax is not None:
        self._orbax.close()
        self._orbax = None

  def _path(self, step: int) -> Path:
    return self._root / str(step)

  def _checkpointer(self):
    import orbax.checkpoint as ocp

    if self._orbax is None:
      # Not its CheckpointManager, which quietly declines any step up to the
      # newest on disk: after falling back, just the ones to be saved.
      self._orbax = ocp.AsyncCheckpointer(
        ocp.PyTreeCheckpointHandler(),
        async_options=ocp.AsyncOptions(post_finalization_callback=self._seal),
      )
    return self._orbax

  def _seal(self) -> None:
    """Orbax's thread calls this on process 0, just before its rename."""
    step, note = self._saving
    (directory,) = self._root.glob(f'{step}{_UNFINISHED}*')
    seals.seal(directory, note, skip=_UNSEALED)

  def _clear_the_way(self) -> None:
    self._root.mkdir(parents=True, exist_ok=True)
    for step in sorted(self._damaged):
      aside = self._root / f'{step}.damaged'
      if aside.exists():
        shutil.rmtree(aside)
      self._path(step).rename(aside)
      _warn(f'damaged checkpoint {self._path(step)} is now {aside}')
    self._damaged = set()
    for path in self._root.glob(f'*{_UNFINISHED}*'):
      shutil.rmtree(path)

  def _save_error(self, step: int, error: Exception) -> RuntimeError:
    # A checkpointer that has failed to write its metadata would raise that
    # again at every later call, though the disk may have space by then.
    self._saving = self._orbax = None
    return RuntimeError(
      f'checkpoint {self._path(step)} could not be saved:'
      f' {type(error).__name__}: {error}\nSaved so far: {self.steps()}'
    )

  def _newest_good(
    self, candidates: Sequence[int]
  ) -> tuple[int | None, list[str]]:
    """The first candidate without damage, and what is wrong with the others."""
    for path in sorted(self._root.glob(f'*{_UNFINISHED}*')):
      _warn(
        f'half-written checkpoint {path} is not used: its save was interrupted,'
        ' or is still running'
      )
    damaged = []
    for step in candidates:
      damage = next(seals.damages(self._path(step)), None)
      if damage is None:
        for line in damaged:
          _warn(f'damaged checkpoint, {step} is used instead: {line}')
        return step, damaged
      damaged.append(f'{self._path(step)}: {damage}')
    return None, damaged

  def _read(self, directory: Path, abstract_state: Any, partial: bool) -> Any:
    import orbax.checkpoint as ocp

    def restore_args(leaf):
      sharding = getattr(leaf, 'sharding', None)
      if sharding is None:
        return ocp.RestoreArgs(restore_type=np.ndarray)
      return ocp.ArrayRestoreArgs(sharding=sharding)

    note = seals.read_note(directory)
    differing = differences(note, abstract_state, partial)
    if differing:
      raise ValueError(
        f'{directory} holds another state than the one asked for:\n  '
        + '\n  '.join(differing)
      )
    leaves = named_leaves(abstract_state)
    arrays = self._checkpointer().restore(
      directory,
      args=ocp.args.PyTreeRestore(
        item={name: 0 for name in leaves},
        restore_args={n: restore_args(leaf) for n, leaf in leaves.items()},
        partial_restore=partial,
      ),
    )
    return from_arrays(arrays, note, abstract_state)


def _as_process_0_says(step: int | None) -> int | None:
  """The same in every process, though one alone has looked."""
  if jax.process_count() == 1:
    return step
  from jax.experimental import multihost_utils

  code = np.int32(-1 if step is None else step)
  code = int(multihost_utils.broadcast_one_to_all(code))
  return None if code < 0 else code


def _warn(message: str) -> None:
  warnings.warn(message, RuntimeWarning, stacklevel=4)
