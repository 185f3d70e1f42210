"""Measuring a run while it trains."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

from jaxdiff import build
from jaxdiff.config import Config, Spec
from jaxdiff.evaluation import generate, measuring, protocol, subjects
from jaxdiff.evaluation.flags import Against, Drawing


def make(
  config: Config,
  spec: Spec,
  *,
  features: str,
  weights: str | None = None,
  resize: str | None = None,
  num: int = 1000,
  batch_size: int = 64,
) -> Callable[[Any, int], dict[str, float]]:
  """Builds evaluate(params, step) -> {metric: value}.

  Samples are drawn as the run is configured to, with its own seed, asked for
  what its training set has, and measured against that set. Each result is
  stamped and written to WORKDIR/evaluation/STEP.json. Every process must
  call it; each draws its share.

  Args:
    config: of the run.
    spec: of its data.
    features: 'inception', 'clip:FOLDER' or 'classifier:WORKDIR'.
    weights: file of Inception's.
    resize: rule, see `extractors.load`.
    num: of samples, each time.
    batch_size: samples at a time.

  Returns:
    The function; `params` are whole copies, from `parallel.gather`.

  Raises:
    ValueError, FileNotFoundError: see `extractors.load`.
  """
  generate.check_images(config, spec)
  machine = measuring.machine(batch_size, config.parallel.mode, quiet=True)
  against = Against(features=features, weights=weights, resize=resize)
  reference = subjects.reference_of(against, config)
  extractor = subjects.extractor_of(against, reference)
  target = subjects.target(against, reference, extractor, machine)
  draw = policy = None

  def evaluate(params: Any, step: int) -> dict[str, float]:
    nonlocal draw, policy
    run = build.Run(config, spec, step, params)
    draw = draw or generate.compiled(run, machine.mesh, machine.mode)
    drawing = Drawing(seed=config.seed)
    if policy is None:  # Reads the set, once.
      policy = generate.asked_as(drawing.labels, run, config.workdir, None)
    subject = subjects.drawn(
      run,
      config.workdir,
      drawing,
      machine,
      num,
      draw=draw,
      policy=policy,
    )
    ours = measuring.samples(subject.images, extractor, machine)
    measured = measuring.measure(extractor, ours, target)
    described = subjects.protocol_of(subject, extractor, target, None)
    result = protocol.stamp(measured, described)
    if jax.process_index() == 0:
      folder = Path(config.workdir) / 'evaluation'
      protocol.write(result, folder / f'{step:07d}.json')
    return {name: values['value'] for name, values in measured.items()}

  return evaluate
