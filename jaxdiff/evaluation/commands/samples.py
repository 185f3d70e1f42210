"""Samples that a command measures: drawn by the flags of sample.py.

They are kept in WORKDIR/evaluation, and an interrupted job goes on.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
from tqdm import tqdm

from jaxdiff import build, drawing, files, outputs, parallel
from jaxdiff.drawing import Job, Options
from jaxdiff.evaluation import generate


def draw(options: Options, name: str, ending: str) -> tuple[Job, Path]:
  """The job of these options, its samples drawn, and the file they are in.

  Args:
    options: of sample.py, but for `out`.
    name: of the file, before what tells jobs apart.
    ending: of the file.
  """
  mesh = parallel.make_mesh(devices=jax.local_devices())
  job = drawing.make_job(options, mesh)
  weights = {'params_sha256': generate.digest(job.run.params)}
  job = job._replace(metadata={**job.metadata, **weights})
  medium = build.make_medium(job.run.spec)
  folder = Path(options.workdir) / 'evaluation'
  path = folder / f'{name}_{job.num}_{job.name}{ending}'
  if not _drawn(path, job):
    size = parallel.batch_size(job.num, options.batch_size, mesh)
    with tqdm(total=job.num, desc=name, unit=medium.unit) as bar:
      outputs.draw_to(
        path,
        job.num,
        lambda index: medium.split(job.draw(job.params, job.traced, index)),
        job.metadata,
        medium,
        batch_size=size,
        progress=bar.update,
      )
  return job, path


def _drawn(path: Path, job: Job) -> bool:
  """Whether the file is there, and of this very job."""
  beside = path.with_name(path.name + '.json')
  if not path.exists() or not beside.exists():
    return False
  of = lambda metadata: {k: v for k, v in metadata.items() if k != 'versions'}
  return of(json.loads(beside.read_text())) == of(job.metadata)


def report(
  job: Job, data: str, metrics: Mapping[str, Any], path: Path
) -> dict[str, Any]:
  """Writes metrics and all that they depend on; prints the metrics."""
  result = {
    'metrics': dict(metrics),
    'num_samples': job.num,
    'data': data,
    **{k: v for k, v in job.metadata.items() if k != 'conditions'},
  }
  files.write_text(json.dumps(result, indent=2) + '\n', path)
  width = max(map(len, metrics))
  for name, value in metrics.items():
    shown = f'{value:.5g}' if isinstance(value, float) else value
    print(f'  {name:{width}}  {shown}')
  print(path)
  return result


def sampling_options(flags: Any, **more: Any) -> Options:
  """The Options of sample.py with the flags of a command, and `more`."""
  names = {field.name for field in dataclasses.fields(Options)}
  given = {
    field.name: getattr(flags, field.name)
    for field in dataclasses.fields(flags)
    if field.name in names
  }
  return Options(**(given | more))


def standard_error(fraction: float, num: int) -> float:
  """Of a fraction of `num` independent trials."""
  return (fraction * (1 - fraction) / num) ** 0.5


def texts_of(path: Path) -> Sequence[str]:
  """What a '.json' of texts holds."""
  return json.loads(files.read_text(path))
