"""The command `python -m jaxdiff.evaluation fid`."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from jaxdiff.config import Section
from jaxdiff.evaluation import blocks, measuring, named, reports, subjects
from jaxdiff.evaluation.flags import Against, Drawing, Flat, Running


@dataclass(frozen=True)
class Fid(Section):
  """FID and its kin, by name only with the published Inception weights.

  Samples of a WORKDIR are drawn while they are measured and not stored. An
  interrupted job continues.
  """

  samples: str  # a folder of images, an .npz, or a WORKDIR of train.py
  num: reports.Num | None = None  # None: 50,000 of a WORKDIR, else all
  out: str | None = None  # .json; None: in WORKDIR/evaluation, or beside
  against: Annotated[Against, Flat] = field(default_factory=Against)
  drawing: Annotated[Drawing, Flat] = field(default_factory=Drawing)
  running: Annotated[Running, Flat] = field(default_factory=Running)

  def run(self) -> dict[str, Any]:
    machine = measuring.machine(self.running.batch_size, self.running.mode)
    against, drawing = self.against, self.drawing
    is_run = named.is_run(self.samples)
    if not is_run and drawing != Drawing():
      raise ValueError(
        f'{self.samples} is not a workdir of train.py with a checkpoint: '
        'flags of a sampler have no effect'
      )
    # Errors are found before anything is computed.
    run = subjects.load_run(self.samples, drawing, machine) if is_run else None
    reference = subjects.reference_of(against, run and run.config)
    extractor = subjects.extractor_of(against, reference)
    if run:
      subject = subjects.drawn(run, drawing, machine, self.num)
    else:
      subject = subjects.stored(self.samples, self.num)
    features = against.features.partition(':')[0]
    out = Path(
      self.out or reports.beside(self.samples, features, subject, self)
    )
    directory = blocks.folder(
      out.with_name(out.name + '.parts'),
      {'space': extractor.space._asdict(), **subject.described},
    )
    target = subjects.target(against, reference, extractor, machine)
    ours = measuring.samples(
      subject.images,
      extractor,
      machine,
      whole=against.metrics == 'all',
      directory=directory,
    )
    floor = subjects.floor(
      against, reference, extractor, target, machine, subject.images.num
    )
    return reports.finish(
      measuring.measure(extractor, ours, target),
      subjects.protocol_of(subject, extractor, target, floor),
      out,
      floor=floor,
      directory=directory,
    )
