"""Files of tokenizers that are damaged, or none."""

import gzip
import json
import types

import pytest

from jaxdiff import tokenizer_files, tokenizers


@pytest.fixture(scope='module')
def learned():
  pytest.importorskip('tokenizers')
  return tokenizers.train_bpe(['a red square'] * 4, 270)


def changed(**model):
  """Changes the settings of the model of a vocabulary."""
  return lambda described: described['model'].update(model)


def with_id(token, i):
  return lambda described: described['model']['vocab'].update({token: i})


@pytest.mark.parametrize(
  'damage',
  [
    lambda described: described.clear(),
    lambda described: described.pop('pre_tokenizer'),
    lambda described: described.update(normalizer={'type': 'NFC'}),
    lambda described: described.update(added_tokens=[{'id': 1 << 31}]),
    lambda described: described['pre_tokenizer'].update(add_prefix_space=True),
    changed(vocab=[]),
    changed(merges=[['a']]),
    changed(merges=[['a', 'zzz']]),
    changed(merges=7),
    changed(type='WordLevel'),
    with_id('zz', 1 << 31),
    with_id('zz', -1),
    with_id('zz', 1.0),
    with_id('zz', True),
    with_id('zz', 'a'),
    with_id('a', 0),
    lambda described: described['model']['vocab'].pop('!'),
  ],
)
def test_bpe_that_is_damaged(learned, tmp_path, damage):
  described = json.loads(learned)
  damage(described)
  path = tmp_path / 'tokenizer.json'
  path.write_text(json.dumps(described))
  with pytest.raises(ValueError, match=r'tokenizer\.json is damaged, or ') as e:
    tokenizers.bpe_tokenizer(path, 8)
  assert '\n' not in str(e.value)


@pytest.mark.parametrize(
  'content', [b'', b'{', b'\xff', b'[' * 100_000, b'{"model": 1}', b'null']
)
def test_files_that_are_no_tokenizers(tmp_path, content):
  path = tmp_path / 'tokenizer.json'
  path.write_bytes(content)
  with pytest.raises(ValueError, match=r'tokenizer\.json (is damaged|line 1)'):
    tokenizers.bpe_tokenizer(path, 8)
  with pytest.raises(ValueError, match=r'cannot read .*tokenizer\.json'):
    tokenizer_files.read_library(path)
  with pytest.raises(ValueError, match=r'cannot read .*tokenizer\.json'):
    tokenizers.clip_tokenizer(path)
  for read in (tokenizer_files.read_library, tokenizers.clip_tokenizer):
    with pytest.raises(FileNotFoundError, match=r'none\.json'):
      read(tmp_path / 'none.json')


def test_small_files_that_ask_for_gigabytes(learned, tmp_path):
  path = tmp_path / 'tokenizer.json'
  described = json.loads(learned)
  described['padding'] = {
    'strategy': {'Fixed': 1 << 40},
    'direction': 'Right',
    'pad_to_multiple_of': None,
    'pad_id': 0,
    'pad_type_id': 0,
    'pad_token': 'a',
  }
  path.write_text(json.dumps(described))
  assert len(tokenizer_files.read_library(path).encode('a').ids) == 1
  for damage in (with_id('zz', (1 << 32) - 1), with_id('zz', 1 << 20)):
    described = json.loads(learned)
    damage(described)
    path.write_text(json.dumps(described))
    with pytest.raises(ValueError, match='ids must be below 1048576'):
      tokenizer_files.read_library(path)
  packed = tmp_path / 'merges.txt.gz'
  packed.write_bytes(gzip.compress(bytes(100 << 20)))
  with pytest.raises(ValueError, match=r'txt\.gz unpacks to more than'):
    tokenizers.clip_tokenizer(packed)
  with open(path, 'wb') as file:
    file.truncate(1 << 40)
  with pytest.raises(ValueError, match='json has more than'):
    tokenizer_files.read_library(path)


def test_a_library_that_panics_is_a_line(learned, tmp_path, monkeypatch):
  class Panic(BaseException):
    pass

  def from_str(text):
    raise Panic('index out of bounds')

  (tmp_path / 'a.json').write_text(learned)
  library = types.SimpleNamespace(from_str=from_str)
  monkeypatch.setattr('tokenizers.Tokenizer', library)
  with pytest.raises(ValueError, match=r'a\.json: index out of bounds'):
    tokenizer_files.read_library(tmp_path / 'a.json')
