"""Prompts: text to the conditions that a network takes."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxdiff.config import Condition

VOCABULARY = 'tokenizer.json'  # of byte pairs, in the workdir


class Prompts(NamedTuple):
  """The reader of prompts of a run.

  encode: prompts [N] -> {name: [N, ...]}, conditions that its network takes.
  count: a prompt -> its number of tokens with both ends; above `length` it is
    truncated.
  length: the largest number of tokens.
  dims: of the sequence and of the vector that prompts become.
  """

  encode: Callable[[Sequence[str]], dict[str, np.ndarray]]
  count: Callable[[str], int]
  length: int
  dims: tuple[int, int]


def make(c: Condition, workdir: str | Path) -> Prompts | None:
  """Builds the reader of prompts; None for a run without condition.text.

  Raises:
    FileNotFoundError: the vocabulary of the run is missing.
  """
  from jaxdiff import tokenizers

  if c.text is None:
    return None
  if c.text == 'clip':
    from jaxdiff.models.clip_prompts import clip_prompts

    return clip_prompts(c.clip)
  if c.text == 'bytes':
    tokenizer = tokenizers.byte_tokenizer(c.length)
  else:
    path = Path(workdir) / VOCABULARY
    if not path.exists():
      raise FileNotFoundError(f'{path}, the vocabulary of the run, is missing')
    tokenizer = tokenizers.bpe_tokenizer(path, c.length)
  encode = lambda prompts: {'tokens': tokenizer.encode(prompts)}
  return Prompts(encode, tokenizer.count, tokenizer.length, (c.width, c.width))
