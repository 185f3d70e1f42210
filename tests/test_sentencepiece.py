"""spiece.model: its pieces are those of a tokenizer.json; damage is named."""

import struct

import pytest
import tiny_t5

from jaxdiff import tokenizer_files, tokenizers

TEXTS = ['a cat', '  a dog  cats', 'cd s', '', 'xyz', 'a\ncat']


def varint(n):
  low = [n & 127] if n < 128 else [n & 127 | 128]
  return bytes(low) + (varint(n >> 7) if n > 127 else b'')


def field(number, value):
  if isinstance(value, int):
    return varint(8 * number) + varint(value)
  if isinstance(value, float):
    return varint(8 * number + 5) + struct.pack('<f', value)
  return varint(8 * number + 2) + varint(len(value)) + value


def piece(text, score, kind=1):
  return field(1, text.encode()) + field(2, float(score)) + field(3, kind)


def model(kind=1, more=b''):
  kinds = {'<pad>': 3, '</s>': 3, '<unk>': 2}
  pieces = (
    field(1, piece(text, -i, kinds.get(text, 1)))
    for i, text in enumerate(tiny_t5.PIECES)
  )
  trainer = field(2, field(3, kind) + field(4, 12))
  return b''.join(pieces) + trainer + field(9, b'other') + more


def test_texts_have_the_ids_of_the_other_file(tmp_path):
  (tmp_path / 'spiece.model').write_bytes(model())
  tiny_t5.vocabulary(tmp_path / 'tokenizer.json')
  ours, theirs = (
    tokenizers.t5_tokenizer(tmp_path / name, 9)
    for name in ('spiece.model', 'tokenizer.json')
  )
  assert ours.vocab_size == theirs.vocab_size == len(tiny_t5.PIECES)
  assert ours.encode(['a cat']).tolist() == theirs.encode(['a cat']).tolist()
  assert ours.encode(['a cat'])[0, :3].tolist() == [4, 5, 1]
  # Blanks are one, as sentencepiece has them.
  plain = [' '.join(text.split()) for text in TEXTS]
  assert ours.encode(TEXTS).tolist() == theirs.encode(plain).tolist()


@pytest.mark.parametrize(
  'raw, message',
  [
    (model()[:-2], 'ends beyond the file'),
    (b'\xff' * 20, 'a number has no end'),
    (b'\x0b\x00', 'of no known type'),
    (model(kind=2), 'no unigram model'),
    (model(more=field(1, piece('x', 0, 2))), 'one unknown piece'),
    (model(more=field(1, 5)), 'a field is no message'),
    (model(more=field(1, field(2, 0.0))), 'a piece has no text'),
    (model(more=field(1, piece('x', float('nan')))), 'is not finite'),
    (model(more=field(1, field(1, b'\xff') + field(2, 0.0))), 'decode'),
    (model(more=field(3, field(2, b'\0' * 4 + b'a' * 2000))), '1000 times'),
    (model(more=field(3, field(2, 7))), 'no unigram model'),
    (b'', 'one unknown piece'),
  ],
)
def test_what_is_damaged_is_named(raw, message, tmp_path):
  path = tmp_path / 'spiece.model'
  path.write_bytes(raw)
  with pytest.raises(ValueError, match=message) as error:
    tokenizer_files.read_library(path)
  assert str(error.value).startswith('cannot read the tokenizer')
  assert '\n' not in str(error.value)
