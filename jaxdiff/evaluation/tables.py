"""Tables of a sweep: CSV, Markdown and a plot."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jaxdiff import files
from jaxdiff.config import registry
from jaxdiff.evaluation.metrics import number

SETTINGS = ('sampler', 'steps', 'eta', 'scale', 'guide', 'momentum', 'ema')
Result = Mapping[str, Any]  # of `measuring.measure`


def save(results: Sequence[Result], path: Path) -> None:
  """Writes PATH.csv, PATH.md and PATH.png."""
  text, figure = io.StringIO(), plot(results)
  csv.writer(text, lineterminator='\n').writerows(_cells(results))
  named = lambda ending: path.with_name(path.name + ending)
  files.write_text(text.getvalue(), named('.csv'))
  files.write_text(markdown(results) + '\n', named('.md'))
  files.save(named('.png'), lambda file: figure.savefig(file, dpi=130))


def markdown(results: Sequence[Result]) -> str:
  """Formats a table, below the reference and the floor."""
  first = results[0]
  shown = lambda x: number(x) if isinstance(x, float) else str(x)
  line = lambda cells: f'| {" | ".join(map(shown, cells))} |'
  head, *rows = _cells(results)
  title = f'{first["samples"]} against {first["reference"]}'
  if first['floor']:
    floors = [f'{k} {number(x["value"])}' for k, x in first['floor'].items()]
    title += f'\nfloor, {first["floor_num"]} of {first["floor_data"]}: '
    title += ', '.join(floors)
  rule = line(['---'] * len(head))
  return '\n'.join([title, '', line(head), rule, *map(line, rows)])


def plot(results: Sequence[Result]) -> Figure:
  """Plots the first metric over the steps, or over scale or eta if those vary
  more: a line for each combination of the rest, the floor dashed. Beside it
  is a heat map over that and the setting that varies most of the rest."""
  first = results[0]
  values = lambda name: {_setting(result, name) for result in results}
  x = max(('steps', 'scale', 'eta'), key=lambda name: len(values(name)))
  varying = [n for n in SETTINGS if n != x and len(values(n)) > 1]
  metric = next(iter(first['metrics']))
  lines: dict[str, list[tuple[float, float]]] = {}
  for result in results:
    settings = [(name, _setting(result, name)) for name in varying]
    label = ', '.join(
      value if name == 'sampler' else f'{name} {value}'
      for name, value in settings
      if value != ''
    )
    point = _setting(result, x) or 0, result['metrics'][metric]['value']
    lines.setdefault(label, []).append(point)
  size = (12.5, 4.5) if varying else (6.5, 4.5)
  figure = Figure(figsize=size, layout='constrained')
  axes, *beside = figure.subplots(1, 1 + bool(varying), squeeze=False)[0]
  for other in beside:
    y = max(varying, key=lambda name: len(values(name)))
    _heat_map(other, results, x, y, metric)
  for label, points in lines.items():
    axes.plot(*zip(*sorted(points), strict=True), 'o-', ms=4, label=label)
  if first['floor']:
    floor = first['floor'][metric]['value']
    axes.axhline(floor, color='0.4', ls='--', lw=1, label='floor')
  if x == 'steps':
    # Numbers of steps that were taken, not powers of ten.
    ticks = sorted(values(x))
    axes.set_xscale('log')
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
  axes.set_xlabel(x)
  axes.set_ylabel(metric, fontsize=8)
  title = f'{first["num_samples"]} samples of {first["samples"]}'
  axes.set_title(title, fontsize=9)
  axes.grid(alpha=0.25)
  if varying or first['floor']:
    axes.legend(frameon=False, fontsize=7)
  return figure


def best(results: Sequence[Result]) -> int:
  """Returns the index of the smallest first metric."""
  metric = next(iter(results[0]['metrics']))
  found = [result['metrics'][metric]['value'] for result in results]
  return found.index(min(found))


def _heat_map(
  axes: Axes, results: Sequence[Result], x: str, y: str, metric: str
) -> None:
  """Draws the smallest metric at each pair of two settings."""
  found: dict[tuple[str, str], float] = {}
  order = lambda value: (isinstance(value, str), value)
  ends = [
    sorted({_setting(result, name) for result in results}, key=order)
    for name in (y, x)
  ]
  for result in results:
    cell = _setting(result, y), _setting(result, x)
    value = result['metrics'][metric]['value']
    found[cell] = min(value, found.get(cell, math.inf))
  table = [[found.get((b, a), math.nan) for a in ends[1]] for b in ends[0]]
  image = axes.imshow(table, aspect='auto', cmap='viridis_r')
  axes.figure.colorbar(image, ax=axes)
  for i, row in enumerate(table):
    for j, value in enumerate(row):
      text = f'{value:.3g}' if math.isfinite(value) else ''
      axes.text(j, i, text, ha='center', va='center', color='w', fontsize=8)
  axes.set_xticks(range(len(ends[1])), map(str, ends[1]))
  axes.set_yticks(range(len(ends[0])), map(str, ends[0]))
  axes.set_xlabel(x)
  axes.set_ylabel(y)
  axes.set_title('the smallest of each cell', fontsize=9)


def _cells(results: Sequence[Result]) -> list[list[Any]]:
  """Returns a head and a row for each result, without empty columns."""
  settings = [
    name for name in SETTINGS if any(_setting(x, name) != '' for x in results)
  ]
  metrics = list(results[0]['metrics'])
  rows = [
    [
      *(_setting(result, name) for name in settings),
      result['num_samples'],
      *(result['metrics'][name]['value'] for name in metrics),
    ]
    for result in results
  ]
  return [[*settings, 'samples', *metrics], *rows]


def _setting(result: Result, name: str) -> Any:
  """Returns one of SETTINGS; '' where it has no effect."""
  sampler = result['sampler'].partition('(')[0]
  if name == 'ema':
    ema = result['ema']
    names = {True: 'average', False: 'last'}
    return names[ema] if isinstance(ema, bool) else f'width {ema:g}'
  if name == 'sampler' and sampler in registry.WITH_VARIANCE:
    return f'{result["sampler"]} ({result["variance"]})'
  if name == 'guide':
    return result.get('guide', '')
  if name == 'momentum':
    remembers = result.get('guidance', '').startswith('apg')
    return result['momentum'] if remembers else ''
  guided = result['labels'] != 'none' or 'guide' in result
  unguided = name == 'scale' and not guided
  if unguided or (name == 'eta' and sampler not in registry.WITH_ETA):
    return ''
  return result[name]
