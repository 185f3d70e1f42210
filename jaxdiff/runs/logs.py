"""The record of a run: `metrics.jsonl`, a tracker, and a progress bar."""

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from tqdm import tqdm

from jaxdiff import files, parallel
from jaxdiff.checks import whole


class Tracker(NamedTuple):
  """Functions that a run calls: `add` at every interval, `close` at its end."""

  add: Callable[[Mapping[str, float], int], None] = lambda values, step: None
  close: Callable[[], None] = lambda: None


UNTRACKED = Tracker()


class NonFiniteLossError(ValueError):
  """The loss or the gradient became nan or infinite."""


class Log:
  """Collects the metrics of steps on the device; reads them seldom.

  Fetching a value waits for its step, so metrics stay where they are until
  `flush` takes a whole interval, checks it and writes its mean.

  Args:
    workdir: where metrics.jsonl goes.
    first: the step the run goes on from; later lines, written by a run that
      was killed after its last checkpoint, are dropped.
    total: the step it ends at.
    batch_size: for examples a second.
    write: False on all processes but one.
    tracker: is given the same values, see `runs.trackers`.
    started: when the run was started first, `time.time()`.

  Attributes:
    least: seconds of a step at the chips' peak; None where it is not known.
  """

  def __init__(
    self,
    workdir: str | os.PathLike[str],
    first: int,
    total: int,
    batch_size: int,
    write: bool = True,
    tracker: Tracker = UNTRACKED,
    *,
    started: float | None = None,
  ):
    self._path = files.as_path(workdir) / 'metrics.jsonl'
    self._batch_size, self._write = batch_size, write
    self._pending: list[tuple[int, Any]] = []
    self._tracker = tracker
    self._started = time.time() if started is None else started
    self.least: float | None = None
    self._seconds = 0.0  # of steps that count
    self._opened = self._since = time.monotonic()
    self._compiled: int | None = None  # steps of the call that compiles
    if write:
      kept = [m for m in read_metrics(self._path) if m['step'] <= first]
      self._seconds = sum(m.get('seconds', 0.0) for m in kept)
      lines = ''.join(json.dumps(m) + '\n' for m in kept)
      files.write_text(lines, self._path)
    self._bar = tqdm(
      total=total,
      initial=first,
      desc='training',
      unit='step',
      dynamic_ncols=True,
      disable=not write,
    )

  def add(self, step: int, metrics: Mapping[str, jax.Array]) -> None:
    """Finished (or still running) steps, counted from 1.

    Args:
      step: the last of them.
      metrics: of one step scalars, of n steps [n].
    """
    self._pending.append((step, metrics))
    self._bar.update(metrics['loss'].size)
    if self._compiled is None:
      jax.block_until_ready(metrics)
      self._compiled = metrics['loss'].size
      self._since = time.monotonic()

  @contextlib.contextmanager
  def paused(self) -> Iterator[None]:
    """Leaves the time of what is no step out; all steps must be done."""
    before = time.monotonic()
    yield
    self._since += time.monotonic() - before

  @property
  def goodput(self) -> str:
    """Says which share of the time since the first start went into steps."""
    total = max(time.time() - self._started, self._seconds)
    return (
      f'{100 * self._seconds / max(total, 1e-9):.1f} %: steps that count took '
      f'{self._seconds:,.1f} of {total:,.1f} s since the first start'
    )

  def flush(self) -> None:
    """Writes the mean of all that was added since.

    Raises:
      NonFiniteLossError: names the first step whose loss or gradient is not
        finite.
    """
    if not self._pending:
      return
    ends, metrics = zip(*self._pending, strict=True)
    self._pending = []
    metrics = jax.device_get(metrics)
    values = {k: np.hstack([m[k] for m in metrics]) for k in metrics[0]}
    last, num = ends[-1], len(values['loss'])
    finite = np.all(np.isfinite(list(values.values())), axis=0)
    if not finite.all():
      i = int(np.argmin(finite))
      shown = ', '.join(f'{k} = {x[i]:g}' for k, x in values.items())
      raise NonFiniteLossError(
        f'step {last - num + 1 + i}: {shown}. A lower optimizer.learning-rate, '
        'a smaller optimizer.clip-norm or a longer warm-up may help'
      )
    row = {k: float(np.mean(x)) for k, x in values.items()}
    row |= self._timed(num)
    row = {'step': last, **row}
    speed = row['examples_per_second']
    if not self._write:
      return
    files.append(self._path, json.dumps(row) + '\n')
    self._tracker.add({k: x for k, x in row.items() if k != 'step'}, last)
    self._bar.set_postfix_str(
      f'loss {row["loss"]:.4f}, {speed:,.0f} examples/s'
    )

  def _timed(self, num: int) -> dict[str, float]:
    """Returns what is to be said of the time of `num` steps.

    The first call, which compiles, is not timed, and has the mean of the rest.
    """
    now, timed = time.monotonic(), num - self._compiled
    step = (now - self._since) / timed if timed else 0.0
    self._seconds += step * num
    pace = step or (now - self._opened) / num
    self._since, self._compiled = now, 0
    speed, hosts = self._batch_size / pace, parallel.process()[1]
    total = max(time.time() - self._started, self._seconds)
    return {
      'examples_per_second': speed,
      **({'examples_per_second_per_host': speed / hosts} if hosts > 1 else {}),
      **({'model_flops_utilization': self.least / pace} if self.least else {}),
      'seconds': step * num,
      'goodput': self._seconds / total,
    }

  def measured(self, step: int, values: Mapping[str, float]) -> None:
    """Shows what was measured on samples at a step; its file is elsewhere."""
    if not self._write or not values:
      return
    named = {f'evaluation/{k}': x for k, x in values.items()}
    self._tracker.add(named, step)
    shown = ', '.join(f'{name} {x:.4g}' for name, x in values.items())
    self._bar.write(f'step {step}: {shown}')

  def __enter__(self) -> 'Log':
    return self

  def __exit__(self, *_: object) -> None:
    self._bar.close()
    self._tracker.close()


def save_loss_curve(workdir: str | os.PathLike[str]) -> Path:
  """Draws the loss of metrics.jsonl over steps, with its running median."""
  # Half a second to import, and only here.
  import matplotlib.figure

  workdir = files.as_path(workdir)
  metrics, path = read_metrics(workdir / 'metrics.jsonl'), workdir / 'loss.png'
  steps = np.array([m['step'] for m in metrics])
  loss = np.array([m['loss'] for m in metrics])
  figure = matplotlib.figure.Figure(figsize=(7, 4), layout='constrained')
  axes = figure.subplots()
  axes.plot(steps, loss, color='0.75', linewidth=1, label='each log interval')
  window = max(1, len(loss) // 20)
  if window > 1:
    median = [
      np.median(loss[max(0, i - window) : i + window + 1])
      for i in range(len(loss))
    ]
    axes.plot(steps, median, color='C0', label='running median')
    axes.legend(frameon=False)
  # A log likelihood of real numbers may be positive.
  scale = 'log' if (loss > 0).all() else 'linear'
  axes.set(xlabel='step', ylabel='loss', yscale=scale)
  axes.grid(alpha=0.3)
  files.save(path, lambda file: figure.savefig(file, dpi=120))
  return path


def read_metrics(path: str | os.PathLike[str]) -> list[dict[str, float]]:
  """Reads the lines of a metrics.jsonl, but for a last one cut by a kill.

  Raises:
    ValueError: a line is damaged; the message names it.
  """
  path = files.as_path(path)
  lines = path.read_bytes().split(b'\n') if path.exists() else [b'']
  rows = []
  # After the last end of line there is nothing, or what was cut.
  for number, line in enumerate(lines[:-1], 1):
    try:
      row = json.loads(line)
      whole('step', row['step'], 0)
      if not {*map(type, row.values())} <= {int, float} or 'loss' not in row:
        raise ValueError('these are no metrics')
      rows.append(row)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
      raise ValueError(
        f'{path} line {number} is damaged: delete that line'
      ) from None
  return rows
