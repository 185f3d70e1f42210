"""Traces of what the devices do in some steps, for xprof."""

import shutil
import tempfile
from pathlib import Path
from typing import Any

import jax

from jaxdiff import files


class Trace:
  """The trace of a run into WORKDIR/profile; it ends with the context.

  Args:
    workdir: of the run, from `files.as_path`.
    steps: between which it is taken, (start, stop); None for no trace. Where a
      program takes several, it is taken of the first that reaches start.
  """

  def __init__(self, workdir: Path, steps: tuple[int, int] | None):
    self._target = workdir / 'profile'
    self._start, self._stop = steps or (0, 0)
    self._folder: Path | None = None  # while it is taken
    self._last: int | None = None  # step at which `at` was called

  def at(self, step: int, results: Any = None) -> None:
    """Begins or ends the trace after a step.

    Args:
      step: the number of steps that were started.
      results: of the newest, to be waited for.
    """
    last, self._last = self._last, step
    before = (step if last is None else last) < self._stop
    if self._folder is None and self._start <= step and before:
      jax.block_until_ready(results)
      local = files.is_local(self._target)
      self._folder = self._target if local else Path(tempfile.mkdtemp())
      options = jax.profiler.ProfileOptions()
      options.python_tracer_level = 0  # calls of Python slow the steps down
      jax.profiler.start_trace(self._folder, profiler_options=options)
    elif self._folder is not None and step >= self._stop:
      jax.block_until_ready(results)
      self._end()

  def __enter__(self) -> 'Trace':
    return self

  def __exit__(self, *_: object) -> None:
    if self._folder is not None:
      self._end()

  def _end(self) -> None:
    jax.profiler.stop_trace()
    folder, self._folder = self._folder, None
    if folder == self._target:
      return
    for file in files.below(folder):
      target = self._target / file.relative_to(folder).as_posix()
      files.save(target, lambda part, file=file: shutil.copy(file, part))
    shutil.rmtree(folder)
