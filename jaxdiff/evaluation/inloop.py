"""Measurement of a run while it trains."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from jaxdiff import parallel
from jaxdiff.config import Config
from jaxdiff.evaluation import measuring, protocol, subjects
from jaxdiff.evaluation.flags import Against, Drawing
from jaxdiff.models import Model
from jaxdiff.runs import Run


def make(
  config: Config, model: Model, batch_size: int = 64
) -> Callable[[Any, int], dict[str, float]]:
  """Builds evaluate(params, step) -> {metric: value}.

  Samples are drawn as the run is configured, with its own seed and the
  conditions of its training set, and measured against that set. Each result is
  stamped and written to WORKDIR/evaluation/STEP.json. Every process must call
  it; each draws its part.

  Args:
    config: of the run.
    model: of the run.
    batch_size: samples at a time.

  Returns:
    The function; `params` are whole copies, from `parallel.gather`.

  Raises:
    ValueError, FileNotFoundError: see `extractors.load`.
  """
  c = config.evaluation
  subjects.check_images(config, model.spec.modality)
  machine = measuring.machine(batch_size, config.parallel.mode, quiet=True)
  against = Against(features=c.features, weights=c.weights, resize=c.resize)
  reference = subjects.reference_of(against, config)
  extractor = subjects.extractor_of(against, reference)
  target = subjects.target(against, reference, extractor, machine)
  drawing, workdir = Drawing(seed=config.seed), Path(config.workdir)
  rows = draw = None

  def evaluate(params: Any, step: int) -> dict[str, float]:
    nonlocal rows, draw
    run = Run(workdir, config, model.spec, model, step, params)
    if rows is None:  # reads the data set, once
      rows = subjects.conditions_of(run, drawing.labels)
    subject = subjects.drawn(run, drawing, machine, c.num, rows=rows, draw=draw)
    draw = subject.draw
    ours = measuring.samples(subject.images, extractor, machine)
    measured = measuring.measure(extractor, ours, target)
    described = subjects.protocol_of(subject, extractor, target, None)
    result = protocol.stamp(measured, described)
    if parallel.is_primary():
      protocol.write(result, workdir / 'evaluation' / f'{step:07d}.json')
    return {name: values['value'] for name, values in measured.items()}

  return evaluate
