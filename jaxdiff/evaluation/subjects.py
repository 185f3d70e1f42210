"""The two sides of a measurement, from what was typed."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jaxdiff import build
from jaxdiff.config import Config
from jaxdiff.evaluation import (
  extractors,
  generate,
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


class Subject(NamedTuple):
  """Images to measure.

  Attributes:
    images: they.
    described: fields of a `Protocol` that say where they are from.
    title: a short name for a file.
  """

  images: Images
  described: dict[str, Any]
  title: str


def stored(path: str | Path, num: int | None) -> Subject:
  """Images of a folder or an .npz, the first `num`; errors as `images.read`."""
  found = images.read(path, num)
  described = {
    'samples': str(path),
    'samples_sha256': images.digest(found),
    'labels': 'not known',
  }
  return Subject(found, described, Path(path).stem)


def load_run(
  workdir: str | Path, drawing: Drawing, machine: Machine
) -> build.Run:
  """A run that is to be sampled as told; errors as `build.load_run`."""
  run = build.load_run(
    workdir, machine.mesh, checkpoint=drawing.checkpoint, ema=drawing.ema
  )
  generate.check_images(run.config, run.spec)
  return generate.chosen(
    run,
    sampler=drawing.sampler,
    steps=drawing.steps,
    scale=drawing.scale,
    eta=drawing.eta,
  )


def drawn(
  run: build.Run,
  workdir: str | Path,
  drawing: Drawing,
  machine: Machine,
  num: int | None = None,
  *,
  draw: generate.Draw | None = None,
  prompts: Sequence[str] | None = None,
  policy: generate.Policy | None = None,
) -> Subject:
  """Samples of a run, drawn as they are measured.

  Args:
    run: from `load_run`.
    workdir: of the run.
    drawing: as `load_run` was told.
    machine: devices.
    num: 50,000 by default.
    draw: from `generate.compiled` of a run that differs in weights, scale and
      eta at most.
    prompts: what to ask for, instead of `drawing.labels`.
    policy: from `generate.asked_as`, instead of both.
  """
  policy = policy or generate.asked_as(drawing.labels, run, workdir, prompts)
  found = generate.images(
    run,
    draw or generate.compiled(run, machine.mesh, machine.mode),
    policy,
    machine.mesh,
    num=NUM_SAMPLES if num is None else num,
    seed=drawing.seed,
    batch_size=machine.batch_size,
  )
  described = generate.described(
    run, workdir, policy, seed=drawing.seed, ema=drawing.ema
  )
  c = run.config.sampling
  title = f'{c.sampler}{c.steps}_seed{drawing.seed}_step{run.step}'
  title = ''.join(x if x.isalnum() or x in '._-' else '_' for x in title)
  return Subject(found, described, title)


def extractor_of(against: Against, reference: Named | Path) -> Extractor:
  """The network; beside published statistics their resize rule, 'tf1'."""
  rule = against.resize
  if named.is_statistics(reference) and against.features == 'inception':
    rule = rule or 'tf1'
  return extractors.load(against.features, against.weights, rule)


def reference_of(against: Against, config: Config | None) -> Named | Path:
  """What --reference names; by default what the run was trained on.

  Args:
    against: the flags.
    config: of the run that is measured, if it is one: a reference that is its
      set is of the same size.

  Raises:
    ValueError: neither a reference nor a run.
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
  """The reference's statistics; with --metrics all, its features."""
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
  """The other split of the reference, measured like samples; if asked for.

  Args:
    against: the flags.
    reference: that `found` is of.
    extractor: of features.
    found: the reference.
    machine: devices.
    num: of samples; as many real images, or all there are.

  Raises:
    ValueError: the reference is no named set.
  """
  if not against.floor:
    return None
  if not isinstance(reference, Named):
    raise ValueError(
      '--floor compares two splits of a named set, such as tfds:cifar10; '
      f'{reference} has none'
    )
  source = named.load(named.other_split(reference))
  source = source._replace(num=min(num, source.num))
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
  """All that a result has to say."""
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
