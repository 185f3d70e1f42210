"""Tokens: nothing is lost, nothing is only padding, CLIP's are CLIP's."""

import gzip
import importlib.util
import itertools
import json
import unicodedata
from pathlib import Path

import numpy as np
import pytest

from jaxdiff import tokenizers

PROMPTS = [
  '',
  ' ',
  'a small red circle left of a large blue square',
  "It's  a DOG!\n\tThey'll say 1234 'twas.",
  'Ünïcödé, straße, E\u0301 and É',
  '日本語 🐱🐶',
  '<start> <end> <pad> <|endoftext|>',
]
CAPTIONS = [
  f'a {size} {colour} {shape}'
  for size in ('small', 'large')
  for colour in ('red', 'green', 'blue')
  for shape in ('circle', 'square')
]


@pytest.fixture(scope='module')
def learned():
  pytest.importorskip('tokenizers')
  return tokenizers.train_bpe(CAPTIONS, 320)


@pytest.fixture(scope='module')
def clip_folder(tmp_path_factory):
  """As many merges as CLIP has, of other letters: all layouts of them."""
  pytest.importorskip('tokenizers')
  folder = tmp_path_factory.mktemp('clip')
  symbols = tokenizers._byte_symbols()
  pairs = itertools.product(symbols, symbols)
  words = ['c a', 'ca t</w>', 't s</w>', 'i s</w>']
  lines = [*words, *(f'{a} {b}' for a, b in pairs if (a, b) != ('c', 'a'))]
  lines = lines[: 49_408 - 514]
  (folder / 'merges.txt').write_text('\n'.join(['#version', *lines, '']))
  # OpenAI's file goes on.
  more = '\n'.join(['"version"', *lines, 'x y z', 'z y x']).encode()
  (folder / 'simple.txt.gz').write_bytes(gzip.compress(more))
  for name, merges in [
    ('old.json', lines),
    ('new.json', [line.split() for line in lines]),
  ]:
    (folder / name).write_text(json.dumps({'model': {'merges': merges}}))
  return folder


@pytest.fixture(params=['bytes', 'bpe', 'clip'])
def make(request):
  """length -> tokenizer, and its start, end and padding."""
  if request.param == 'bytes':
    return tokenizers.byte_tokenizer, (1, 2, 0)
  if request.param == 'bpe':
    learned = request.getfixturevalue('learned')
    return lambda length: tokenizers.bpe_tokenizer(learned, length), (1, 2, 0)
  folder = request.getfixturevalue('clip_folder')
  return lambda length: tokenizers.clip_tokenizer(folder, length), (
    49406,
    49407,
    0,
  )


def test_rows_start_end_and_are_padded(make):
  tokenizer, (start, end, padding) = make[0](120), make[1]
  tokens = tokenizer.encode(PROMPTS)
  assert tokens.shape == (len(PROMPTS), 120) and tokens.dtype == np.int32
  assert tokens.min() >= 0 and tokens.max() < tokenizer.vocab_size
  for row, prompt in zip(tokens, PROMPTS, strict=True):
    count = tokenizer.count(prompt)
    assert row[0] == start and row[count - 1] == end
    assert (row[count:] == padding).all()
    assert not np.isin(row[1 : count - 1], [start, end]).any()
  assert tokenizer.count('') == 2
  assert tokenizer.encode([]).shape == (0, 120)


def test_too_long_loses_its_last_tokens_but_not_the_end(make):
  tokenizer, end = make[0](120), make[1][1]
  short = make[0](6)
  for prompt in PROMPTS:
    whole, cut = tokenizer.encode([prompt])[0], short.encode([prompt])[0]
    if tokenizer.count(prompt) <= 6:
      np.testing.assert_array_equal(cut, whole[:6])
    else:
      np.testing.assert_array_equal(cut, [*whole[:5], end])
    assert short.count(prompt) == tokenizer.count(prompt)


def test_a_row_needs_two_tokens(make):
  assert make[0](2).encode(['cat']).tolist() == [list(make[1][:2])]
  with pytest.raises(ValueError, match='at least 2, .*got 1'):
    make[0](1)


def test_bytes_are_the_bytes():
  tokenizer = tokenizers.byte_tokenizer(120)
  assert tokenizer.vocab_size == 259
  for row, prompt in zip(tokenizer.encode(PROMPTS), PROMPTS, strict=True):
    tokens = row[1 : tokenizer.count(prompt) - 1]
    assert bytes((tokens - 3).tolist()).decode() == prompt


def test_bpe_loses_nothing(learned):
  from tokenizers import Tokenizer, decoders

  tokenizer = tokenizers.bpe_tokenizer(learned, 200)
  library = Tokenizer.from_str(learned)
  library.decoder = decoders.ByteLevel()
  for row, prompt in zip(tokenizer.encode(PROMPTS), PROMPTS, strict=True):
    tokens = row[1 : tokenizer.count(prompt) - 1]
    assert library.decode((tokens - 3).tolist()) == prompt
    assert len(tokens) <= len(prompt.encode())


def test_bpe_learns_the_words(learned):
  tokenizer = tokenizers.bpe_tokenizer(learned, 32)
  # A token each of the words of a caption, and start and end.
  assert {tokenizer.count(caption) for caption in CAPTIONS} == {6}
  assert 259 < tokenizer.vocab_size <= 320
  assert len({tuple(row) for row in tokenizer.encode(CAPTIONS)}) == 12


def test_bpe_is_kept_in_a_file(learned, tmp_path):
  (tmp_path / 'vocabulary.json').write_text(learned)
  from_file = tokenizers.bpe_tokenizer(tmp_path / 'vocabulary.json', 64)
  np.testing.assert_array_equal(
    from_file.encode(PROMPTS),
    tokenizers.bpe_tokenizer(learned, 64).encode(PROMPTS),
  )
  assert tokenizers.train_bpe(CAPTIONS, 320) == learned


def test_the_hash_is_of_the_vocabulary(learned, clip_folder):
  hashes = [tokenizers.bpe_tokenizer(learned, n).sha256 for n in (8, 9)]
  assert hashes[0] == hashes[1] and len(hashes[0]) == 64
  described = json.loads(learned)
  vocabulary = described['model']['vocab']
  vocabulary['a'], vocabulary['b'] = vocabulary['b'], vocabulary['a']
  shuffled = tokenizers.bpe_tokenizer(json.dumps(described), 8)
  assert shuffled.sha256 != hashes[0]
  clips = {tokenizers.clip_tokenizer(f).sha256 for f in clip_folder.iterdir()}
  assert len(clips) == 1 and tokenizers.byte_tokenizer(8).sha256 == ''


def test_bpe_needs_the_bytes(learned):
  with pytest.raises(ValueError, match='at least 259, .*got 258'):
    tokenizers.train_bpe(CAPTIONS, 258)
  assert (
    tokenizers.bpe_tokenizer(tokenizers.train_bpe([], 259), 8).vocab_size == 259
  )


def test_clip_merges(clip_folder):
  tokenizer = tokenizers.clip_tokenizer(clip_folder, 8, padding=49407)
  assert tokenizer.vocab_size == 49408
  # The merges follow 256 bytes and 256 ends of words; 'ca' is the first.
  s_end = 256 + tokenizers._byte_symbols().index('s')
  cat, is_ = 512 + 1, 512 + 3
  assert tokenizer.encode([' Cat\n IS  cat ', '']).tolist() == [
    [49406, cat, is_, cat, *[49407] * 4],
    [49406, *[49407] * 7],
  ]
  # An apostrophe and its letters are a word, every digit is one.
  apostrophe = tokenizers._byte_symbols().index("'")
  assert tokenizer.encode(["cat's"])[0, 1:5].tolist() == [
    *(cat, apostrophe, s_end, 49407)
  ]
  digits = tokenizer.encode(['123'])[0, 1:4]
  np.testing.assert_array_equal(digits, tokenizer.encode(['1 2 3'])[0, 1:4])
  assert digits.min() >= 256 and tokenizer.count('123') == 5


def test_clip_layouts_are_the_same(clip_folder):
  files = sorted(clip_folder.iterdir())
  tokens = [tokenizers.clip_tokenizer(file).encode(PROMPTS) for file in files]
  assert len(files) == 4 and tokens[0].shape == (len(PROMPTS), 77)
  for other in tokens[1:]:
    np.testing.assert_array_equal(other, tokens[0])


def test_clip_needs_its_vocabulary(tmp_path):
  with pytest.raises(FileNotFoundError, match=r'merges\.txt or .* at .*'):
    tokenizers.clip_tokenizer(tmp_path)
  (tmp_path / 'merges.txt').write_text('#version\na b\n')
  with pytest.raises(ValueError, match=r'48894 merges, got 1 in .*txt'):
    tokenizers.clip_tokenizer(tmp_path)


@pytest.fixture(scope='module')
def open_clip_tokenizer():
  """The module of open_clip that has its tokenizer, without its networks."""
  spec = importlib.util.find_spec('open_clip')
  if spec is None:
    pytest.skip('open_clip_torch is not installed')
  file = Path(spec.origin).parent / 'tokenizer.py'
  spec = importlib.util.spec_from_file_location('open_clip_tokenizer', file)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


@pytest.fixture(scope='module')
def clip_prompts():
  rng = np.random.default_rng(0)
  ranges = [
    (32, 127),
    (32, 127),
    (0xA1, 0x17F),
    (0x370, 0x500),
    (0x3041, 0x3097),
  ]
  letters = [chr(c) for low, high in ranges for c in range(low, high)]
  draw = lambda: ''.join(rng.choice(letters, rng.integers(60)))
  plain = [p for p in PROMPTS if 'endoftext' not in p]
  return plain + ['word ' * 200, 'x' * 300] + [draw() for _ in range(300)]


def test_clip_is_open_clip(open_clip_tokenizer, clip_prompts):
  import ftfy

  theirs = open_clip_tokenizer.SimpleTokenizer()
  ours = tokenizers.clip_tokenizer(open_clip_tokenizer.default_bpe())
  # Its clean-up of web text is not ours: prompts that it leaves alone.
  prompts = [
    p
    for p in clip_prompts
    if ftfy.fix_text(p) == unicodedata.normalize('NFC', p) and '&' not in p
  ]
  assert len(prompts) > 150
  np.testing.assert_array_equal(ours.encode(prompts), theirs(prompts).numpy())


def test_clip_is_transformers(open_clip_tokenizer, clip_prompts, tmp_path):
  transformers = pytest.importorskip('transformers')
  vocabulary = open_clip_tokenizer.default_bpe()
  theirs = open_clip_tokenizer.SimpleTokenizer()
  special = {49406: '<|startoftext|>', 49407: '<|endoftext|>'}
  ids = {special.get(i, token): i for token, i in theirs.encoder.items()}
  (tmp_path / 'vocab.json').write_text(json.dumps(ids))
  merges = [' '.join(pair) for pair in theirs.bpe_ranks]
  (tmp_path / 'merges.txt').write_text('\n'.join(['#version: 0.2', *merges]))
  model = transformers.CLIPTokenizer.from_pretrained(tmp_path)
  # At the end of a word Python's lower() makes ς of Σ, and Rust's σ.
  prompts = [p for p in clip_prompts if 'Σ' not in p]
  wanted = model(prompts, padding='max_length', max_length=77, truncation=True)[
    'input_ids'
  ]
  model.save_pretrained(tmp_path / 'json')
  for path in (tmp_path, tmp_path / 'json', vocabulary):
    ours = tokenizers.clip_tokenizer(path, padding=49407)
    np.testing.assert_array_equal(ours.encode(prompts), wanted)
