"""`python -m jaxdiff.evaluation clip-score`: samples against their captions."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from jaxdiff import requests, tokenizers
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
from jaxdiff.pretrained.clip_weights import ClipWeights


@dataclass(frozen=True)
class ClipScore:
  """How well samples fit what they were asked to show, by a published CLIP.

  Sample i is of prompt i, and after the last of the first again. Without
  --prompts those of a folder are in its captions.json; a WORKDIR is asked for
  the captions of its set, of the split that --labels names.
  """

  samples: str  # a folder of images, an .npz, or a WORKDIR of train.py
  weights: str  # a folder of CLIP's files, Hugging Face's or open_clip's
  prompts: str | None = None  # a file, one a line
  vocabulary: str | None = None  # None: in the folder of the weights
  num: int | None = None  # None: of a WORKDIR each prompt once, else all
  out: str | None = None  # .json; None: in WORKDIR/evaluation, or beside
  drawing: Annotated[Drawing, Flat] = field(default_factory=Drawing)
  running: Annotated[Running, Flat] = field(default_factory=Running)

  def run(self) -> dict[str, Any]:
    machine = measuring.machine(self.running.batch_size, self.running.mode)
    weights = extractors.read_clip(self.weights)
    extractor = extractors.clip(weights, Path(self.weights).name)
    tokenizer = tokenizers.clip_tokenizer(
      self.vocabulary or self.weights, weights.network.text.max_length
    )
    if named.is_run(self.samples):
      run = subjects.load_run(self.samples, self.drawing, machine)
      prompts = self._prompts(
        f'{run.config.data.name}:{self.drawing.labels}', run.config.data
      )
      num = len(prompts) if self.num is None else self.num
      subject = subjects.drawn(
        run, self.samples, self.drawing, machine, num, prompts=prompts
      )
    else:
      prompts = self._prompts(self.samples)
      subject = subjects.stored(self.samples, self.num)
    out = Path(self.out or self._beside(subject.title))
    asked = {'prompts': len(prompts), 'prompts_sha256': _digest(prompts)}
    described = subject.described
    described = {
      **described,
      'options': {**described.get('options', {}), **asked},
    }
    directory = blocks.folder(
      out.with_name(out.name + '.parts'),
      {'space': extractor.space._asdict(), **described},
    )
    seen = measuring.samples(
      subject.images, extractor, machine, whole=True, directory=directory
    )
    texts = _embed(weights, tokenizer.encode(prompts), machine)
    num = subject.images.num
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

  def _prompts(self, captioned: str, data: Any = None) -> list[str]:
    if self.prompts is not None:
      return requests.read_prompts(None, self.prompts)
    size, folder = (data.image_size, data.data_dir) if data else (None, None)
    return named.read_captions(captioned, size, folder)

  def _beside(self, title: str) -> Path:
    samples = Path(self.samples)
    if named.is_run(samples):
      return samples / 'evaluation' / f'clip_score_{title}.json'
    return samples.with_name(f'{samples.stem}.clip_score.json')


def _embed(
  weights: ClipWeights, tokens: np.ndarray, machine: Machine
) -> np.ndarray:
  """Texts [M, L] -> [M, D]; every process reads all of them."""
  size = machine.size
  return features.extract(
    extractors.text_fn(weights.network),
    weights.params,
    (tokens[i : i + size] for i in range(0, len(tokens), size)),
    mesh=machine.mesh,
    mode=machine.mode,
  )[extractors.TEXT]


def _digest(prompts: Sequence[str]) -> str:
  return hashlib.sha256(json.dumps(list(prompts)).encode()).hexdigest()
