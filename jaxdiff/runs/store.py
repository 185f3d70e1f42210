"""Checkpoints: Orbax directories, each under a seal.

    workdir/checkpoints/STEP/            an Orbax checkpoint
    workdir/checkpoints/STEP/seal.json   its leaves and a SHA-256 of each file
    workdir/checkpoints/STEP.damaged/    a damaged one, set aside

Orbax writes into a temporary directory and renames it at the end, or in a
bucket marks it, so a process may be killed at any moment. But Orbax restores an
array with a flipped byte without a word. So the directory is sealed just before
the rename, and the seal is checked before anything is restored.

The seal also lists the leaves of the state. So an intact checkpoint of another
network is told from a damaged one: a damaged one is passed over for an older
one, an intact one never is.
"""

import json
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxdiff import files, parallel
from jaxdiff.runs import orbax_io, seals


class DamagedCheckpointError(ValueError):
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
    self._root = files.absolute(workdir) / 'checkpoints'
    self._max_to_keep = max_to_keep
    self._keep_every = keep_every
    self._io = orbax_io.OrbaxIO()
    self._damaged: set[int] = set()

  def __enter__(self) -> 'Checkpoints':
    return self

  def __exit__(self, *_: object) -> None:
    self.close()

  def steps(self) -> list[int]:
    """Returns the steps on disk in increasing order, damaged ones included."""
    return orbax_io.finished(self._root)

  def save(self, step: int, state: Any) -> None:
    """Copies `state` to the host and writes it in the background.

    The buffers of `state` may be donated as soon as this returns. A save that
    is still being written is waited for first.

    Checkpoints that `restore` passed over are renamed `STEP.damaged`, and what
    an interrupted save left behind is removed.

    Args:
      step: larger than every step saved so far.
      state: tree of jax arrays, typed PRNG keys among them; in a job of one
        process numpy arrays too.

    Raises:
      ValueError: if `step` or a newer one is already saved.
      TypeError: if a leaf of `state` is not an array.
      SaveError: if this save could not start, or the one before it failed.
    """
    self.wait()
    newer = [s for s in self.steps() if s >= step and s not in self._damaged]
    if newer:
      raise ValueError(
        f'step must be larger than every saved step, got {step} while'
        f' {self._path(newer[-1])} exists; move what is newer away, or use'
        ' another workdir'
      )
    if parallel.is_primary():
      self._clear_the_way()
    self._io.save(self._path(step), state)

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
      SaveError: if the save before this failed.
    """
    self.wait()
    while True:
      saved, problem = self._agreed_steps(), None
      try:
        found = self._restore(saved, abstract_state, step, partial)
      except (OSError, ValueError) as error:
        problem = error
      if not parallel.any_process(problem is not None):
        return found
      # A job that writes here may have removed what was being read.
      if self._agreed_steps() == saved:
        raise problem or OSError(f'{self._root}: another process says why')
      _warn(f'what was read in {self._root} was removed meanwhile: once more')

  def _agreed_steps(self) -> list[int]:
    """Returns the steps that process 0 finds."""
    return json.loads(parallel.gather_texts(json.dumps(self.steps()))[0])

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
    problem = None
    if parallel.is_primary():
      try:
        good, damaged = self._newest_good(candidates)
      except OSError as error:
        problem = error
    if parallel.any_process(problem is not None):
      raise problem or OSError(f'{self._root}: process 0 says why')
    found = parallel.from_first(-1 if good is None else good)
    good = None if found < 0 else found
    if good is None:
      if not candidates:
        return None
      raise DamagedCheckpointError(
        'no good checkpoint; bring one back from a copy, or move these away to'
        ' start again: ' + '; '.join(damaged)
      )
    if step is None:
      self._damaged = {s for s in candidates if s > good}
    return good, self._io.read(self._path(good), abstract_state, partial)

  def wait(self) -> None:
    """Waits for the save in progress, then drops checkpoints not to be kept.

    Raises:
      SaveError: if the save failed; those before it are untouched.
    """
    if not self._io.saving:
      return
    self._io.wait()
    # Older ones go only now that the newer one is known to be on the disk.
    if parallel.is_primary():
      for old in orbax_io.superfluous(
        self.steps(), self._max_to_keep, self._keep_every
      ):
        orbax_io.remove(self._path(old))

  def close(self) -> None:
    """Waits for the save in progress and ends Orbax's threads.

    Raises:
      SaveError: if the save failed.
    """
    try:
      self.wait()
    finally:
      self._io.close()

  def _path(self, step: int) -> Path:
    return self._root / str(step)

  def _clear_the_way(self) -> None:
    self._root.mkdir(parents=True, exist_ok=True)
    for step in sorted(self._damaged):
      aside = self._root / f'{step}.damaged'
      if aside.exists():
        files.remove(aside)
      self._path(step).rename(aside)
      _warn(f'damaged checkpoint {self._path(step)} is now {aside}')
    self._damaged = set()
    orbax_io.remove_unfinished(self._root)

  def _newest_good(
    self, candidates: Sequence[int]
  ) -> tuple[int | None, list[str]]:
    """The first candidate without damage, and what is wrong with the others."""
    for path in orbax_io.unfinished(self._root):
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


def _warn(message: str) -> None:
  warnings.warn(message, RuntimeWarning, stacklevel=4)
