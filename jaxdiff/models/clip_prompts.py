"""Prompts read by a published text encoder, which is not trained further."""

from pathlib import Path

import jax
import numpy as np

from jaxdiff import files
from jaxdiff.models.encodings import CHUNK, kept
from jaxdiff.models.prompts import Prompts
from jaxdiff.pretrained import clip_folder


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

  def read(prompts: list[str]) -> dict[str, np.ndarray]:
    # Always as many, so that it is compiled once.
    tokens = tokenizer.encode(prompts + [''] * (CHUNK - len(prompts)))
    found = jax.device_get(run(params, tokens))
    return {'text': found.sequence, 'pooled': found.pooled}

  dims = (network.width, network.width)
  sha256 = files.json_hash([weights.sha256, tokenizer.sha256])
  return Prompts(kept(read), tokenizer.count, tokenizer.length, dims, sha256)
