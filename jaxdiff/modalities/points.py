"""Points: arrays of real numbers, drawn as a scatter plot."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxdiff import files
from jaxdiff.config import Spec
from jaxdiff.modalities import Modality, pictures

if TYPE_CHECKING:
  from matplotlib.figure import Figure


def make(spec: Spec) -> Modality:
  """Builds the modality of points [D]; the first two coordinates are drawn."""
  del spec
  return Modality(
    unit='point',
    shown=1000,
    filmed=1000,
    element='coordinate',
    suffix='.npz',
    endings=('.png', '.npz'),
    split=lambda drawn: list(np.asarray(drawn.x, np.float32)),
    save=lambda x, path: files.write_npz(path, arr_0=x),
    read=lambda path: files.read_npz(path)['arr_0'],
    gather=_gather,
    strip=_strip,
    frames=_frames,
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
  _save([groups], path, names)


def _strip(path: Any, stem: Path, columns: int = 6) -> Path:
  """Draws the samples at a few times, from noise to data."""
  x = np.asarray(path.x)
  file = stem.with_suffix('.png')
  _save([[x[:, n]] for n in pictures.shown(x.shape[1], columns)], file)
  return file


def _frames(path: Any, num: int) -> list[np.ndarray]:
  x = np.asarray(path.x)
  reach = _reach([x[:, -1]])
  return [
    pictures.of_figure(_scatter([[x[:, n]]], reach))
    for n in pictures.shown(x.shape[1], num)
  ]


def _save(
  panels: Sequence[Sequence[np.ndarray]], path: Path, names: Sequence[str] = ()
) -> None:
  figure = _scatter(panels, _reach(panels[-1]), names)
  files.save(path, lambda file: figure.savefig(file, dpi=150, format='png'))


def _flat(x: np.ndarray) -> np.ndarray:
  return x.reshape(len(x), -1)


def _reach(groups: Sequence[np.ndarray]) -> float:
  """Returns half the side length of the frame of groups of points [n, D]."""
  every = np.concatenate([_flat(x)[:, :2] for x in groups if len(x)])
  # A few outliers do not decide it.
  return max(1e-3, 1.3 * float(np.quantile(np.abs(every), 0.99)))


def _scatter(
  panels: Sequence[Sequence[np.ndarray]],
  reach: float,
  names: Sequence[str] = (),
) -> 'Figure':
  """Draws panels side by side, each of groups of points [n, D]."""
  from matplotlib.figure import Figure

  figure = Figure(figsize=(3.2 * len(panels), 3.2), layout='constrained')
  for axes, groups in zip(
    figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True
  ):
    for i, x in enumerate(groups):
      x = _flat(x)
      y = x[:, 1] if x.shape[1] > 1 else np.zeros(len(x))
      label = names[i] if names else None
      axes.scatter(x[:, 0], y, s=4, alpha=0.5, linewidths=0, label=label)
    axes.set(xlim=(-reach, reach), ylim=(-reach, reach), xticks=[], yticks=[])
    axes.set_aspect('equal')
  if names:
    axes.legend(frameon=False, fontsize=7)
  return figure
