"""Tokenizers: prompts -> tokens, by bytes, learned byte pairs, or as CLIP.

A prompt of n tokens becomes one row of `length`,

  start, token_1, ..., token_n, end, padding, ...,

so that even the empty prompt is not all padding. A prompt that is too long
loses its last tokens, never the end; `Tokenizer.count` tells beforehand.

Bytes and trained byte pairs share their special ids: 0 pads, 1 starts, 2
ends, and the vocabulary begins at 3. CLIP and T5 have their own; T5's texts
have no start.
"""

import functools
import hashlib
import os
import unicodedata
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from jaxdiff import files, hub, tokenizer_files

PADDING, START, END = 0, 1, 2
_FIRST = 3

# OpenAI's: 256 bytes, each also as the end of a word, and 48,894 merges;
# then the start and the end of the text.
CLIP_END = 49_407
_CLIP_MERGES = CLIP_END + 1 - 2 * 256 - 2
_CLIP_WORDS = r"""'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"""


class Tokenizer(NamedTuple):
  """Functions between prompts and tokens.

  Attributes:
    encode: Prompts [N] to int32 [N, length].
    count: A prompt to its number of tokens, start and end among them; one of
      more than `length` loses the last when encoded.
    length: L, of every row.
    vocab_size: Tokens are in [0, vocab_size).
    sha256: Of the vocabulary, which belongs to what is trained with it; '' for
      bytes.
  """

  encode: Callable[[Sequence[str]], np.ndarray]
  count: Callable[[str], int]
  length: int
  vocab_size: int
  sha256: str = ''


def byte_tokenizer(length: int) -> Tokenizer:
  """Makes a tokenizer of UTF-8: byte b is token 3 + b."""
  split = lambda prompt: [_FIRST + byte for byte in prompt.encode()]
  return _tokenizer(split, length, _FIRST + 256, (START, END, PADDING))


def train_bpe(texts: Sequence[str], vocab_size: int) -> str:
  """Learns byte pairs: the most frequent pair becomes a token, again and again.

  The bytes are in the vocabulary, so no text is ever without tokens.

  Args:
    texts: What to learn from, such as all captions of a set.
    vocab_size: Largest number of tokens, with the three special ones; a small
      set of texts may have fewer.

  Returns:
    The vocabulary, JSON for `bpe_tokenizer`.

  Raises:
    ValueError: `vocab_size` does not hold the bytes.

  Source: Sennrich et al., "Neural Machine Translation of Rare Words with
  Subword Units", 2016, on bytes as in Radford et al., "Language Models are
  Unsupervised Multitask Learners", 2019, section 2.2.
  """
  import tokenizers  # Only where needed; bytes do without.

  if vocab_size < _FIRST + 256:
    raise ValueError(
      f'vocab_size must be at least {_FIRST + 256}, the bytes and the special '
      f'tokens, got {vocab_size}'
    )
  byte_level = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
  model = tokenizers.Tokenizer(tokenizers.models.BPE())
  model.pre_tokenizer = byte_level
  # The special tokens are not given to the library: it would look for their
  # names in prompts.
  trainer = tokenizers.trainers.BpeTrainer(
    vocab_size=vocab_size - _FIRST,
    initial_alphabet=sorted(byte_level.alphabet()),
    show_progress=False,
  )
  model.train_from_iterator(texts, trainer)
  return model.to_str()


def bpe_tokenizer(vocabulary: str | os.PathLike, length: int) -> Tokenizer:
  """Makes a tokenizer of the byte pairs that `train_bpe` learned.

  Args:
    vocabulary: Its JSON, or the path of a file with it.
    length: L.

  Raises:
    ValueError: The vocabulary is damaged, or is none that `train_bpe` makes.
  """
  import tokenizers

  text, name = os.fspath(vocabulary), 'the vocabulary'
  if not text.lstrip().startswith('{'):
    text, name = tokenizer_files.read(files.local(text)), text
  # Made anew of the pairs alone: a file can ask the library for anything.
  byte_level = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
  pairs = tokenizer_files.byte_pairs(text, name, byte_level.alphabet())
  model = tokenizers.Tokenizer(tokenizers.models.BPE(*pairs))
  model.pre_tokenizer = byte_level
  split = lambda prompt: [_FIRST + i for i in model.encode(prompt).ids]
  vocab_size = _FIRST + model.get_vocab_size()
  tokenizer = _tokenizer(split, length, vocab_size, (START, END, PADDING))
  return tokenizer._replace(sha256=_sha256(text))


def clip_tokenizer(
  path: str | os.PathLike, length: int = 77, padding: int = 0
) -> Tokenizer:
  """Makes the tokenizer of CLIP: 49,408 tokens, 49406 starts, 49407 ends.

  Prompts are lower-cased, in Unicode's composed form; white space only
  separates. The ids are those of Hugging Face, except for a Greek sigma that
  ends a word. They are those of open_clip, except where its clean-up of web
  text changes a prompt: curly quotation marks, ligatures, HTML entities. Both
  replace the names of special tokens in a prompt by these tokens; here they are
  words like any other.

  Args:
    path: open_clip's `bpe_simple_vocab_16e6.txt.gz`, Hugging Face's
      `merges.txt` or `tokenizer.json`, or a folder with one of these. The
      merges determine the vocabulary.
    length: L.
    padding: 0 in open_clip and OpenAI's code; 49407 in Hugging Face's
      tokenizers of CLIP and Stable Diffusion 1.

  Raises:
    FileNotFoundError: There is no such file.
    ValueError: It is damaged, or has not CLIP's number of merges.

  Source: Radford et al., "Learning Transferable Visual Models From Natural
  Language Supervision", 2021, section 2.4.
  """
  import tokenizers

  merges = tokenizer_files.clip_merges(hub.local_path(path), _CLIP_MERGES)
  symbols = _byte_symbols()
  tokens = [*symbols, *(symbol + '</w>' for symbol in symbols)]
  tokens += [left + right for left, right in merges]
  if unknown := {part for pair in merges for part in pair} - set(tokens):
    raise ValueError(f'{path} merges an unknown token, {min(unknown)!r}')
  model = tokenizers.Tokenizer(
    tokenizers.models.BPE(
      vocab={token: i for i, token in enumerate(tokens)},
      merges=merges,
      end_of_word_suffix='</w>',
    )
  )
  words = tokenizers.Regex(_CLIP_WORDS)
  model.pre_tokenizer = tokenizers.pre_tokenizers.Sequence(
    [
      tokenizers.pre_tokenizers.Split(words, behavior='removed', invert=True),
      tokenizers.pre_tokenizers.ByteLevel(
        add_prefix_space=False, use_regex=False
      ),
    ]
  )

  def split(prompt: str) -> list[int]:
    return model.encode(unicodedata.normalize('NFC', prompt).lower()).ids

  start, end = len(tokens), len(tokens) + 1
  tokenizer = _tokenizer(split, length, end + 1, (start, end, padding))
  return tokenizer._replace(sha256=_sha256(repr(merges)))


def t5_tokenizer(path: str | os.PathLike, length: int) -> Tokenizer:
  """Makes the tokenizer of T5 and umT5: pieces of words, then </s>.

  The ids are those of Hugging Face. Names of special tokens in a prompt, such
  as <extra_id_0>, become these tokens, as there.

  Args:
    path: A tokenizer.json; or a spiece.model, which has no <extra_id_0>.
    length: L.

  Raises:
    FileNotFoundError: There is no such file.
    ValueError: It is damaged, too large, or has no </s> or <pad>.

  Source: Kudo 2018 (arXiv:1804.10959).
  """
  model = tokenizer_files.read_library(path)
  end, padding = model.token_to_id('</s>'), model.token_to_id('<pad>')
  if end is None or padding != PADDING:
    raise ValueError(
      f'{os.fspath(path)} must have the tokens </s> and <pad>, the second with '
      f'id {PADDING}, got ids {end} and {padding}'
    )
  split = lambda prompt: model.encode(prompt, add_special_tokens=False).ids
  size = 1 + max(model.get_vocab().values())
  tokenizer = _tokenizer(split, length, size, (None, end, padding))
  return tokenizer._replace(sha256=_sha256(model.to_str()))


def _tokenizer(
  split: Callable[[str], list[int]],
  length: int,
  vocab_size: int,
  special: tuple[int | None, int, int],
) -> Tokenizer:
  """Makes a tokenizer of prompt -> ids, and (start or None, end, padding)."""
  if length < 2:
    raise ValueError(
      f'length must be at least 2, the start and the end, got {length}'
    )
  start, end, padding = special
  head = [] if start is None else [start]
  most = length - len(head) - 1

  def encode(prompts: Sequence[str]) -> np.ndarray:
    rows = np.full((len(prompts), length), padding, np.int32)
    for row, prompt in zip(rows, prompts, strict=True):
      ids = [*head, *split(prompt)[:most], end]
      row[: len(ids)] = ids
    return rows

  count = lambda prompt: len(split(prompt)) + len(head) + 1
  return Tokenizer(encode, count, length, vocab_size)


def _sha256(text: str) -> str:
  return hashlib.sha256(text.encode()).hexdigest()


@functools.cache
def _byte_symbols() -> list[str]:
  """The printable characters that stand for bytes, in CLIP's order.

  Printable bytes of Latin-1 stand for themselves and come first; the others
  are numbered from U+0100 on.
  """
  printable = [
    *range(ord('!'), ord('~') + 1),
    *range(ord('¡'), ord('¬') + 1),
    *range(ord('®'), ord('ÿ') + 1),
  ]
  others = 256 - len(printable)
  return [chr(i) for i in printable] + [chr(256 + i) for i in range(others)]
