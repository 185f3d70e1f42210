"""The figure and the table of the families."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from jaxdiff import files
from jaxdiff.modalities import pictures

Rows = Mapping[tuple[str, str], tuple[dict[str, Any], np.ndarray]]
SHOWN = 36  # images of a family


def draw(rows: Rows, real: Mapping[str, np.ndarray], path: Path) -> None:
  """Draws a column for the data and for each family: points above images."""
  names = ['data', *dict.fromkeys(name for _, name in rows)]
  chosen = lambda kind, name: (
    real[kind] if name == 'data' else rows[kind, name][1]
  )
  figure = Figure(figsize=(2.1 * len(names), 4.4), layout='constrained')
  axes = figure.subplots(2, len(names))
  for column, name in enumerate(names):
    top, bottom = axes[:, column]
    top.scatter(*chosen('points', name)[:1000].T, s=1.5, lw=0, c='C0')
    top.set(xlim=(-2.2, 2.2), ylim=(-1.8, 1.8), title=name)
    top.set_aspect('equal')
    x = chosen('images', name)[:SHOWN]
    x = x if x.dtype == np.uint8 else pictures.to_uint8(x)
    grid = pictures.grid(x, columns=6)
    bottom.imshow(grid.squeeze(), cmap='gray', vmin=0, vmax=255)
    for ax in (top, bottom):
      ax.set(xticks=[], yticks=[])
      ax.spines[:].set_color('0.85')
  save = lambda file: figure.savefig(file, format='png', dpi=110)
  files.save(path, save)


def table(rows: Rows) -> str:
  """Writes a markdown table for each data set."""
  parts = []
  for kind, unit, distance in (
    ('points', 'nats', '2-Wasserstein'),
    ('images', 'bits/dim', 'Frechet'),
  ):
    lines = [
      f'| {kind} | parameters | steps | {distance} | precision | recall '
      f'| {unit} | CPU ms a sample |',
      '|---|---|---|---|---|---|---|---|',
    ]
    for (k, name), (found, _) in rows.items():
      if k == kind:
        lines.append(line(name, found))
    parts.append('\n'.join(lines))
  return '\n\n'.join(parts) + '\n'


def line(name: str, found: Mapping[str, Any]) -> str:
  """Writes the line of a family in the table."""
  likelihood = '-'
  if 'bits' in found:
    likelihood = f'{found["bits"]:.3f} ± {found["bits_error"]:.3f}'
  return (
    f'| {name} | {found["parameters"]:,} | {found["steps"]:,} '
    f'| {_spread(found["distance"])} | {_spread(found["precision"])} '
    f'| {_spread(found["recall"])} | {likelihood} '
    f'| {1000 * found["seconds_per_sample"]:.3g} |'
  )


def _spread(found: Mapping[str, float | None]) -> str:
  if found['std'] is None:
    return f'{found["mean"]:.3g}'
  return f'{found["mean"]:.3g} ± {found["std"]:.2g}'
