"""The command `python -m jaxdiff.evaluation clip-score`."""

import hashlib
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from jaxdiff import tokenizers
from jaxdiff.config import Data, Section
from jaxdiff.evaluation import (
  blocks,
  extractors,
  features,
  measuring,
  named,
  protocol,
  reports,
  subjects,
)
from jaxdiff.evaluation.clip_score import clip_score
from jaxdiff.evaluation.flags import Drawing, Flat, Running
from jaxdiff.evaluation.measuring import Machine
from jaxdiff.generation.conditions import read_prompts
from jaxdiff.pretrained.clip_weights import ClipWeights


@dataclass(frozen=True)
class ClipScore(Section):
  """How well samples fit their prompts, by a published CLIP.

  Sample i has prompt i, and after the last prompt the first again. Without
  --prompts those of a folder are in its captions.json, and those of a WORKDIR
  are the captions of its data set, of the split that --labels names.
  """

  samples: str  # a folder of images, an .npz, or a WORKDIR of train.py
  weights: str  # a folder of CLIP's files, Hugging Face's or open_clip's
  prompts: str | None = None  # a file, one a line
  vocabulary: str | None = None  # None: in the folder of the weights
  num: reports.Num | None = (
    None  # None: of a WORKDIR each prompt once, else all
  )
  out: str | None = None  # .json; None: in WORKDIR/evaluation, or beside
  drawing: Annotated[Drawing, Flat] = field(default_factory=Drawing)
  running: Annotated[Running, Flat] = field(default_factory=Running)

  def run(self) -> dict[str, Any]:
    machine = measuring.machine(self.running.batch_size, self.running.mode)
    is_run = named.is_run(self.samples)
    if not is_run and self.drawing != Drawing():
      raise ValueError(
        f'{self.samples} is not a workdir of train.py with a checkpoint: '
        'flags of a sampler have no effect'
      )
    weights = extractors.read_clip(self.weights)
    extractor = extractors.clip(weights, Path(self.weights).name)
    tokenizer = tokenizers.clip_tokenizer(
      self.vocabulary or self.weights, weights.network.text.max_length
    )
    if is_run:
      run = subjects.load_run(self.samples, self.drawing, machine)
      data = run.config.data
      prompts = self._prompts(f'{data.name}:{self.drawing.labels}', data)
      num = len(prompts) if self.num is None else self.num
      subject = subjects.drawn(run, self.drawing, machine, num, prompts=prompts)
    else:
      prompts = self._prompts(self.samples, None)
      subject = subjects.stored(self.samples, self.num)
    num = subject.images.num
    if len(prompts) > num:
      raise ValueError(
        f'{len(prompts)} prompts for {num} images: give as many images, or '
        'fewer prompts, which are repeated'
      )
    cut = sum(tokenizer.count(prompt) > tokenizer.length for prompt in prompts)
    if cut:
      print(
        f'warning: {cut} of {len(prompts)} prompts are longer than the '
        f'{tokenizer.length} tokens of CLIP; their ends are not read',
        file=sys.stderr,
      )
    out = Path(
      self.out or reports.beside(self.samples, 'clip_score', subject, self)
    )
    described = subject.described
    options = {
      **described.get('options', {}),
      'prompts': len(prompts),
      'prompts_truncated': cut,
      'prompts_sha256': _digest(prompts),
    }
    described = {**described, 'options': options}
    directory = blocks.folder(
      out.with_name(out.name + '.parts'),
      {'space': extractor.space._asdict(), **described},
    )
    seen = measuring.samples(
      subject.images, extractor, machine, whole=True, directory=directory
    )
    texts = _embed(weights, tokenizer.encode(prompts), machine)
    score = clip_score(
      seen[extractor.feature], texts[np.arange(num) % len(texts)]
    )
    name = f'CLIP score ({extractor.space.network}, {extractor.space.weights})'
    return reports.finish(
      {name: score._asdict()},
      protocol.Protocol(extractor.space, num, **described),
      out,
      directory=directory,
    )

  def _prompts(self, captioned: str, data: Data | None) -> list[str]:
    if self.prompts is not None:
      return read_prompts(None, self.prompts)
    size, folder = (data.image_size, data.data_dir) if data else (None, None)
    return named.read_captions(captioned, size, folder)


def _embed(
  weights: ClipWeights, tokens: np.ndarray, machine: Machine
) -> np.ndarray:
  """Embeds texts [M, L] as [M, D]; every process reads all of them."""
  size = machine.size
  return features.extract(
    extractors.text_fn(weights.network),
    weights.params,
    (tokens[i : i + size] for i in range(0, len(tokens), size)),
    mesh=machine.mesh,
    mode=machine.mode,
  )[extractors.TEXT]


def _digest(prompts: list[str]) -> str:
  return hashlib.sha256(json.dumps(prompts).encode()).hexdigest()
