"""Files of tokenizers: learned byte pairs, CLIP's merges, tokenizer.json.

Files may come from strangers. What they hold is checked before the library
tokenizers sees it, since a small file can ask it for gigabytes.
"""

import base64
import gzip
import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from jaxdiff import files, hub, sentencepiece

if TYPE_CHECKING:
  import tokenizers

Merges = list[tuple[str, str]]

MAX_BYTES = 64 << 20  # of a file
MAX_TOKENS = 1 << 20
MAX_GROWTH = 1000


def read(file: Path) -> str:
  """Reads a file of text, unpacked if it ends in .gz.

  Raises:
    ValueError: It is larger than `MAX_BYTES`, or no text.
  """
  if file.suffix != '.gz':
    if file.stat().st_size > MAX_BYTES:
      raise ValueError(f'{file} has more than {MAX_BYTES} bytes')
    return ''.join(files.read_pieces(file))
  with gzip.open(file) as packed:
    raw = packed.read(MAX_BYTES + 1)
  if len(raw) > MAX_BYTES:
    raise ValueError(f'{file} unpacks to more than {MAX_BYTES} bytes')
  return raw.decode()


def byte_pairs(
  text: str, name: str, alphabet: Sequence[str]
) -> tuple[dict[str, int], Merges]:
  """Parses the JSON of `tokenizers.train_bpe` to its tokens and merges.

  Args:
    text: The JSON.
    name: Name of it in an error.
    alphabet: The characters that stand for bytes.

  Raises:
    ValueError: It is damaged, or other JSON.
  """
  try:
    described = json.loads(text)
    model, before = described['model'], described['pre_tokenizer']
    others = ('normalizer', 'post_processor', 'added_tokens')
    if any(described.get(key) for key in others) or (
      (model['type'], before['type']) != ('BPE', 'ByteLevel')
      or before['add_prefix_space']
    ):
      raise ValueError('it has other settings')
    tokens, merges = model['vocab'], _pairs(model['merges'])
    ids = list(tokens.values())
    if {type(i) for i in ids} != {int} or sorted(ids) != list(range(len(ids))):
      raise ValueError('its ids must be 0 .. n - 1')
    used = {part for a, b in merges for part in (a, b, a + b)}
    if missing := sorted(used.union(alphabet) - tokens.keys()):
      raise ValueError(f'it lacks the token {missing[0]!r}')
  except Exception as error:  # Whatever the shape of the JSON leads to.
    raise ValueError(
      f'{name} is damaged, or not byte pairs that were learned here: {error}'
    ) from error
  return tokens, merges


def clip_merges(path: Path, num: int) -> Merges:
  """Reads the merges of CLIP, the first to be merged first.

  Args:
    path: A file of merges or a tokenizer.json, or a folder with one.
    num: Number of merges.

  Raises:
    FileNotFoundError: There is no such file.
    ValueError: It is damaged, or has another number of merges.
  """
  names = ('bpe_simple_vocab_16e6.txt.gz', 'merges.txt', 'tokenizer.json')
  candidates = [path / name for name in names] if path.is_dir() else [path]
  file = next((file for file in candidates if file.is_file()), None)
  if file is None:
    raise FileNotFoundError(
      f'no vocabulary of CLIP: {" or ".join(names)} at {path}'
    )
  try:
    if file.suffix == '.json':
      merges = _pairs(json.loads(read(file))['model']['merges'])
    else:
      # A line of comment; OpenAI's file has more merges than CLIP uses.
      lines = read(file).split('\n')[1 : 1 + num]
      merges = _pairs([line for line in lines if line])
  except Exception as error:  # Of gzip, zlib, JSON, or its shape.
    raise ValueError(
      f'cannot read the vocabulary of CLIP {file}: {error}'
    ) from error
  if len(merges) != num:
    raise ValueError(
      f'the vocabulary of CLIP has {num} merges, got {len(merges)} in {file}'
    )
  return merges


def read_library(path: str | os.PathLike) -> 'tokenizers.Tokenizer':
  """Reads a tokenizer.json of the library tokenizers, or a spiece.model.

  The padding and the truncation that the file may ask for are left out.

  Raises:
    FileNotFoundError: There is no such file.
    ValueError: It is damaged or too large.
  """
  import tokenizers

  path = hub.local_path(path)
  if not path.is_file():
    raise FileNotFoundError(f'no such tokenizer: {path}')
  try:
    spiece = path.suffix == '.model'
    text = sentencepiece.as_json(path, MAX_BYTES) if spiece else read(path)
    described = json.loads(text)
    tokens = described['model']['vocab']
    ids = [token['id'] for token in described.get('added_tokens') or ()]
    ids += tokens.values() if isinstance(tokens, dict) else ()
    if max(len(tokens) - 1, *ids, 0) >= MAX_TOKENS:
      raise ValueError(f'its ids must be below {MAX_TOKENS}')
    parts = ('normalizer', 'pre_tokenizer', 'post_processor', 'decoder')
    if _growth([described.get(part) for part in parts]) > MAX_GROWTH:
      raise ValueError(f'it may lengthen a text {MAX_GROWTH} times')
    model = tokenizers.Tokenizer.from_str(text)
    model.no_padding()
    model.no_truncation()
    model.encode('a')
    if not model.get_vocab():
      raise ValueError('it has no tokens')
  except (KeyboardInterrupt, SystemExit):
    raise
  # When the library panics, it raises what is no Exception.
  except BaseException as error:
    raise ValueError(f'cannot read the tokenizer {path}: {error}') from error
  return model


def _growth(part: object) -> float:
  """Bounds the factor by which a part of a tokenizer.json lengthens a text.

  In a chain of parts, each of which replaces a letter by two, it is 2^n. The
  table of sentencepiece, `precompiled_charsmap`, has the size of a tree, the
  tree, and what letters are replaced by, each with a NUL behind it.
  """
  if isinstance(part, list):
    return math.prod(map(_growth, part))
  if not isinstance(part, dict):
    return 1.0
  longer = ('content', 'prepend', 'single', 'pair', 'ids')
  sizes = [float(len(x)) for k, x in part.items() if k in longer and x]
  if table := part.get('precompiled_charsmap'):
    raw = base64.b64decode(table)
    letters = raw[4 + int.from_bytes(raw[:4], 'little') :]
    sizes.append(float(max(1, *map(len, letters.split(b'\0')))))
  return math.prod(sizes) * _growth(list(part.values()))


def _pairs(merges: Sequence[str | Sequence[str]]) -> Merges:
  """Merges written as 'left right' or, since 2024, as ['left', 'right']."""
  pairs = [m.split() if isinstance(m, str) else m for m in merges]
  return [(left, right) for left, right in pairs]
