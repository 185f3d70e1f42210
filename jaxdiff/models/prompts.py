"""Prompts: text to the conditions that a network takes."""

from pathlib import Path

from jaxdiff import files
from jaxdiff.config import Condition, Spec
from jaxdiff.models.encodings import Prompts

VOCABULARY = 'tokenizer.json'  # of byte pairs, in the workdir
READER = 'reader of captions'  # its hash in `Spec.data`


def make(
  c: Condition, workdir: str | Path, spec: Spec | None = None
) -> Prompts | None:
  """Builds the reader of prompts; None for a run without condition.text.

  Args:
    c: of the run.
    workdir: of the run.
    spec: of the run, to be compared with; None for a run that begins.

  Raises:
    FileNotFoundError: the vocabulary of the run is missing.
    ValueError: it is damaged, or not the one that the run was trained with.
  """
  if c.text is None:
    return None
  reader = _make(c, workdir)
  known = (spec and spec.data or {}).get(READER)
  if known not in (None, reader.sha256):
    frozen = {'clip': c.clip, 't5': c.t5}.get(c.text)
    file = frozen or files.as_path(workdir) / VOCABULARY
    raise ValueError(
      f'{file} has changed: the run was trained with another vocabulary'
      + ' or text encoder' * bool(frozen)
    )
  return reader


def _make(c: Condition, workdir: str | Path) -> Prompts:
  from jaxdiff import tokenizers

  if c.text == 'clip':
    from jaxdiff.models.clip_prompts import clip_prompts

    return clip_prompts(c.clip, c.sizes, c.sizes_dim)
  if c.text == 't5':
    from jaxdiff.models.t5_prompts import t5_prompts

    return t5_prompts(c.t5, c.length)
  if c.text == 'bytes':
    tokenizer = tokenizers.byte_tokenizer(c.length)
  else:
    path = files.as_path(workdir) / VOCABULARY
    if not path.exists():
      raise FileNotFoundError(f'{path}, the vocabulary of the run, is missing')
    tokenizer = tokenizers.bpe_tokenizer(path, c.length)
  encode = lambda prompts: {'tokens': tokenizer.encode(prompts)}
  dims, sha256 = (c.width, c.width), tokenizer.sha256
  return Prompts(encode, tokenizer.count, tokenizer.length, dims, sha256)
