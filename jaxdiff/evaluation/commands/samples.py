"""Samples on disk that a command measures: WORKDIR/evaluation/NAME."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from jaxdiff import parallel
from jaxdiff.config.ranges import Count, Seed
from jaxdiff.evaluation import protocol
from jaxdiff.evaluation.flags import Batch
from jaxdiff.generation import from_flags, writer
from jaxdiff.generation.flags import Flags, SamplerFlags
from jaxdiff.generation.job import Job


@dataclass(frozen=True)
class Samples(SamplerFlags):
  """The flags of a command that draws samples of a WORKDIR."""

  workdir: Annotated[str, tyro.conf.Positional] = dataclasses.field(
    kw_only=True
  )
  num: Count | None = None
  seed: Seed = 0
  batch_size: Batch = 64

  def draw(self, name: str, ending: str, **more: Any) -> tuple[Job, Path]:
    """Draws samples as sample.py does; an interrupted job continues.

    Args:
      name: of the file, before what tells jobs apart.
      ending: of the file.
      **more: flags of sample.py.

    Returns:
      The job, and the file.
    """
    own = {field.name for field in dataclasses.fields(Samples)}
    values = {field: getattr(self, field) for field in own} | more
    flags = Flags(**values)
    mesh = parallel.local_mesh()
    job = from_flags.make_job(flags, mesh)
    folder = Path(self.workdir) / 'evaluation'
    path = folder / f'{name}_{job.num}_{job.name}{ending}'
    if not writer.is_written(path, job.metadata):
      size = parallel.batch_size(job.num, self.batch_size, mesh)
      job.write(path, size, name)
    return job, path


def report(
  job: Job, data: str, metrics: Mapping[str, Any], path: Path
) -> dict[str, Any]:
  """Writes the stamped metrics of a job as JSON, and prints them."""
  result = protocol.stamped(
    {
      'metrics': dict(metrics),
      'num_samples': job.num,
      'data': data,
      **{k: v for k, v in job.metadata.items() if k != 'conditions'},
    }
  )
  protocol.write(result, path)
  width = max(map(len, metrics))
  for name, value in metrics.items():
    shown = f'{value:.5g}' if isinstance(value, float) else value
    print(f'  {name:{width}}  {shown}')
  print(path)
  return result
