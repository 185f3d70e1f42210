"""Command `fid`: distances of image samples from a reference."""

from dataclasses import dataclass, field
from typing import Annotated, Any

from jaxdiff import parallel
from jaxdiff.config import Section
from jaxdiff.evaluation import cache, measuring, metrics, samples
from jaxdiff.evaluation.flags import Against, Drawing, Flat, Num, Running
from jaxdiff.runs import results


@dataclass(frozen=True)
class Fid(Section):
  """FID and other distances of images; named so only with published weights.

  Samples of a WORKDIR are drawn as they are measured and not stored. An
  interrupted job continues.
  """

  samples: str  # a folder of images, an .npz, or a WORKDIR of train.py
  num: Num | None = None  # None: 50,000 of a WORKDIR, otherwise all
  out: str | None = None  # .json; None: in WORKDIR/evaluation, or beside
  against: Annotated[Against, Flat] = field(default_factory=Against)
  drawing: Annotated[Drawing, Flat] = field(default_factory=Drawing)
  running: Annotated[Running, Flat] = field(default_factory=Running)

  def run(self) -> dict[str, Any]:
    """Measures the samples and writes the result."""
    machine, run = measuring.machine(self.running), None
    if samples.is_run(self.samples):
      run = samples.load(self.samples, self.drawing, machine)
      num = self.num or measuring.NUM_SAMPLES
      rows = samples.conditions_of(run, self.drawing.labels, num)
      name, reference = self.drawing.data_name, self.against.reference
      samples.check_data_name(name, reference, rows)
      subject = samples.of_run(run, rows, self.drawing, machine, num)
    else:
      subject = samples.of_files(self.samples, self.num, self.drawing)
    kinds = [x.partition(':')[0] for x in self.against.features]
    path = subject.path('_'.join(kinds), self)
    num = len(subject.dataset)
    comparison = measuring.compare(self.against, run, machine, num)
    key = comparison.key(subject.fields)
    folder = path.with_name(path.name + '.parts') / key
    dataset, fields = subject.dataset, subject.fields
    result = measuring.measure(comparison, dataset, fields, folder)
    result = results.save(path, result, metrics.table(result))
    if parallel.is_primary():
      cache.discard(folder)
    return result
