"""Tables of a sweep: CSV, Markdown and a plot."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from jaxdiff import files
from jaxdiff.config import registry
from jaxdiff.evaluation.metrics import number

SETTINGS = ('sampler', 'steps', 'eta', 'scale', 'ema')
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
  more: a line for each combination of the rest, the floor dashed."""
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
  figure = Figure(figsize=(6.5, 4.5), layout='constrained')
  axes = figure.subplots()
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
  unguided = name == 'scale' and result['labels'] == 'none'
  if unguided or (name == 'eta' and sampler not in registry.WITH_ETA):
    return ''
  return result[name]
