"""`python -m jaxdiff.evaluation text WORKDIR`: what a model of text writes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro

from jaxdiff import build, data, files
from jaxdiff.config import Config, undescribe
from jaxdiff.data import vocabulary
from jaxdiff.evaluation import texts
from jaxdiff.evaluation.commands import samples
from jaxdiff.runs import run_config


@dataclass(frozen=True)
class Text:
  """Fractions of samples that are unique, novel and, of sums, correct.

  Of sums also the fraction of results that are right when '037+481=___' of the
  test split is filled in. Writes WORKDIR/evaluation/text_*.json.
  """

  workdir: Annotated[str, tyro.conf.Positional]
  num: int = 1000
  infills: int = 1000  # of sums: how many of the test split
  seed: int = 0
  sampler: str | None = None
  steps: int | None = None
  temperature: float | None = None
  block: int | None = None
  checkpoint: int | None = None
  ema: bool = True
  batch_size: int = 128

  def run(self) -> dict[str, Any]:
    config, spec = undescribe(run_config.load_config(self.workdir))
    name = config.data.name
    if spec.kind != 'text':
      raise ValueError(f'{self.workdir} holds a model of {name}')
    sums = name == 'sums'
    # Windows of running text are no units that could be novel.
    train = None
    if sums or name.startswith('lines:'):
      train = set(self._decoded(config, 'train'))
    options = samples.sampling_options(self, infills=None)
    job, path = samples.draw(options, 'text', '.json')
    found = texts.summary(samples.texts_of(path), train, sums)
    for key, value in list(found.items()):
      found[f'{key}_error'] = samples.standard_error(value, job.num)
    if sums and self.infills:
      found |= self._filled(config)
    out = path.with_suffix('.metrics.json')
    return samples.report(job, name, found, out)

  def _filled(self, config: Config) -> dict[str, float]:
    """The fraction of results that are right."""
    right = self._decoded(config, 'test')[: self.infills]
    file = Path(self.workdir) / 'evaluation' / f'infills_{len(right)}.txt'
    blanks = [text[: text.index('=') + 1] + '___' for text in right]
    files.write_text('\n'.join(blanks) + '\n', file)
    options = samples.sampling_options(self, num=len(right), infills=str(file))
    _, path = samples.draw(options, 'infilled', '.json')
    written = samples.texts_of(path)
    hits = [a == b for a, b in zip(written, right, strict=True)]
    share = sum(hits) / len(hits)
    error = samples.standard_error(share, len(hits))
    return {'infilled': share, 'infilled_error': error}

  def _decoded(self, config: Config, split: str) -> list[str]:
    dataset = build.load_examples(config, self.workdir, split).dataset
    return decoded(dataset)


def decoded(dataset: data.Dataset) -> list[str]:
  """All texts of a set."""
  arrays = dataset.gather(np.arange(len(dataset)))
  masks = arrays.get('mask', [None] * len(dataset))
  return [
    vocabulary.decode(x, dataset.symbols, mask)
    for x, mask in zip(arrays['x0'], masks, strict=True)
  ]
