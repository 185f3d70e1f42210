"""Measurements of a run in training: samples against its training set, or the
reconstructions of an autoencoder against the images of its test split.
"""

from collections.abc import Callable
from typing import Any

from jaxdiff import files
from jaxdiff.config import Config
from jaxdiff.evaluation import measuring, reconstructions, samples
from jaxdiff.evaluation.flags import Against, Drawing, Running
from jaxdiff.models import Model
from jaxdiff.runs import Run, results


def make(
  config: Config, model: Model, batch_size: int = 64
) -> Callable[[Any, int], dict[str, float]]:
  """Builds evaluate(params, step) -> {metric: value}, which all processes call.

  Samples are drawn as the run is configured, with its seed and the conditions
  of its training set. Each result is written to WORKDIR/evaluation/STEP.json.
  The params are whole copies, from `parallel.gather`.
  """
  samples.check_images(config, model.spec)
  c, workdir = config.evaluation, files.as_path(config.workdir)
  running = Running(batch_size=batch_size, mode=config.parallel.mode)
  machine = measuring.machine(running, quiet=True)
  features = (c.features,) if isinstance(c.features, str) else c.features
  against = Against(features=features, weights=c.weights, resize=c.resize)
  start = Run(workdir, config, model.spec, model, 0, None)
  if model.reconstruct is not None:
    return _of_reconstructions(start, against, machine)
  comparison = measuring.compare(against, start, machine, c.num)
  drawing, draw, rows = Drawing(seed=config.seed), None, None

  def evaluate(params: Any, step: int) -> dict[str, float]:
    nonlocal draw, rows
    run = start._replace(step=step, params=params)
    rows = rows or samples.conditions_of(
      run, None, c.num
    )  # reads the data, once
    found = samples.of_run(run, rows, drawing, machine, c.num, draw)
    draw = found.draw
    result = measuring.measure(comparison, found.dataset, found.fields)
    path = workdir / 'evaluation' / f'{step:07d}.json'
    results.save(path, result, quiet=True)
    return {name: x['value'] for name, x in result['metrics'].items()}

  return evaluate


def _of_reconstructions(
  start: Run, against: Against, machine: measuring.Machine
) -> Callable[[Any, int], dict[str, float]]:
  dataset = reconstructions.images_of(start, num=start.config.evaluation.num)
  comparison = measuring.compare_with(dataset, against, machine)
  run = reconstructions.compiled(start.model, machine)

  def evaluate(params: Any, step: int) -> dict[str, float]:
    result = reconstructions.distances(comparison, run, params, dataset)
    path = start.workdir / 'evaluation' / f'{step:07d}_distance.json'
    results.save(path, result, quiet=True)
    return {name: x['value'] for name, x in result['metrics'].items()}

  return evaluate
