"""Image samples to measure: files, or samples of a run drawn when needed.

Sample i depends on the seed, on i and on its own condition alone. So samples
need not be stored: any range of them can be drawn again, on any devices.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxdiff import data, files
from jaxdiff.config import Config, Spec
from jaxdiff.data import Dataset
from jaxdiff.evaluation import images
from jaxdiff.evaluation.flags import MACHINE, Drawing
from jaxdiff.evaluation.measuring import Machine
from jaxdiff.generation import conditions
from jaxdiff.generation.conditions import Conditions
from jaxdiff.generation.flags import changed, of_network, suffix
from jaxdiff.generation.job import job_of_run, load_run
from jaxdiff.runs import Run, examples, results


class Samples(NamedTuple):
  """Images to measure."""

  dataset: Dataset
  fields: dict[str, Any]  # of a result: where the images are from
  name: tuple[str, str]  # of a result, before and after that of the metric
  draw: Callable[..., Any] | None = None  # compiled sampler of a run

  def path(self, metric: str, command: Any) -> Path:
    """Returns the path of a result: --out, or a name with all other flags."""
    # The name of a job has some flags already.
    named = ('steps', 'seed', 'checkpoint') if self.draw else ()
    named = ('samples', 'out', 'cache', *MACHINE, *named)
    before, after = self.name
    default = f'{before}{metric}{after}{suffix(command, *named)}.json'
    path = files.as_path(command.out or default)
    results.check_target(path)
    if path.suffix not in ('', '.json'):
      raise ValueError(f'--out must end in .json, got {path}')
    return path


def is_run(path: str) -> bool:
  """Tells whether a folder is a workdir of train.py."""
  return (files.as_path(path) / 'config.json').exists()


def of_files(path: str, num: int | None, drawing: Drawing) -> Samples:
  """Reads images of a folder or an NPZ file, `num` of them or all.

  Raises:
    ValueError: Flags of a sampler; and as `data.load` and `data.subset`.
  """
  if unused := changed(drawing):
    names = ', '.join('--' + name.replace('_', '-') for name in unused)
    raise ValueError(
      f'{path} is not a workdir of train.py: {names} has no effect'
    )
  source = images.parse(path)
  dataset = source.load()
  if num is not None:
    dataset = data.subset(dataset, num)
  fields = {
    'samples': path,
    'samples_sha256': images.digest(dataset),
    'num_samples': len(dataset),
    'labels': 'unknown',
  }
  return Samples(dataset, fields, (f'{files.as_path(source.file_name())}.', ''))


def load(workdir: str, drawing: Drawing, machine: Machine) -> Run:
  """Loads a run that draws images, its sampling changed by the flags."""
  run = load_run(workdir, drawing, machine.mesh)
  check_images(run.config, run.spec)
  return run._replace(config=examples.moved(run.config, drawing.data_name))


def check_images(config: Config, spec: Spec) -> None:
  """Raises ValueError unless a run draws images."""
  if spec.modality != 'image':
    command = {'text': 'text', 'graph': 'graphs'}.get(spec.modality)
    hint = f': use python -m jaxdiff.evaluation {command}' if command else ''
    raise ValueError(f'a model of {config.data.name} draws no images{hint}')


def conditions_of(
  run: Run, labels: str | None, num: int | None = None
) -> Conditions:
  """Builds the conditions of `num` samples from the flag --labels.

  Raises:
    ValueError: the model takes no condition of this kind.
  """
  if labels == 'uniform':
    return conditions.uniform(run.model, num)
  if labels is not None and not run.model.takes:
    raise ValueError(
      f'--labels {labels} has no effect: the model takes no condition'
    )
  return conditions.of_split(run, labels or 'train')


def check_data_name(
  name: str | None, reference: str | None, rows: Conditions
) -> None:
  """Raises ValueError for --data-name where the run's data are not read."""
  if name and reference and rows.name in ('none', conditions.EACH_CLASS):
    raise ValueError('--data-name has no effect: the data are not read')


def of_run(
  run: Run,
  rows: Conditions,
  drawing: Drawing,
  machine: Machine,
  num: int,
  draw: Callable[..., Any] | None = None,
) -> Samples:
  """Makes a data set of samples of a run, drawn when they are gathered.

  The indices that are gathered must be consecutive. A `draw` is that of a run
  that differs in weights, scale and eta at most.
  """
  job = job_of_run(
    run,
    machine.mesh,
    rows,
    num=num,
    seed=drawing.seed,
    ema=drawing.average,
    mode=machine.mode,
    draw=draw,
  )
  size = machine.batch_size

  def gather(indices: np.ndarray) -> dict[str, Any]:
    found = []
    for start in range(0, len(indices), size):
      index = indices[start] + np.arange(size, dtype=np.int32)
      found += job.samples(index)[: len(indices) - start]
    return {'x0': np.stack(found)}

  shape = tuple(run.spec.shape)
  dataset = Dataset(job.name, 'all', 'image', num, shape, None, gather)
  fields = {
    'samples': str(run.workdir),
    'num_samples': num,
    'config_sha256': results.config_sha256(run.workdir),
    **job.metadata,
    **drawing.guides,
    **of_network(drawing),
  }
  name = f'{run.workdir}/evaluation/', f'_{job.name}'
  return Samples(dataset, fields, name, job.draw)
