"""Samples and references of a measurement, from the flags of a command."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxdiff import parallel
from jaxdiff.config import Config
from jaxdiff.evaluation import (
  extractors,
  images,
  measuring,
  metrics,
  named,
  protocol,
)
from jaxdiff.evaluation.extractors import Extractor
from jaxdiff.evaluation.flags import Against, Drawing
from jaxdiff.evaluation.images import Images
from jaxdiff.evaluation.measuring import Machine, Target
from jaxdiff.evaluation.named import Named
from jaxdiff.evaluation.protocol import NUM_SAMPLES, Protocol
from jaxdiff.generation import conditions, job
from jaxdiff.generation.conditions import Conditions
from jaxdiff.generation.job import Job
from jaxdiff.runs import Run


class Subject(NamedTuple):
  """Images to measure.

  images: the images.
  described: fields of a `Protocol`: where they are from.
  title: a short name for a file.
  draw: the compiled sampler, for another run that differs in weights, scale and
    eta at most; None for stored images.
  """

  images: Images
  described: dict[str, Any]
  title: str
  draw: Any = None


def stored(path: str | Path, num: int | None) -> Subject:
  """Reads images of a folder or an .npz; errors as `images.read`."""
  found = images.read(path, num)
  described = {
    'samples': str(path),
    'samples_sha256': images.digest(found),
    'labels': 'not known',
  }
  return Subject(found, described, Path(path).stem)


def load_run(workdir: str | Path, drawing: Drawing, machine: Machine) -> Run:
  """Loads a run that draws images; errors as `generation.job.load_run`."""
  run = job.load_run(workdir, drawing, machine.mesh)
  check_images(run.config, run.spec.modality)
  return run


def check_images(config: Config, modality: str) -> None:
  """Raises ValueError unless a run draws images."""
  if modality == 'image':
    return
  command = {'text': 'text', 'graph': 'graphs'}.get(modality)
  advice = f': use jaxdiff.evaluation {command}' if command else ''
  raise ValueError(f'a model of {config.data.name} draws no images{advice}')


def drawn(
  run: Run,
  drawing: Drawing,
  machine: Machine,
  num: int | None = None,
  *,
  prompts: Sequence[str] | None = None,
  rows: Conditions | None = None,
  draw: Any = None,
) -> Subject:
  """Draws samples of a run while they are measured.

  Args:
    run: from `load_run`.
    drawing: the flags of the run.
    machine: devices.
    num: of samples, 50,000 by default.
    prompts: the conditions, instead of `drawing.labels`.
    rows: the conditions, instead of both.
    draw: of another subject.
  """
  if rows is None:
    rows = conditions_of(run, drawing.labels, prompts)
  made = job.job_of_run(
    run,
    machine.mesh,
    rows,
    num=NUM_SAMPLES if num is None else num,
    seed=drawing.seed,
    ema=drawing.ema,
    mode=machine.mode,
    draw=draw,
  )
  found = images_of(made, machine)
  return Subject(found, described(made, rows), made.name, made.draw)


def conditions_of(
  run: Run, labels: str, prompts: Sequence[str] | None = None
) -> Conditions:
  """Builds the conditions that samples of a run are drawn with."""
  if prompts is not None:
    return conditions.prompted(run, prompts)
  if labels == 'uniform':
    return conditions.uniform(run)
  return conditions.of_split(run, labels)


def images_of(made: Job, machine: Machine) -> Images:
  """Returns the samples of a job as images, drawn when they are read.

  Any part of them can be drawn again: they need not be stored.
  """
  size = parallel.batch_size(made.num, machine.batch_size, machine.mesh)

  def batches(some: int, start: int, stop: int) -> Iterator[np.ndarray]:
    del some  # it is compiled for `size`
    for first in range(start, stop, size):
      index = np.arange(first, first + size, dtype=np.int32)
      yield np.stack(made.samples(index))[: stop - first]

  m = made.metadata
  name = f'{m["sampler"]}, {m["steps"]} steps, seed {m["seed"]}'
  return Images(name, made.num, tuple(made.run.spec.shape), batches)


def described(made: Job, rows: Conditions) -> dict[str, Any]:
  """Returns all on which samples depend, as fields of `Protocol`."""
  m, conditional = made.metadata, bool(rows.null)
  names = ['eta', 'times', 'threshold', 'variance', 'params_sha256']
  names += ['temperature'] if made.run.model.schedule is None else []
  names += ['guidance', 'interval', 'rescale'] if conditional else []
  names += ['augment'] if made.run.config.condition.low_res else []
  average = 'average' if m['ema'] else 'no average'
  return {
    'samples': m['workdir'],
    'labels': rows.name,
    'sampler': m['sampler'],
    'steps': m['steps'],
    'scale': m['scale'] if conditional else None,
    'seed': m['seed'],
    'checkpoint': f'step {made.run.step}, {average}',
    'options': {name: m[name] for name in names},
  }


def extractor_of(against: Against, reference: Named | Path) -> Extractor:
  """Loads the network; for published statistics its resize rule is 'tf1'."""
  rule = against.resize
  if named.is_statistics(reference) and against.features == 'inception':
    rule = rule or 'tf1'
  return extractors.load(against.features, against.weights, rule)


def reference_of(against: Against, config: Config | None) -> Named | Path:
  """Parses --reference; None is the training set of the run.

  Args:
    against: the flags.
    config: of the run that is measured, if it is one: a reference that is its
      data set has its image size.

  Raises:
    ValueError: neither a reference nor a run; flags of a data set for files.
  """
  if against.reference is None:
    if config is None:
      raise ValueError(
        '--reference is needed: digits, captioned_shapes, tfds:NAME[:SPLIT], '
        'folder:PATH, a folder of images, or an .npz'
      )
    source = Named(config.data.name, 'train', against.image_size)
  else:
    source = named.parse(against.reference, against.image_size)
  if not isinstance(source, Named):
    for flag in ('image_size', 'data_dir'):
      if getattr(against, flag) is not None:
        raise ValueError(
          f'--{flag.replace("_", "-")} is for a data set, and --reference '
          f'{against.reference} is a folder or a file: use folder:PATH'
        )
    return source
  source = source._replace(data_dir=against.data_dir)
  if config is not None and source.name == config.data.name:
    source = source._replace(
      image_size=source.image_size or config.data.image_size,
      data_dir=source.data_dir or config.data.data_dir,
    )
  return source


def target(
  against: Against,
  reference: Named | Path,
  extractor: Extractor,
  machine: Machine,
) -> Target:
  """Returns the statistics of the reference, or with --metrics all features."""
  whole = against.metrics == 'all'
  if named.is_statistics(reference):
    if whole:
      raise ValueError(
        f'{reference} has no features, only their moments: --metrics frechet'
      )
    return measuring.published(reference, extractor.space)
  source = (
    named.load(reference)
    if isinstance(reference, Named)
    else images.read(reference)
  )
  return measuring.target(
    source, extractor, machine, whole=whole, directory=against.cache
  )


class Floor(NamedTuple):
  """`metrics` of `num` real images called `name`."""

  name: str
  num: int
  metrics: metrics.Result


def floor(
  against: Against,
  reference: Named | Path,
  extractor: Extractor,
  found: Target,
  machine: Machine,
  num: int,
) -> Floor | None:
  """Measures the other split of the reference like samples, with --floor.

  Args:
    against: the flags.
    reference: whose statistics are `found`.
    extractor: of features.
    found: the reference.
    machine: devices.
    num: of samples; as many real images are taken at random, or all.

  Raises:
    ValueError: the reference is no data set.
  """
  if not against.floor:
    return None
  if not isinstance(reference, Named):
    raise ValueError(
      '--floor compares two splits of a data set, such as tfds:cifar10; '
      f'{reference} has none'
    )
  source = named.load(named.other_split(reference))
  source = images.subset(source, min(num, source.num))
  reduced = measuring.samples(
    source,
    extractor,
    machine,
    whole=against.metrics == 'all',
    what=f'floor {source.name}',
  )
  measured = measuring.measure(extractor, reduced, found)
  return Floor(source.name, source.num, measured)


def protocol_of(
  subject: Subject, extractor: Extractor, found: Target, floor: Floor | None
) -> Protocol:
  """Builds the protocol of a result."""
  options = {**subject.described.get('options', {}), **extractor.notes}
  if floor is not None:
    options |= {'floor': floor.name, 'floor_num': floor.num}
  return protocol.Protocol(
    extractor.space,
    subject.images.num,
    found.name,
    found.sha256,
    found.num,
    **{**subject.described, 'options': options},
  )
