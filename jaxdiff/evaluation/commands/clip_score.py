"""Command `clip-score`: image samples against their prompts."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np

from jaxdiff import data, files, parallel, tokenizers
from jaxdiff.config import Section, Spec
from jaxdiff.evaluation import (
  cache,
  extractors,
  features,
  images,
  measuring,
  metrics,
  samples,
)
from jaxdiff.evaluation.clip_score import clip_score
from jaxdiff.evaluation.extractors import IMAGE, TEXT
from jaxdiff.evaluation.flags import Drawing, Flat, Num, Running
from jaxdiff.evaluation.images import Source
from jaxdiff.evaluation.measuring import Machine
from jaxdiff.evaluation.samples import Samples
from jaxdiff.generation import conditions
from jaxdiff.pretrained.clip_folder import read_clip
from jaxdiff.runs import examples, results


class Pairs(NamedTuple):
  """Images, and the prompt of each."""

  samples: Samples
  prompts: list[str]  # those that are used
  index: np.ndarray  # [N], the prompt of image i
  given: int  # prompts there were to choose from


@dataclass(frozen=True)
class ClipScore(Section):
  """Agreement of images with their prompts, by a published CLIP.

  Sample i has prompt i, and after the last prompt the first again. Without
  --prompts, a folder has them in its captions.json, and a WORKDIR draws the
  captions of its data set, of the split --labels.
  """

  samples: str  # a folder of images, an .npz, or a WORKDIR of train.py
  weights: str  # a folder of CLIP's files, Hugging Face's or open_clip's
  prompts: str | None = None  # a file, one a line
  vocabulary: str | None = None  # None: in the folder of the weights
  # A random subset. None: of a WORKDIR each prompt once, otherwise all.
  num: Num | None = None
  out: str | None = None  # .json; None: in WORKDIR/evaluation, or beside
  drawing: Annotated[Drawing, Flat] = field(default_factory=Drawing)
  running: Annotated[Running, Flat] = field(default_factory=Running)

  def run(self) -> dict[str, Any]:
    """Measures the samples and writes the result."""
    machine = measuring.machine(self.running)
    weights = read_clip(self.weights)
    extractor = extractors.clip(weights, Path(self.weights).name)
    tokenizer = tokenizers.clip_tokenizer(
      self.vocabulary or self.weights, weights.network.text.max_length
    )
    drawn = samples.is_run(self.samples)
    pairs = self._drawn(machine) if drawn else self._stored()
    space, fields = extractor.space, _fields(pairs, tokenizer)
    fields['space'] = space._asdict()
    path = pairs.samples.path('clip_score', self)
    folder = path.with_name(path.name + '.parts') / files.json_hash(fields)
    found = measuring.extract(
      pairs.samples.dataset, extractor, machine, [IMAGE], folder=folder
    )
    size, tokens = machine.batch_size, tokenizer.encode(pairs.prompts)
    embed = features.extraction(
      extractors.text_fn(weights.network),
      weights.params,
      mesh=machine.mesh,
      mode=machine.mode,
    )
    batches = (tokens[i : i + size] for i in range(0, len(tokens), size))
    texts = features.concatenate(embed(batches))[TEXT]
    score = clip_score(found[IMAGE], texts[pairs.index])
    name = f'CLIP score ({space.network}, {space.weights})'
    result = {'metrics': {name: score._asdict()}, **fields}
    result = results.save(path, result, metrics.table(result))
    if parallel.is_primary():
      cache.discard(folder)
    return result

  def _drawn(self, machine: Machine) -> Pairs:
    """Draws samples of a run, each of the prompts in turn."""
    run = samples.load(self.samples, self.drawing, machine)
    split, c = self.drawing.labels, run.config.data
    if self.prompts and (split or self.drawing.data_name):
      flag = '--labels' if split else '--data-name'
      raise ValueError(f'{flag} has no effect with --prompts')
    captioned = Source(c.name, split or 'train', c.image_size, c.data_dir)
    lines = self._prompts(captioned, run.spec)
    num = self.num or len(lines)
    chosen = data.spread(len(lines), min(num, len(lines)))
    prompts = [lines[i] for i in chosen]
    rows = conditions.prompted(run, prompts)
    subject = samples.of_run(run, rows, self.drawing, machine, num)
    return Pairs(subject, prompts, np.arange(num) % len(prompts), len(lines))

  def _stored(self) -> Pairs:
    """Reads images; image i has prompt i, in turn."""
    subject = samples.of_files(self.samples, self.num, self.drawing)
    captioned = images.parse(self.samples)
    lines, total = self._prompts(captioned), len(captioned.load())
    if len(lines) > total:
      raise ValueError(
        f'{len(lines)} prompts, and {total} images in {self.samples}: give '
        'the prompts of these images alone'
      )
    rows = data.spread(total, self.num or total) % len(lines)
    used, index = np.unique(rows, return_inverse=True)
    return Pairs(subject, [lines[i] for i in used], index, len(lines))

  def _prompts(self, captioned: Source, spec: Spec | None = None) -> list[str]:
    """Reads --prompts, or the captions of images, those of a run if `spec`.

    Raises:
      ValueError: Neither is there.
    """
    if self.prompts is not None:
      return conditions.read_prompts(None, self.prompts)
    dataset = captioned.load()
    if spec:
      examples.check(spec, dataset)
    if not dataset.has_captions:
      raise ValueError(
        f'{captioned} has no captions: give --prompts FILE, a line for each '
        'image, or put captions.json beside the images'
      )
    return list(dataset.gather(np.arange(len(dataset)))['caption'])


def _fields(pairs: Pairs, tokenizer: tokenizers.Tokenizer) -> dict[str, Any]:
  """Counts the prompts: given, used, and longer than CLIP reads."""
  used, num = len(pairs.prompts), len(pairs.index)
  cut = sum(tokenizer.count(x) > tokenizer.length for x in pairs.prompts)
  warnings = measuring.cut_warnings(pairs.samples.fields)
  if cut:
    warnings.append(f'{cut} prompts are longer than CLIP reads')
  if used < pairs.given:
    warnings.append(f'{used} of {pairs.given} prompts are used, at random')
  if used < num:
    warnings.append(f'{used} prompts for {num} images are taken in turn')
  return {
    **pairs.samples.fields,
    'prompts': used,
    'prompts_given': pairs.given,
    'prompts_truncated': cut,
    'prompts_sha256': files.json_hash(pairs.prompts),
    'warnings': warnings,
  }
