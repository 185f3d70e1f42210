"""Points: arrays of real numbers, drawn as a scatter plot."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxdiff import files
from jaxdiff.config import Spec
from jaxdiff.modalities import Modality


def make(spec: Spec) -> Modality:
  """Builds the modality of points [D]; the first two coordinates are drawn."""
  del spec
  return Modality(
    unit='point',
    shown=1000,
    element='coordinate',
    suffix='.npz',
    endings=('.png', '.npz'),
    split=lambda drawn: list(np.asarray(drawn.x, np.float32)),
    save=lambda x, path: files.write_npz(path, arr_0=x),
    read=lambda path: files.read_npz(path)['arr_0'],
    gather=_gather,
    strip=_strip,
  )


def _gather(
  points: Sequence[np.ndarray], names: Sequence[str], path: Path
) -> None:
  stacked = np.stack(points)
  if path.suffix == '.npz':
    files.write_npz(path, arr_0=stacked)
    return
  num = max(len(names), 1)
  groups = [stacked[i::num] for i in range(num)]
  _scatter([groups], path, names)


def _strip(path: Any, stem: Path, columns: int = 6) -> Path:
  """Draws the samples at a few times, from noise to data."""
  x = np.asarray(path.x)
  steps = x.shape[1] - 1
  shown = np.linspace(0, steps, min(columns, steps + 1)).round().astype(int)
  file = stem.with_suffix('.png')
  _scatter([[x[:, n]] for n in shown], file)
  return file


def _scatter(
  panels: Sequence[Sequence[np.ndarray]], path: Path, names: Sequence[str] = ()
) -> None:
  """Draws panels side by side, each of groups of points [n, D]."""
  from matplotlib.figure import Figure

  figure = Figure(figsize=(3.2 * len(panels), 3.2), layout='constrained')
  flat = lambda x: x.reshape(len(x), -1)
  last = np.concatenate([flat(x)[:, :2] for x in panels[-1] if len(x)])
  # A few outliers do not decide the frame.
  reach = max(1e-3, 1.3 * float(np.quantile(np.abs(last), 0.99)))
  for axes, groups in zip(
    figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True
  ):
    for i, x in enumerate(groups):
      x = flat(x)
      y = x[:, 1] if x.shape[1] > 1 else np.zeros(len(x))
      label = names[i] if names else None
      axes.scatter(x[:, 0], y, s=4, alpha=0.5, linewidths=0, label=label)
    axes.set(xlim=(-reach, reach), ylim=(-reach, reach), xticks=[], yticks=[])
    axes.set_aspect('equal')
  if names:
    axes.legend(frameon=False, fontsize=7)
  files.save(path, lambda file: figure.savefig(file, dpi=150, format='png'))
