"""Results of a sweep side by side: CSV, Markdown and a plot."""

import csv
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from jaxdiff.evaluation import reports

SETTINGS = ('sampler', 'steps', 'eta', 'scale', 'ema')
HAVE_ETA = ('ddim', 'dpmpp_sde_2m')
Result = Mapping[str, Any]  # of `protocol.stamp`, and 'ema'


def save(results: Sequence[Result], folder: Path) -> None:
  """Writes sweep.csv, sweep.md and sweep.png, each whole or not at all."""
  folder.mkdir(parents=True, exist_ok=True)
  text = io.StringIO()
  head, *rows = _cells(results)
  writer = csv.writer(text, lineterminator='\n')
  writer.writerows([head, *rows])
  image = io.BytesIO()
  plot(results).savefig(image, dpi=130, format='png')
  for name, content in (
    ('sweep.csv', text.getvalue().encode()),
    ('sweep.md', (markdown(results) + '\n').encode()),
    ('sweep.png', image.getvalue()),
  ):
    temporary = folder / f'.{name}.{os.getpid()}'
    temporary.write_bytes(content)
    temporary.replace(folder / name)


def markdown(results: Sequence[Result]) -> str:
  """A row for each result, below what they were measured against."""
  first = results[0]
  shown = lambda x: (
    reports.number(x) if isinstance(x, float) else '' if x is None else str(x)
  )
  head, *rows = [[shown(x) for x in row] for row in _cells(results)]
  line = lambda cells: f'| {" | ".join(cells)} |'
  title = f'{first["samples"]} against {first["reference"]}'
  if first['floor']:
    floors = ', '.join(
      f'{name} {reports.number(x["value"])}'
      for name, x in first['floor'].items()
    )
    options = first['options']
    title += f'\nfloor, {options["floor_num"]} of {options["floor"]}: {floors}'
  return '\n'.join(
    [title, '', line(head), line(['---'] * len(head)), *map(line, rows)]
  )


def plot(results: Sequence[Result]) -> Figure:
  """The first metric over the steps, or over scale or eta if those vary more;
  a line for each combination of the rest, the floor dashed."""
  x = max(
    ('steps', 'scale', 'eta'),
    key=lambda name: len({_setting(r, name) for r in results}),
  )
  metric = next(iter(results[0]['metrics']))
  rest = [name for name in SETTINGS if name != x]
  varying = [
    name for name in rest if len({_setting(r, name) for r in results}) > 1
  ]
  lines: dict[str, list[tuple[float, float]]] = {}
  for result in results:
    label = ', '.join(
      f'{_setting(result, name)}'
      if name == 'sampler'
      else f'{name} {_setting(result, name)}'
      for name in varying
      if _setting(result, name) is not None
    )
    place = _setting(result, x) or 0
    value = result['metrics'][metric]['value']
    lines.setdefault(label, []).append((place, value))
  figure = Figure(figsize=(6.5, 4.5), layout='constrained')
  axes = figure.subplots()
  for label, points in lines.items():
    axes.plot(*zip(*sorted(points), strict=True), 'o-', ms=4, label=label)
  if results[0]['floor']:
    floor = results[0]['floor'][metric]['value']
    axes.axhline(floor, color='0.4', ls='--', lw=1, label='floor')
  if x == 'steps':
    axes.set_xscale('log')
    # Numbers of steps that were taken, not powers of ten.
    ticks = sorted({_setting(r, x) for r in results})
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
  axes.set_xlabel(x)
  axes.set_ylabel(metric, fontsize=8)
  axes.set_title(
    f'{results[0]["num_samples"]} samples of {results[0]["samples"]}',
    fontsize=9,
  )
  axes.grid(alpha=0.25)
  if varying or results[0]['floor']:
    axes.legend(frameon=False, fontsize=7)
  return figure


def _cells(results: Sequence[Result]) -> list[list[Any]]:
  """A head, and a row for each result; columns that say nothing left out."""
  settings = [
    name
    for name in SETTINGS
    if any(_setting(result, name) is not None for result in results)
  ]
  metrics = list(results[0]['metrics'])
  head = [*settings, 'samples', *metrics]
  rows = [
    [
      *(_setting(result, name) for name in settings),
      result['num_samples'],
      *(result['metrics'][name]['value'] for name in metrics),
    ]
    for result in results
  ]
  return [head, *rows]


def _setting(result: Result, name: str) -> Any:
  """One of SETTINGS; None where it does not matter."""
  if name == 'ema':
    return 'average' if result['ema'] else 'last'
  if name == 'sampler' and result['sampler'] == 'ancestral':
    return f'ancestral ({result["options"]["variance"]})'
  if name == 'eta':
    ours = result['sampler'].partition('(')[0] in HAVE_ETA
    return result['options']['eta'] if ours else None
  return result[name]
