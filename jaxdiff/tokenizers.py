"""Tokenizers: prompts -> tokens, by bytes, learned byte pairs, or as CLIP.

A prompt of n tokens becomes one row of `length`,

  start, token_1, ..., token_n, end, padding, ...,

so that even the empty prompt is not all padding. A prompt that is too long
loses its last tokens, never the end; `Tokenizer.count` tells beforehand.

Bytes and trained byte pairs share their special ids: 0 pads, 1 starts, 2
ends, and the vocabulary begins at 3. CLIP has its own.
"""

import functools
import gzip
import hashlib
import json
import os
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from jaxdiff import files

if TYPE_CHECKING:
  import tokenizers

PADDING, START, END = 0, 1, 2
_FIRST = 3
# Of a file with a vocabulary, and of its tokens: a small file may ask for
# gigabytes.
_MAX_BYTES = 64 << 20
_MAX_TOKENS = 1 << 20

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
  """UTF-8: byte b is token 3 + b."""
  split = lambda prompt: [_FIRST + byte for byte in prompt.encode()]
  return _tokenizer(split, length, _FIRST + 256, (START, END, PADDING))


def train_bpe(texts: Sequence[str], vocab_size: int) -> str:
  """Learns byte pairs: the most frequent pair becomes a token, again and again.

  The bytes are in the vocabulary, so no text is ever without tokens.

  Args:
    texts: What to learn from, such as all captions of a set.
    vocab_size: At most so many tokens, the three special ones among them; a
      small set of texts may have fewer.

  Returns:
    The vocabulary, JSON for `bpe_tokenizer`.

  Raises:
    ValueError: If `vocab_size` does not hold the bytes.

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
  """Byte pairs that `train_bpe` learned.

  Args:
    vocabulary: Its JSON, or the path of a file with it.
    length: L.

  Raises:
    ValueError: The vocabulary is damaged, or is none that `train_bpe` makes.
  """
  import tokenizers

  text, name = os.fspath(vocabulary), 'the vocabulary'
  if not text.lstrip().startswith('{'):
    name = text
  # Made anew of the pairs alone: a file can ask the library for anything.
  byte_level = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
  try:
    if name == text:
      text = _read(Path(text))
    pairs = _byte_pairs(json.loads(text), byte_level.alphabet())
    model = tokenizers.Tokenizer(tokenizers.models.BPE(*pairs))
  except FileNotFoundError:
    raise
  except Exception as error:  # The library raises Exception itself.
    raise ValueError(
      f'{name} is damaged, or not byte pairs that were learned here: {error}'
    ) from error
  model.pre_tokenizer = byte_level
  split = lambda prompt: [_FIRST + i for i in model.encode(prompt).ids]
  vocab_size = _FIRST + model.get_vocab_size()
  tokenizer = _tokenizer(split, length, vocab_size, (START, END, PADDING))
  return tokenizer._replace(sha256=_sha256(text))


def _byte_pairs(
  described: dict[str, Any], alphabet: Sequence[str]
) -> tuple[dict[str, int], list[tuple[str, str]]]:
  """The tokens and the merges of the JSON of `train_bpe`.

  Raises:
    ValueError, KeyError, TypeError: It is other JSON.
  """
  model = described['model']
  vocabulary, before = model['vocab'], described['pre_tokenizer']
  others = ('normalizer', 'post_processor', 'added_tokens')
  if any(described.get(name) for name in others) or (
    (model['type'], before['type']) != ('BPE', 'ByteLevel')
    or before['add_prefix_space']
  ):
    raise ValueError('it has other settings')
  ids = list(vocabulary.values())
  if {type(i) for i in ids} != {int} or sorted(ids) != list(range(len(ids))):
    raise ValueError('its ids must be 0 .. n - 1')
  if missing := sorted(set(alphabet) - vocabulary.keys()):
    raise ValueError(f'it lacks bytes, such as {missing[0]!r}')
  return vocabulary, _pairs(model['merges'])


def read_library(path: str | os.PathLike) -> 'tokenizers.Tokenizer':
  """Reads a tokenizer.json of the library tokenizers.

  The padding and the truncation that the file may ask for are left out.

  Raises:
    FileNotFoundError: There is no such file.
    ValueError: It is damaged or too large.
  """
  import tokenizers

  path = Path(path).expanduser()
  if not path.is_file():
    raise FileNotFoundError(f'no such tokenizer: {path}')
  try:
    text = _read(path)
    described = json.loads(text)
    vocabulary = described['model']['vocab']
    ids = [token['id'] for token in described.get('added_tokens') or ()]
    ids += vocabulary.values() if isinstance(vocabulary, dict) else ()
    if max(len(vocabulary) - 1, *ids, 0) >= _MAX_TOKENS:
      raise ValueError(f'its ids must be below {_MAX_TOKENS}')
    model = tokenizers.Tokenizer.from_str(text)
    model.no_padding()
    model.no_truncation()
    model.encode('a')
    if not model.get_vocab():
      raise ValueError('it has no tokens')
  except (KeyboardInterrupt, SystemExit):
    raise
  # Where the library panics, it raises what is no Exception.
  except BaseException as error:
    raise ValueError(f'cannot read the tokenizer {path}: {error}') from error
  return model


def clip_tokenizer(
  path: str | os.PathLike, length: int = 77, padding: int = 0
) -> Tokenizer:
  """CLIP's byte pairs: 49,408 tokens, 49406 starts and 49407 ends.

  Lower-cased, of Unicode's composed form, white space only separates. The
  ids are those of Hugging Face (but of a Greek sigma that ends a word), and
  those of open_clip but where its clean-up of web text changes a prompt:
  curly quotation marks, ligatures, HTML entities. Both take the names of the
  special tokens, where a prompt has them, for these tokens; here they are
  words like any other.

  Args:
    path: open_clip's `bpe_simple_vocab_16e6.txt.gz`, Hugging Face's
      `merges.txt` or `tokenizer.json`, or a folder with one of these. The
      merges determine the vocabulary.
    length: L.
    padding: 0 in open_clip and OpenAI's code; 49407 in Hugging Face's
      tokenizers of CLIP and Stable Diffusion 1.

  Raises:
    FileNotFoundError: If there is no such file.
    ValueError: If it has not CLIP's number of merges.

  Source: Radford et al., "Learning Transferable Visual Models From Natural
  Language Supervision", 2021, section 2.4.
  """
  import tokenizers

  file = _clip_file(Path(path))
  try:
    merges = _clip_merges(file)
  except Exception as error:  # Of gzip, zlib, JSON, text.
    raise ValueError(
      f'cannot read the vocabulary of CLIP {file}: {error}'
    ) from error
  if len(merges) != _CLIP_MERGES:
    raise ValueError(
      f'the vocabulary of CLIP has {_CLIP_MERGES} merges, got {len(merges)} in '
      f'{file}'
    )
  symbols = _byte_symbols()
  tokens = [*symbols, *(symbol + '</w>' for symbol in symbols)]
  tokens += [left + right for left, right in merges]
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


def _tokenizer(
  split: Callable[[str], list[int]],
  length: int,
  vocab_size: int,
  special: tuple[int, int, int],
) -> Tokenizer:
  """A tokenizer from a function prompt -> ids, and (start, end, padding)."""
  if length < 2:
    raise ValueError(
      f'length must be at least 2, the start and the end, got {length}'
    )
  start, end, padding = special

  def encode(prompts: Sequence[str]) -> np.ndarray:
    rows = np.full((len(prompts), length), padding, np.int32)
    for row, prompt in zip(rows, prompts, strict=True):
      ids = [start, *split(prompt)[: length - 2], end]
      row[: len(ids)] = ids
    return rows

  count = lambda prompt: len(split(prompt)) + 2
  return Tokenizer(encode, count, length, vocab_size)


def _clip_file(path: Path) -> Path:
  names = ('bpe_simple_vocab_16e6.txt.gz', 'merges.txt', 'tokenizer.json')
  files = [path / name for name in names] if path.is_dir() else [path]
  for file in files:
    if file.is_file():
      return file
  raise FileNotFoundError(
    f'no vocabulary of CLIP: {" or ".join(names)} at {path}'
  )


def _clip_merges(file: Path) -> list[tuple[str, str]]:
  """Pairs of tokens, the first to be merged first."""
  if file.suffix == '.json':
    return _pairs(json.loads(_read(file))['model']['merges'])
  text = _read(file)
  # A line of comment; OpenAI's file has more merges than CLIP uses.
  lines = text.split('\n')[1 : 1 + _CLIP_MERGES]
  return _pairs([line for line in lines if line])


def _pairs(merges: Sequence[str | Sequence[str]]) -> list[tuple[str, str]]:
  """Merges written as 'left right' or, since 2024, as ['left', 'right']."""
  pairs = [m.split() if isinstance(m, str) else m for m in merges]
  return [(left, right) for left, right in pairs]


def _read(file: Path) -> str:
  """The text of a file, unpacked if it ends in .gz.

  Raises:
    ValueError: It is too large, or no text.
  """
  if file.suffix != '.gz':
    if file.stat().st_size > _MAX_BYTES:
      raise ValueError(f'it has more than {_MAX_BYTES} bytes')
    return ''.join(files.read_pieces(file))
  with gzip.open(file) as packed:
    raw = packed.read(_MAX_BYTES + 1)
  if len(raw) > _MAX_BYTES:
    raise ValueError(f'it unpacks to more than {_MAX_BYTES} bytes')
  return raw.decode()


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
