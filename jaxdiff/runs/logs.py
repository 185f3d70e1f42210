"""The record of a run: `metrics.jsonl`, a tracker, and a progress bar."""

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from jaxdiff import files
from jaxdiff.runs.trackers import Tracker, none

NO_TRACKER = none()


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
    batch_size: for images a second.
    write: False on all processes but one.
    tracker: is given the same values.
  """

  def __init__(
    self,
    workdir: str | os.PathLike[str],
    first: int,
    total: int,
    batch_size: int,
    write: bool = True,
    tracker: Tracker = NO_TRACKER,
  ):
    self._path = Path(workdir) / 'metrics.jsonl'
    self._batch_size, self._write = batch_size, write
    self._pending: list[tuple[int, Any]] = []
    self._since = time.monotonic()
    self._tracker = tracker
    if write:
      kept = [m for m in read_metrics(self._path) if m['step'] <= first]
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
    now = time.monotonic()
    speed = num * self._batch_size / (now - self._since)
    self._since = now
    row = {'step': last, **row, 'examples_per_second': speed}
    if not self._write:
      return
    with open(self._path, 'a') as file:
      file.write(json.dumps(row) + '\n')
    self._tracker.add({k: x for k, x in row.items() if k != 'step'}, last)
    self._bar.set_postfix_str(
      f'loss {row["loss"]:.4f}, {speed:,.0f} examples/s'
    )

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

  metrics = read_metrics(Path(workdir) / 'metrics.jsonl')
  path = Path(workdir) / 'loss.png'
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
  scale = 'log' if loss.min() > 0 else 'linear'
  axes.set(xlabel='step', ylabel='loss', yscale=scale)
  axes.grid(alpha=0.3)
  files.save(path, lambda file: figure.savefig(file, dpi=120))
  return path


def read_metrics(path: str | os.PathLike[str]) -> list[dict[str, float]]:
  """Reads the lines of a metrics.jsonl, but for a last one cut by a kill.

  Raises:
    ValueError: a line is damaged; the message names it.
  """
  path = Path(path)
  lines = path.read_bytes().split(b'\n') if path.exists() else [b'']
  rows = []
  # After the last end of line there is nothing, or what was cut.
  for number, line in enumerate(lines[:-1], 1):
    try:
      row = json.loads(line)
      step, loss = int(row['step']), float(row['loss'])
      rows.append({**row, 'step': step, 'loss': loss})
    except (ValueError, TypeError, KeyError, AttributeError):
      raise ValueError(
        f'{path} line {number} is damaged: delete that line'
      ) from None
  return rows
