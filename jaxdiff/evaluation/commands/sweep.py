"""Command `sweep`: one table of many samplers of a run."""

import itertools
import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from jaxdiff import files, parallel
from jaxdiff.config import Section, registry
from jaxdiff.config.ranges import Fraction, In, Seed, Std
from jaxdiff.evaluation import cache, measuring, samples, tables
from jaxdiff.evaluation.flags import MACHINE, Against, Drawing, Flat, Running
from jaxdiff.generation import guides
from jaxdiff.generation.flags import (
  Momentum,
  Scale,
  Steps,
  changed,
  suffix,
)
from jaxdiff.generation.job import configured, sketch_run
from jaxdiff.generation.sampler import make_sampler
from jaxdiff.runs import results


@dataclass(frozen=True)
class Sweep(Section):
  """Measure every combination of samplers, steps, etas, scales and weights.

  Writes OUT/sweep.csv, sweep.md, sweep.png and a JSON for each row in OUT/rows;
  without --out the flags are in the names. Finished rows are not drawn again,
  and an unfinished one continues.
  """

  workdir: Annotated[str, tyro.conf.Positional]
  samplers: tuple[str, ...] = ()  # ancestral:large has its variance, too
  steps: tuple[Steps, ...] = ()
  etas: tuple[Fraction, ...] = ()  # ddim
  scales: tuple[Scale, ...] = ()  # guidance
  guides: tuple[str, ...] = ()  # workdirs of weaker models
  classifier: str | None = None  # a workdir: guidance leads to --labels
  guidance: str | None = None  # apg: adaptive projected guidance
  momentums: tuple[Momentum, ...] = ()  # of apg
  ema: Literal['on', 'off', 'both'] = 'on'  # the averaged weights
  ema_stds: tuple[Std, ...] = ()  # and averages of these widths
  num: Annotated[int, In('[2, 10000000]')] = 5000  # samples of each row
  seed: Seed = 0
  labels: Literal['train', 'test', 'uniform'] | None = None
  checkpoint: Annotated[int, In('[0, 2147483647]')] | None = None
  out: str | None = None  # None: WORKDIR/sweep
  data_name: str | None = None  # where the data of the run are now
  against: Annotated[Against, Flat] = field(default_factory=Against)
  running: Annotated[Running, Flat] = field(default_factory=Running)

  def run(self) -> list[dict[str, Any]]:
    """Measures all rows and writes the table after each."""
    machine = measuring.machine(self.running)
    out = self.table()
    for ending in ('.csv', '.md', '.png'):
      files.check_target(out.with_name(out.name + ending))
    own = Drawing(checkpoint=self.checkpoint, data_name=self.data_name)
    rows = self.rows(sketch_run(self.workdir, own).config.sampling.scale)
    loaded = {
      row.average: samples.load(
        self.workdir, replace(own, ema=row.ema, ema_std=row.ema_std), machine
      )
      for row in {row.average: row for row in rows}.values()
    }
    others = {
      key: guides.load(*key, machine.mesh)
      for key in {(row.guide, row.classifier) for row in rows}
    }
    runs = [
      guides.guided(
        configured(loaded[row.average], row),
        others[row.guide, row.classifier],
        machine.mesh,
      )
      for row in rows
    ]
    # Errors come before the work.
    for run in runs:
      make_sampler(run.model, run.config.sampling)
    num = self.num
    labels = samples.conditions_of(runs[0], self.labels, num)
    samples.check_data_name(self.data_name, self.against.reference, labels)
    comparison = measuring.compare(self.against, runs[0], machine, num)
    found, draws = [], {}
    for i, (row, run) in enumerate(zip(rows, runs, strict=True)):
      like = row.sampler, row.steps, row.guide, row.guidance, row.momentum
      subject = samples.of_run(run, labels, row, machine, num, draws.get(like))
      draws = {like: subject.draw}  # no other is needed again
      key = comparison.key(subject.fields)
      path = out.parent / 'rows' / f'{key}.json'
      folder = out.parent / 'parts' / key
      if parallel.any_process(not path.exists()):
        desc = f'row {i + 1}/{len(rows)}, {subject.dataset.name}'
        result = measuring.measure(
          comparison, subject.dataset, subject.fields, folder, desc
        )
        results.save(path, result, quiet=True)
      found.append({**read_row(path, subject.fields), **comparison.fields})
      if parallel.is_primary():
        cache.discard(folder)
        tables.save(found, out)
    if parallel.is_primary():
      print(tables.markdown(found))
      print(f'{out}.csv, {out}.png, {out.parent / "rows"}')
      print(
        f'the best is that of {command(self.workdir, rows[tables.best(found)])}'
      )
    return found

  def table(self) -> Path:
    """Returns the path of the table, without its ending."""
    if self.out is not None:
      return files.as_path(self.out) / 'sweep'
    # Other flags make another table; rows that both have are in one folder.
    name = f'sweep{suffix(self, "workdir", "cache", *MACHINE)}'
    return files.as_path(self.workdir) / 'sweep' / name

  def rows(self, scale: float = 1.0) -> list[Drawing]:
    """Returns every combination, those that share a compilation in a row.

    What has no effect is left out: an eta where a sampler takes none, and a
    guide, a guidance and a momentum at scale 1.

    Args:
      scale: Of the run, for rows without one.

    Raises:
      ValueError: A flag has an effect on no row.
    """
    weights = {'on': (True,), 'off': (False,), 'both': (True, False)}[self.ema]
    weights = [(ema, None) for ema in weights]
    weights += [(True, std) for std in self.ema_stds]
    combinations = itertools.product(
      self.samplers or (None,),
      self.steps or (None,),
      weights,
      self.etas or (None,),
      self.scales or (None,),
      self.guides or (None,),
      self.momentums or (None,),
    )
    own = Drawing(
      seed=self.seed,
      labels=self.labels,
      checkpoint=self.checkpoint,
      classifier=self.classifier,
      guidance=self.guidance,
    )
    if not set(self.scales or (scale,)) - {1.0}:
      for name in ('guides', 'guidance', 'momentums'):
        if getattr(self, name):
          raise ValueError(
            f'--{name} has no effect at scale 1: give --scales 1 2'
          )
    if self.etas and self.samplers:
      registry.check_eta('--etas', *self.samplers)
    rows = []
    names = 'eta', 'scale', 'guide', 'momentum'
    for sampler, steps, (ema, std), *values in combinations:
      row = {'sampler': sampler, 'steps': steps}
      row |= dict(zip(names, values, strict=True))
      if sampler and not registry.takes_eta(sampler):
        row['eta'] = None
      if scale == 1 if row['scale'] is None else row['scale'] == 1:
        row |= dict.fromkeys(('guide', 'guidance', 'momentum'))
      rows.append(replace(own, **row, ema=ema, ema_std=std))
    return list(dict.fromkeys(rows))


def read_row(path: Path, fields: Mapping[str, Any]) -> dict[str, Any]:
  """Reads the result of a row, which has these fields and more.

  The versions are those of the program that measured it.

  Raises:
    ValueError: It is damaged.
  """
  row = files.read_json(path, 'the row')
  metrics = row.get('metrics') if isinstance(row, dict) else None
  measured = isinstance(metrics, dict) and all(
    isinstance(x, dict) and type(x.get('value')) in (float, int)
    for x in metrics.values()
  )
  written = json.loads(json.dumps(fields))
  same = metrics and all(
    row.get(name) == value
    for name, value in written.items()
    if name != 'versions'
  )
  if not (metrics and measured and same):
    raise ValueError(
      f'{path} is damaged: delete it, and the same command measures it again'
    )
  return row


def command(workdir: str, row: Drawing) -> str:
  """Returns the command that draws the samples of a row."""
  flags = changed(row, 'labels', 'data_name', 'ema')
  pairs = ((f'--{k.replace("_", "-")}', f'{v}') for k, v in flags.items())
  last = [] if row.ema else ['--no-ema']
  return shlex.join(['python', 'sample.py', workdir, *sum(pairs, ()), *last])
