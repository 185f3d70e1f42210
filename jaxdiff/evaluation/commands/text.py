"""The command `python -m jaxdiff.evaluation text WORKDIR`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from jaxdiff import data, files, runs
from jaxdiff.config import Config
from jaxdiff.config.ranges import Count, In
from jaxdiff.data import vocabulary
from jaxdiff.evaluation import texts
from jaxdiff.evaluation.commands import samples
from jaxdiff.evaluation.flags import Batch
from jaxdiff.runs import examples


@dataclass(frozen=True)
class Text(samples.Samples):
  """Fractions of samples that are unique, novel and, of sums, correct.

  For sums also the fraction of results that are right when '037+481=___' of the
  test split is infilled. Writes WORKDIR/evaluation/text_*.json.
  """

  num: Count = 1000
  infills: Annotated[int, In('[0, 2147483647]')] = (
    1000  # sums of the test split
  )
  batch_size: Batch = 128

  def run(self) -> dict[str, Any]:
    config, spec = runs.read_config(self.workdir)
    name = config.data.name
    if spec.modality != 'text':
      raise ValueError(f'{self.workdir} holds a model of {name}, not of text')
    sums = name == 'sums'
    # Windows of running text are no units that could be novel.
    train = None
    if sums or name.startswith('lines:'):
      train = set(self._decoded(config, 'train'))
    job, path = self.draw('text', '.json')
    written = read_texts(path)
    found = texts.summary(written, train, sums)
    if sums and self.infills:
      found |= self._infilled(config)
    out = path.with_suffix('.metrics.json')
    return samples.report(job, name, found, out)

  def _infilled(self, config: Config) -> dict[str, float]:
    """Computes the fraction of infilled results that are right."""
    dataset = self._dataset(config, 'test')
    right = decoded(data.subset(dataset, min(self.infills, len(dataset))))
    file = Path(self.workdir) / 'evaluation' / f'infills_{len(right)}.txt'
    blanks = [text[: text.index('=') + 1] + '___' for text in right]
    files.write_text('\n'.join(blanks) + '\n', file)
    _, path = self.draw('infilled', '.json', num=len(right), infills=str(file))
    written = read_texts(path)
    hits = [a == b for a, b in zip(written, right, strict=True)]
    fraction = sum(hits) / len(hits)
    error = texts.standard_error(fraction, len(hits))
    return {'infilled': fraction, 'infilled_error': error}

  def _dataset(self, config: Config, split: str) -> data.Dataset:
    return examples.load(config, self.workdir, split).dataset

  def _decoded(self, config: Config, split: str) -> list[str]:
    return decoded(self._dataset(config, split))


def read_texts(path: Path) -> list[str]:
  """Reads the texts that sample.py wrote."""
  return files.read_json(path, 'the samples')


def decoded(dataset: data.Dataset) -> list[str]:
  """Returns all texts of a data set."""
  arrays = dataset.gather(np.arange(len(dataset)))
  masks = arrays.get('mask', [None] * len(dataset))
  return [
    vocabulary.decode(x, dataset.symbols, mask)
    for x, mask in zip(arrays['x0'], masks, strict=True)
  ]
