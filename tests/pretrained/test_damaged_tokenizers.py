"""Files of tokenizers that would ask for more memory than there is."""

import base64
import json

import pytest

from jaxdiff import tokenizer_files, tokenizers

LETTERS = tokenizers.train_bpe(['a red circle', 'two blue squares'], 270)


def template(*ids, times=1):
  token = {'id': 'x', 'ids': list(ids), 'tokens': ['x'] * len(ids)}
  special = {'SpecialToken': {'id': 'x', 'type_id': 0}}
  text = {'Sequence': {'id': 'A', 'type_id': 0}}
  return {
    'type': 'TemplateProcessing',
    'single': [special, *[text] * times],
    'pair': [],
    'special_tokens': {'x': token},
  }


def chain(part, num, name):
  return {'type': 'Sequence', name: [part] * num}


def charsmap(longest):
  """sentencepiece's table of an empty tree, and one replacement."""
  raw = (0).to_bytes(4, 'little') + b'a\0' + b'a' * longest + b'\0'
  text = base64.b64encode(raw).decode()
  return {'type': 'Precompiled', 'precompiled_charsmap': text}


DOUBLE = {'type': 'Replace', 'pattern': {'String': 'a'}, 'content': 'aa'}
PREPEND = {'type': 'Prepend', 'prepend': 'x' * 1000}


@pytest.mark.parametrize(
  'parts',
  [
    {'normalizer': chain(DOUBLE, 40, 'normalizers')},
    {'normalizer': chain(PREPEND, 60, 'normalizers')},
    {'post_processor': template(*[1] * 2000)},
    {'post_processor': chain(template(1, times=2), 40, 'processors')},
    {'decoder': chain(DOUBLE, 40, 'decoders')},
    {'normalizer': charsmap(2000)},
    {'normalizer': chain(charsmap(40), 3, 'normalizers')},
  ],
)
def test_a_file_that_makes_texts_long_is_refused(parts, tmp_path):
  path = tmp_path / 'tokenizer.json'
  path.write_text(json.dumps(json.loads(LETTERS) | parts))
  with pytest.raises(ValueError, match='may lengthen a text 1000 times'):
    tokenizer_files.read_library(path)


def test_what_tokenizers_have_is_read(tmp_path):
  parts = {
    'normalizer': chain(DOUBLE, 2, 'normalizers'),
    'post_processor': template(1),
    'padding': {
      'strategy': {'Fixed': 10**12},
      'direction': 'Right',
      'pad_to_multiple_of': None,
      'pad_id': 0,
      'pad_type_id': 0,
      'pad_token': 'x',
    },
  }
  path = tmp_path / 'tokenizer.json'
  path.write_text(json.dumps(json.loads(LETTERS) | parts))
  found = tokenizer_files.read_library(path).encode('a red circle')
  assert 0 < len(found.ids) < 50
