"""Models of sentencepiece, spiece.model, as a tokenizer.json.

A file is one message of protobuf. A message is fields, each a key, 8 times or
less its number and its wire type, and a value: 0 a varint, 1 eight bytes, 2 a
length and so many bytes, 5 four bytes. Only what T5 and umT5 have is read: the
pieces with their scores, and the table of the normaliser.

Source: sentencepiece_model.proto of https://github.com/google/sentencepiece.
"""

import base64
import json
import math
import struct
from collections.abc import Iterator
from pathlib import Path

UNIGRAM, NORMAL, UNKNOWN = 1, 1, 2
_SIZES = {1: 8, 5: 4}


def as_json(path: Path, most: int) -> str:
  """Reads a file as the text of a tokenizer.json.

  Args:
    path: The file.
    most: Bytes that it may have.

  Raises:
    ValueError: It is damaged, too large, or of another kind of model.
  """
  if path.stat().st_size > most:
    raise ValueError(f'it has more than {most} bytes')
  pieces, charsmap, kind = [], b'', UNIGRAM
  for number, value in _fields(path.read_bytes()):
    if number == 1:
      pieces.append(_piece(value))
    elif number == 2:
      kind = dict(_fields(value)).get(3, UNIGRAM)
    elif number == 3:
      charsmap = dict(_fields(value)).get(2, b'')
  unknown = [i for i, (*_, kind_) in enumerate(pieces) if kind_ == UNKNOWN]
  if kind != UNIGRAM or len(unknown) != 1 or not isinstance(charsmap, bytes):
    raise ValueError('it is no unigram model with one unknown piece')
  words = (
    {'type': 'WhitespaceSplit'},
    {
      'type': 'Metaspace',
      'replacement': '▁',
      'prepend_scheme': 'always',
      'split': True,
    },
  )
  table = base64.b64encode(charsmap).decode()
  return json.dumps(
    {
      'added_tokens': [
        _special(i, piece)
        for i, (piece, _, kind) in enumerate(pieces)
        if kind != NORMAL
      ],
      'normalizer': {'type': 'Precompiled', 'precompiled_charsmap': table}
      if charsmap
      else None,
      'pre_tokenizer': {'type': 'Sequence', 'pretokenizers': words},
      'model': {
        'type': 'Unigram',
        'unk_id': unknown[0],
        'vocab': [(piece, score) for piece, score, _ in pieces],
        'byte_fallback': False,
      },
    }
  )


def _special(number: int, piece: str) -> dict[str, object]:
  strips = dict.fromkeys(
    ('single_word', 'lstrip', 'rstrip', 'normalized'), False
  )
  return {'id': number, 'content': piece, 'special': True, **strips}


def _piece(raw: object) -> tuple[str, float, int]:
  """Reads a piece, its score, and its kind."""
  found = dict(_fields(raw))
  text, score = found.get(1), found.get(2, bytes(4))
  if not isinstance(text, bytes) or not isinstance(score, bytes):
    raise ValueError('a piece has no text or no score')
  (score,) = struct.unpack('<f', score)
  if not math.isfinite(score):
    raise ValueError('a score is not finite')
  return text.decode(), score, found.get(3, NORMAL)


def _fields(raw: object) -> Iterator[tuple[int, int | bytes]]:
  """Yields the number and the value of each field of a message."""
  if not isinstance(raw, bytes):
    raise ValueError('a field is no message')
  at = 0
  while at < len(raw):
    key, at = _varint(raw, at)
    number, kind = key >> 3, key & 7
    if kind == 0:
      value, at = _varint(raw, at)
      yield number, value
      continue
    size = _SIZES.get(kind)
    if kind == 2:
      size, at = _varint(raw, at)
    if size is None or size > len(raw) - at:
      raise ValueError('a field ends beyond the file, or is of no known type')
    yield number, raw[at : at + size]
    at += size


def _varint(raw: bytes, at: int) -> tuple[int, int]:
  """Reads seven bits of each byte, the lowest first; and where it ends."""
  value = 0
  for shift in range(0, 70, 7):
    if at == len(raw):
      break
    byte, at = raw[at], at + 1
    value |= (byte & 127) << shift
    if byte < 128:
      return value, at
  raise ValueError('a number has no end')
