"""The command `python -m jaxdiff.evaluation sweep WORKDIR`."""

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import tyro

from jaxdiff import models, parallel
from jaxdiff.config import Section
from jaxdiff.config.ranges import Seed
from jaxdiff.evaluation import (
  blocks,
  measuring,
  protocol,
  reports,
  subjects,
  tables,
)
from jaxdiff.evaluation.flags import Against, Drawing, Flat, Running
from jaxdiff.generation.flags import configure
from jaxdiff.generation.sampler import make_sampler
from jaxdiff.runs import Run


class Row(NamedTuple):
  """How the samples of one row are drawn. None: as it was configured."""

  sampler: str | None
  steps: int | None
  ema: bool
  eta: float | None
  scale: float | None


@dataclass(frozen=True)
class Sweep(Section):
  """Measure every combination of samplers, steps, etas, scales and weights.

  Leaves OUT/sweep.csv, sweep.md, sweep.png and OUT/rows/, a stamped JSON for
  each row. Finished rows are not drawn again, and an unfinished one goes on.
  """

  workdir: Annotated[str, tyro.conf.Positional]
  samplers: tuple[str, ...] = ()  # ancestral:large has its variance, too
  steps: tuple[int, ...] = ()
  etas: tuple[float, ...] = ()  # of ddim and dpmpp_sde_2m
  scales: tuple[float, ...] = ()  # of guidance
  ema: Literal['on', 'off', 'both'] = 'on'  # the averaged weights
  num: reports.Num = 5000  # samples of each row
  seed: Seed = 0
  labels: Literal['train', 'test', 'uniform'] = 'train'
  checkpoint: int | None = None
  out: str | None = None  # None: WORKDIR/sweep
  against: Annotated[Against, Flat] = field(default_factory=Against)
  running: Annotated[Running, Flat] = field(default_factory=Running)

  def run(self) -> list[dict[str, Any]]:
    machine = measuring.machine(self.running.batch_size, self.running.mode)
    out = Path(self.out or Path(self.workdir) / 'sweep')
    weights = {'on': (True,), 'off': (False,), 'both': (True, False)}[self.ema]
    drawing = Drawing(
      seed=self.seed, labels=self.labels, checkpoint=self.checkpoint
    )
    runs = {
      ema: subjects.load_run(self.workdir, replace(drawing, ema=ema), machine)
      for ema in weights
    }
    config = next(iter(runs.values())).config
    rows = list(self.rows(weights))
    # Errors are found before anything is computed.
    for row in rows:
      chosen = _chosen(runs[row.ema], drawing, row)
      make_sampler(chosen.model, chosen.config.sampling)
    conditions = subjects.conditions_of(runs[weights[0]], self.labels)
    reference = subjects.reference_of(self.against, config)
    extractor = subjects.extractor_of(self.against, reference)
    target = subjects.target(self.against, reference, extractor, machine)
    floor = subjects.floor(
      self.against, reference, extractor, target, machine, self.num
    )
    results, draws = [], {}
    for i, row in enumerate(rows):
      flags = replace(drawing, ema=row.ema)
      run = _chosen(runs[row.ema], flags, row)
      like = row.sampler, row.steps
      subject = subjects.drawn(
        run,
        flags,
        machine,
        self.num,
        rows=conditions,
        draw=draws.get(like),
      )
      draws = {like: subject.draw}  # no other one is needed again
      described = subjects.protocol_of(subject, extractor, target, floor)
      plain = subjects.protocol_of(subject, extractor, target, None)
      key = {
        'row': plain._replace(space=plain.space._asdict())._asdict(),
        'metrics': self.against.metrics,
      }
      path = blocks.folder(out / 'rows', key).with_suffix('.json')
      directory = blocks.folder(out / 'parts', key)
      if parallel.any_process(not path.exists()):
        ours = measuring.samples(
          subject.images,
          extractor,
          machine,
          whole=self.against.metrics == 'all',
          directory=directory,
          what=f'row {i + 1}/{len(rows)}, {subject.images.name}',
        )
        result = protocol.stamp(
          measuring.measure(extractor, ours, target),
          described,
          floor=floor.metrics if floor else None,
        )
        if parallel.is_primary():
          protocol.write(result, path)
          reports.discard(directory)
      else:
        result = json.loads(path.read_text())
      beside = {'ema': row.ema}
      if floor:
        beside |= {'floor': floor.metrics, 'options': described.options}
      results.append({**result, **beside})
      if parallel.is_primary():
        tables.save(results, out)
    if parallel.is_primary():
      print(tables.markdown(results))
      print(f'{out / "sweep.csv"}, {out / "sweep.png"}, {out / "rows"}')
    return results

  def rows(self, weights: tuple[bool, ...]) -> Iterator[Row]:
    """Every combination, those that share a compilation side by side."""
    every = itertools.product(
      self.samplers or (None,),
      self.steps or (None,),
      weights,
      self.etas or (None,),
      self.scales or (None,),
    )
    seen = set()
    for row in itertools.starmap(Row, every):
      if row.sampler is not None and row.sampler not in tables.HAVE_ETA:
        row = row._replace(eta=None)
      if row not in seen:
        seen.add(row)
        yield row


def _chosen(run: Run, drawing: Drawing, row: Row) -> Run:
  """Returns the run with the sampler of a row."""
  settings = {k: v for k, v in row._asdict().items() if k != 'ema'}
  flags = replace(drawing, **settings)
  config = configure(run.config, flags)
  model = run.model
  if config.diffusion != run.config.diffusion:
    model = models.make(config, run.spec)
  return run._replace(config=config, model=model)
