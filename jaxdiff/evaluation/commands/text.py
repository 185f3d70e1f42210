"""Command `text`: unique, novel, correct and likely texts of a model."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from jaxdiff import data, files
from jaxdiff.config.ranges import In
from jaxdiff.data import Dataset, vocabulary
from jaxdiff.evaluation import perplexity, texts
from jaxdiff.evaluation.commands import drawing
from jaxdiff.evaluation.flags import Batch, Kept, Num


@dataclass(frozen=True)
class Text(Kept):
  """Fractions of texts that are unique, novel and, for sums, correct.

  For sums also the fraction of correct results where '037+481=___' of the test
  split is completed. With a scorer also the perplexity of the texts and of as
  many of the test split. Writes WORKDIR/evaluation/text_*.json.
  """

  num: Num = 1000
  batch_size: Batch = 128
  # Sums: completed texts, a random subset of the test split (1000).
  infills: Annotated[int, In('[0, 10000000]')] | None = None
  # An autoregressive run (--network.block 1), or a folder with a GPT-2:
  # config.json, tokenizer.json, model.safetensors.
  scorer: str | None = None

  def run(self) -> dict[str, Any]:
    """Draws and measures the texts, and writes the result."""
    train, test = drawing.load_data(self, 'text')
    sums = train.name == 'sums'
    if self.infills is not None and not sums:
      raise ValueError(f'--infills is for sums, not for {train.name}')
    scorer = perplexity.read_scorer(self.scorer) if self.scorer else None
    if scorer is not None:
      # Characters that it does not know are found before the work.
      scorer.encode([''.join(train.symbols)])
    infills = self.infills
    if infills is None:
      infills = min(1000, len(test)) if sums else 0
    if infills > len(test):
      raise ValueError(
        f'--infills must be at most {len(test)}, the texts of the test split, '
        f'got {infills}'
      )
    job, path = drawing.draw(self, 'text', '.json')
    name = '' if self.infills is None else f'_infills{infills}'
    name += f'_{scorer.sha256[:8]}' if scorer else ''
    out = path.with_name(f'{path.stem}{name}.metrics.json')
    files.check_target(out)
    # Windows of running text are no units that could be novel.
    lines = sums or train.name.startswith('lines:')
    known = set(vocabulary.decode_all(train)) if lines else None
    samples = read_texts(path)
    found = texts.summary(samples, known, sums)
    about = {}
    if scorer is not None:
      real = vocabulary.decode_all(data.subset(test, min(job.num, len(test))))
      found |= perplexity.measure(samples, scorer)
      of_data = perplexity.measure(real, scorer)
      found |= {f'test_{name}': x for name, x in of_data.items()}
      about = {'scorer': self.scorer, 'scorer_sha256': scorer.sha256}
    if infills:
      found |= self._complete(test, infills)
    return drawing.save(job, out, found, train, test, **about)

  def _complete(self, test: Dataset, num: int) -> dict[str, float]:
    """Completes sums of the test split and counts the correct results."""
    correct = vocabulary.decode_all(data.subset(test, num))
    file = (
      files.as_path(self.workdir) / 'evaluation' / f'infills_{len(correct)}.txt'
    )
    blanks = [text[: text.index('=') + 1] + '___' for text in correct]
    files.write_text('\n'.join(blanks) + '\n', file)
    _, path = drawing.draw(
      self, 'infilled', '.json', num=len(correct), infills=str(file)
    )
    filled = read_texts(path)
    hits = [a == b for a, b in zip(filled, correct, strict=True)]
    value, num = sum(hits) / len(hits), len(hits)
    error = texts.standard_error(value, num)
    return {'infilled': value, 'infilled_error': error, 'infilled_num': num}


def read_texts(path: Path) -> list[str]:
  """Reads a '.json' of texts.

  Raises:
    ValueError: It is damaged.
  """
  texts = files.read_json(path, 'the samples')
  if not isinstance(texts, list) or {*map(type, texts)} != {str}:
    raise ValueError(drawing.DAMAGED.format(path=path))
  return texts
