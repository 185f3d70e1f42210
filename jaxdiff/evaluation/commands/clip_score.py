"""Command `clip-score`: image samples against their prompts."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from jaxdiff import files, parallel, tokenizers
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
    load = self._drawn if samples.is_run(self.samples) else self._stored
    subject, prompts = load(machine)
    cut = sum(tokenizer.count(prompt) > tokenizer.length for prompt in prompts)
    space = extractor.space
    fields = {
      **subject.fields,
      'space': space._asdict(),
      'prompts': len(prompts),
      'prompts_sha256': files.json_hash(prompts),
      'prompts_truncated': cut,
      'warnings': [f'{cut} prompts are longer than CLIP reads'] * bool(cut),
    }
    path = subject.path('clip_score', self)
    folder = path.with_name(path.name + '.parts') / files.json_hash(fields)
    found = measuring.extract(
      subject.dataset, extractor, machine, [IMAGE], folder=folder
    )
    size, tokens = machine.batch_size, tokenizer.encode(prompts)
    embed = features.extraction(
      extractors.text_fn(weights.network),
      weights.params,
      mesh=machine.mesh,
      mode=machine.mode,
    )
    batches = (tokens[i : i + size] for i in range(0, len(tokens), size))
    texts = features.concatenate(embed(batches))[TEXT]
    pairs = texts[np.arange(len(subject.dataset)) % len(texts)]
    score = clip_score(found[IMAGE], pairs)
    name = f'CLIP score ({space.network}, {space.weights})'
    result = {'metrics': {name: score._asdict()}, **fields}
    result = results.save(path, result, metrics.table(result))
    if parallel.is_primary():
      cache.discard(folder)
    return result

  def _drawn(self, machine: Machine) -> tuple[Samples, list[str]]:
    """Draws samples of a run, each of the returned prompts in turn."""
    run = samples.load(self.samples, self.drawing, machine)
    split, c = self.drawing.labels, run.config.data
    if self.prompts and split != 'train':
      raise ValueError('--labels has no effect with --prompts')
    captioned = Source(c.name, split, c.image_size, c.data_dir)
    prompts = self._prompts(captioned, run.spec)
    num = self.num or len(prompts)
    if num < len(prompts):
      chosen = images.subset_indices(len(prompts), num)
      prompts = [prompts[i] for i in chosen]
    rows = conditions.prompted(run, prompts)
    subject = samples.of_run(run, rows, self.drawing, machine, num)
    return subject, prompts

  def _stored(self, machine: Machine) -> tuple[Samples, list[str]]:
    """Reads images, and returns the prompt of each."""
    del machine
    subject = samples.of_files(self.samples, self.num, self.drawing)
    captioned = images.parse(self.samples)
    prompts, total = self._prompts(captioned), len(captioned.load())
    if len(prompts) > total:
      raise ValueError(
        f'{len(prompts)} prompts, and {total} images in {self.samples}: give '
        'the prompts of these images alone'
      )
    rows = images.subset_indices(total, self.num or total)
    return subject, [prompts[i % len(prompts)] for i in rows]

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
