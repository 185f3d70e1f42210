"""Trackers of experiments: TensorBoard, Weights & Biases, Trackio.

A tracker is a function (workdir, first, settings) -> Tracker. `first` is the
step that the run goes on from, `settings` the content of config.json. They get
what metrics.jsonl has, and that file stays the record of a run.
"""

import contextlib
import importlib
import os
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from jaxdiff import files
from jaxdiff.runs.logs import UNTRACKED, Tracker


def none() -> Tracker:
  """Tracks nothing."""
  return UNTRACKED


def tensorboard(workdir: str, first: int) -> Tracker:
  """Writes TensorBoard's event files into the workdir."""
  writers: list[Any] = []

  def add(values: Mapping[str, float], step: int) -> None:
    if not writers:
      # Only now: it imports torch where that is installed, more than a second
      # of the time to the first step.
      from tensorboardX import SummaryWriter

      writers.append(SummaryWriter(logdir=workdir, purge_step=first + 1))
    for name, x in values.items():
      writers[0].add_scalar(name, x, step)

  def close() -> None:
    # metrics.jsonl has the same, and its errors are raised.
    with contextlib.suppress(OSError):
      for writer in writers:
        writer.close()

  return Tracker(add, close)


def wandb(workdir: str, settings: Mapping[str, Any]) -> Tracker:
  """Logs to Weights & Biases; WANDB_MODE=offline needs no network.

  A run that was interrupted goes on as the same run. The environment's
  WANDB_PROJECT is used, or 'jaxdiff'.
  """
  module = _imported('wandb')
  try:
    run = module.init(
      dir=workdir if files.is_local(files.as_path(workdir)) else None,
      project=os.environ.get('WANDB_PROJECT', 'jaxdiff'),
      name=os.environ.get('WANDB_NAME', workdir),
      config=dict(settings),
      resume='auto',
    )
  except module.errors.Error as error:
    raise ValueError(f'{error} WANDB_MODE=offline needs no account') from error
  return Tracker(lambda values, step: run.log(values, step=step), run.finish)


def trackio(workdir: str, settings: Mapping[str, Any]) -> Tracker:
  """Logs to Trackio, on this machine; `trackio show` is its dashboard.

  A workdir is one run there. The environment's TRACKIO_PROJECT is used, or
  'jaxdiff'.
  """
  run = _imported('trackio').init(
    project=os.environ.get('TRACKIO_PROJECT', 'jaxdiff'),
    name=workdir,
    config=dict(settings),
    resume='allow',
  )
  return Tracker(lambda values, step: run.log(values, step=step), run.finish)


def _imported(name: str) -> ModuleType:
  try:
    return importlib.import_module(name)
  except ImportError as error:
    raise ValueError(f'needs the package: pip install {name}') from error
