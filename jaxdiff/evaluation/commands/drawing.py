"""Texts and graphs of a run, drawn once by the flags of sample.py."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxdiff import files, parallel, runs
from jaxdiff.data import Dataset
from jaxdiff.evaluation.flags import Kept
from jaxdiff.generation import writer
from jaxdiff.generation.flags import Flags
from jaxdiff.generation.from_flags import make_job
from jaxdiff.generation.job import Job
from jaxdiff.runs import examples, results

DAMAGED = '{path} is damaged: delete it, and the same command draws it again'


def load_data(flags: Kept, modality: str) -> tuple[Dataset, Dataset]:
  """Loads the train and test split of a run's data set.

  Raises:
    ValueError: A run of another modality, or data of another vocabulary.
  """
  workdir = flags.workdir
  config, spec = runs.read_config(workdir)
  config = examples.moved(config, flags.data_name)
  if spec.modality != modality:
    raise ValueError(
      f'{workdir} holds a model of {config.data.name}, and draws no {modality}'
    )
  train, test = (
    examples.load(config, workdir, split, spec).dataset
    for split in ('train', 'test')
  )
  return train, test


def draw(flags: Kept, name: str, ending: str, **more: Any) -> tuple[Job, Path]:
  """Draws samples into WORKDIR/evaluation, unless they are there.

  The file is called NAME_NUM_JOB.ENDING; `more` are further flags of sample.py.
  """
  fields = [field.name for field in dataclasses.fields(Kept)]
  own = {name: getattr(flags, name) for name in fields if name != 'data_name'}
  mesh = parallel.local_mesh()
  job = make_job(Flags(**{**own, **more}), mesh)
  folder = files.as_path(flags.workdir) / 'evaluation'
  path = folder / f'{name}_{job.num}_{job.name}{ending}'
  if not writer.is_written(path, job.metadata):
    size = parallel.batch_size(job.num, flags.batch_size, mesh)
    job.write(path, size, name)
  return job, path


def save(
  job: Job,
  path: Path,
  metrics: Mapping[str, float],
  *datasets: Dataset,
  **about: str | None,
) -> dict[str, Any]:
  """Writes the result of a job with what else there is; prints the metrics."""
  width = max(map(len, metrics))
  result = {
    'metrics': metrics,
    'num_samples': job.num,
    'data': datasets[0].name,
    'datasets': results.of_data(*datasets),
    'config_sha256': results.config_sha256(job.run.workdir),
    **about,
    **{k: v for k, v in job.metadata.items() if k != 'conditions'},
  }
  lines = [f'  {k:{width}}  {v:.5g}' for k, v in metrics.items()]
  return results.save(path, result, '\n'.join(lines))
