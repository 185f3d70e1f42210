"""`python -m jaxdiff.evaluation fid`: samples against a reference."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from jaxdiff.evaluation import blocks, measuring, named, reports, subjects
from jaxdiff.evaluation.flags import Against, Drawing, Flat, Running


@dataclass(frozen=True)
class Fid:
  """FID and its kin, by name only with the published Inception weights.

  Samples of a WORKDIR are drawn as they are measured and not stored. An
  interrupted job goes on where it was.
  """

  samples: str  # a folder of images, an .npz, or a WORKDIR of train.py
  num: int | None = None  # None: 50,000 of a WORKDIR, else all there are
  out: str | None = None  # .json; None: in WORKDIR/evaluation, or beside
  against: Annotated[Against, Flat] = field(default_factory=Against)
  drawing: Annotated[Drawing, Flat] = field(default_factory=Drawing)
  running: Annotated[Running, Flat] = field(default_factory=Running)

  def run(self) -> dict[str, Any]:
    machine = measuring.machine(self.running.batch_size, self.running.mode)
    against, drawing = self.against, self.drawing
    # What can be wrong is found out before anything is computed.
    if named.is_run(self.samples):
      run = subjects.load_run(self.samples, drawing, machine)
      reference = subjects.reference_of(against, run.config)
      extractor = subjects.extractor_of(against, reference)
      subject = subjects.drawn(run, self.samples, drawing, machine, self.num)
    else:
      if drawing != Drawing():
        raise ValueError(
          f'{self.samples} is not a workdir of train.py with a checkpoint: '
          'flags of a sampler have no use'
        )
      reference = subjects.reference_of(against, None)
      extractor = subjects.extractor_of(against, reference)
      subject = subjects.stored(self.samples, self.num)
    out = Path(self.out or self._beside(subject.title, against.features))
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

  def _beside(self, title: str, features: str) -> Path:
    samples, kind = Path(self.samples), features.partition(':')[0]
    if named.is_run(samples):
      return samples / 'evaluation' / f'{kind}_{title}.json'
    return samples.with_name(f'{samples.stem}.{kind}.json')
