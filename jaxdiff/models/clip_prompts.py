"""Prompts read by a published text encoder, which is not trained further."""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np

from jaxdiff import files
from jaxdiff.models.prompts import Prompts
from jaxdiff.pretrained import clip_folder

CHUNK = 32  # prompts encoded at a time
KEPT = 4096  # prompts whose encodings stay: 1 GB of 77 x 768 floats


def clip_prompts(folder: str | Path | None) -> Prompts:
  """The text tower of CLIP, from a folder as Hugging Face has it.

  Prompts become 'text' [N, 77, D], the sequence after the last norm, and
  'pooled' [N, D]. Sets repeat their captions, so the last few thousand
  encodings are kept.

  Args:
    folder: with model.safetensors, config.json, and merges.txt or
      tokenizer.json; or that of a Stable Diffusion, or its single file.

  Raises:
    ValueError: no folder is given.
    FileNotFoundError: a file is missing, by name.
  """
  if folder is None:
    raise ValueError(
      'condition.text=clip needs condition.clip, a folder with '
      'model.safetensors, config.json and merges.txt of a CLIP model'
    )
  found = clip_folder.read_text(folder)
  weights, tokenizer = found.weights, found.tokenizer
  network, params = weights.network, weights.params
  run = jax.jit(
    lambda params, tokens: network.apply({'params': params}, tokens)
  )
  kept: OrderedDict[str, tuple[np.ndarray, np.ndarray]] = OrderedDict()
  lock = threading.Lock()  # sets are read by several threads

  def read(prompts: Sequence[str]) -> None:
    for start in range(0, len(prompts), CHUNK):
      part = list(prompts[start : start + CHUNK])
      # Always as many, so that it is compiled once.
      tokens = tokenizer.encode(part + [''] * (CHUNK - len(part)))
      found = jax.device_get(run(params, tokens))
      for i, prompt in enumerate(part):
        kept[prompt] = found.sequence[i], found.pooled[i]

  def encode(prompts: Sequence[str]) -> dict[str, np.ndarray]:
    with lock:
      read([p for p in dict.fromkeys(prompts) if p not in kept])
      rows = [kept[p] for p in prompts]
      for prompt in prompts:
        kept.move_to_end(prompt)
      while len(kept) > KEPT:
        kept.popitem(last=False)
    sequence, pooled = zip(*rows, strict=True)
    return {'text': np.stack(sequence), 'pooled': np.stack(pooled)}

  dims = (network.width, network.width)
  sha256 = files.json_hash([weights.sha256, tokenizer.sha256])
  return Prompts(encode, tokenizer.count, tokenizer.length, dims, sha256)
