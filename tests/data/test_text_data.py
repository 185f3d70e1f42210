"""Texts as data: vocabularies, sums, files, TFDS sets, what they refuse."""

import functools
import os

import numpy as np
import pytest
from decoded import decoded, everything

from jaxdiff import files
from jaxdiff.data import load
from jaxdiff.data.sets import text_files
from jaxdiff.data.sets.sums import LENGTH, SYMBOLS, is_sum
from jaxdiff.data.sets.text_files import load_lines, load_text
from jaxdiff.data.vocabulary import decode, encode


def written(path, text, encoding='utf-8'):
  path.write_bytes(text.encode(encoding))
  return path


def test_a_text_comes_back():
  symbols = tuple('aé b')
  x = encode('bé a', symbols)
  assert x.dtype == np.int32 and x.tolist() == [3, 1, 2, 0]
  assert decode(x, symbols) == 'bé a'
  x = encode('b__a', symbols, mask_symbol='_')
  assert x.tolist() == [3, 4, 4, 0]
  assert decode(x, symbols, mask_symbol='?') == 'b??a'
  assert decode(x, symbols, np.array([1, 1, 0, 0], bool)) == 'b_'


@pytest.mark.parametrize(
  ('text', 'symbols', 'mask_symbol', 'message'),
  [
    ('abc#é#', 'abc', None, r"outside the vocabulary: \['#', 'é'\]"),
    ('a_', 'abc', None, r"\['_'\]"),
    ('a_', 'abc_', '_', "'_' cannot stand for MASK"),
    ('a', ('a', ' the'), None, r"tokens such as \[' the'\]"),
  ],
)
def test_what_a_vocabulary_refuses(text, symbols, mask_symbol, message):
  with pytest.raises(ValueError, match=message):
    encode(text, symbols, mask_symbol)


def test_sums():
  train, test = load('sums'), load('sums', 'test')
  assert (len(train), len(test)) == (498_500, 2_000)
  assert train.shape == (LENGTH,) and train.categories == len(SYMBOLS) == 12
  x0 = np.concatenate([everything(data)['x0'] for data in (train, test)])
  assert x0.dtype == np.int32
  # All different, so the splits share nothing, and together they are all.
  assert len(np.unique(x0 @ 12 ** np.arange(11))) == len(x0) == 1000 * 1001 / 2
  for text in decoded(test)[:500]:
    a, b, c = (int(text[i : i + 3]) for i in (0, 4, 8))
    assert text[3] + text[7] == '+=' and a + b == c and is_sum(text)
  with pytest.raises(ValueError, match="'train', 'test'.*'valid'"):
    load('sums', 'valid')


def test_what_is_a_sum():
  assert is_sum('037+481=518') and is_sum('000+000=000')
  for text in (
    '037+481=519',
    '37+481=518',
    '037+481=0518',
    '037+481=518\n',
    '037-481=518',
    '０37+481=518',
    '',
  ):
    assert not is_sum(text)


def test_running_text_is_cut_into_windows(tmp_path, monkeypatch):
  # Chunks that end within the text must leave no trace.
  small = functools.partial(files.read_pieces, size=7)
  monkeypatch.setattr(files, 'read_pieces', small)
  text = 'zäh\r\n€𝄞' * 10 + 'Q'  # the last character is in the test alone
  path = written(tmp_path / 'a.txt', text)
  train, test = (load_text(path, split, 3) for split in ('train', 'test'))
  assert train.symbols == test.symbols == tuple(sorted(set(text)))
  assert train.categories == len(set(text)) and train.shape == (3,)
  first, last = text[:64], text[64:]
  assert decoded(train) == [first[i : i + 3] for i in range(62)]
  assert decoded(test) == [last[:3], last[3:6]]
  assert everything(train)['x0'].dtype == np.int32
  # Any order, and repeated.
  x0 = train.gather(np.array([60, 2, 2]))['x0']
  assert [decode(x, train.symbols) for x in x0] == [
    first[i : i + 3] for i in (60, 2, 2)
  ]


def test_text8_has_its_published_splits(tmp_path, monkeypatch):
  text = ''.join(chr(48 + i) for i in range(100))
  path = written(tmp_path / 'text8', text)
  with pytest.raises(ValueError, match=r"\['train', 'test'\], got 'valid'"):
    load_text(path, 'valid', 5)
  # As if text8 had a hundred characters.
  monkeypatch.setattr(text_files, 'TEXT8', 100)
  parts = {'train': text[:90], 'valid': text[90:95], 'test': text[95:]}
  for split, part in parts.items():
    data = load_text(path, split, 5)
    assert decoded(data)[0] == part[:5] and decoded(data)[-1] == part[-5:]
    assert len(data) == (86 if split == 'train' else 1)


def test_a_byte_order_mark_is_no_character(tmp_path):
  path = written(tmp_path / 'a.txt', 'ab' * 10, 'utf-8-sig')
  assert load_text(path, 'train', 2).symbols == ('a', 'b')
  path = written(tmp_path / 'b.txt', 'ab\r\nba\r\naa\n', 'utf-8-sig')
  assert load_lines(path, 'train').symbols == ('a', 'b')


def test_a_digest_is_of_the_text(tmp_path):
  lines = [f'{i} {"x" * i}' for i in range(40)]
  one = written(tmp_path / 'one.txt', '\n'.join(lines) + '\n')
  two = written(tmp_path / 'two.txt', '\r\n'.join(lines), 'utf-8-sig')
  back = written(tmp_path / 'back.txt', '\n'.join(lines[::-1]) + '\n')
  digest = lambda kind, path, split, **options: load(
    f'{kind}:{path}', split, **options
  ).digest()
  for split in ('train', 'test'):
    # How a line ends is no part of a set of lines, but of running text.
    first = digest('lines', one, 'train')
    assert digest('lines', one, split) == digest('lines', two, split) == first
    assert digest('lines', back, split) != first
    running = digest('text', one, 'train', length=4)
    assert digest('text', one, split, length=4) == running
    assert digest('text', two, split, length=4) != running
    assert digest('text', back, split, length=4) != running
  assert load(f'lines:{one}').summary() == (
    f'lines:{one} train: 36 texts of 42; splits: train, test'
  )


@pytest.mark.parametrize('kind', ['lines', 'text', 'smiles'])
def test_what_can_be_read_only_once_is_refused(tmp_path, kind):
  os.mkfifo(tmp_path / 'pipe')
  options = {'length': 2} if kind == 'text' else {}
  if kind == 'smiles':
    pytest.importorskip('rdkit')
  for path in (tmp_path / 'pipe', tmp_path, '/dev/null'):
    with pytest.raises(ValueError, match='is not a regular file'):
      load(f'{kind}:{path}', **options)


@pytest.mark.parametrize('more', [b'', b'more'])
def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path, more):
  path = written(tmp_path / 'a.txt', 'ab' * 1000)
  pieces = files.read_pieces(path, 10)
  next(pieces)
  path.write_bytes(b'ab' * 500 + more)
  with pytest.raises(ValueError, match='a.txt changed while it was read'):
    list(pieces)


@pytest.mark.parametrize(
  ('content', 'length', 'message'),
  [
    (b'\xff\xfe\x00' * 9, 2, 'a.txt line 1 is not UTF-8 text'),
    (b'a\nb\0' * 9, 2, 'a.txt line 2 has a NUL: it is not text'),
    (b'ab' * 10, 3, "'test' of text:.*a.txt has 2 elements, too few .* of 3"),
    (b'', 3, '0 elements'),
    (b'ab' * 10, 0, 'length must be at least 1'),
  ],
)
def test_files_that_are_no_text(tmp_path, content, length, message):
  (tmp_path / 'a.txt').write_bytes(content)
  with pytest.raises(ValueError, match=message):
    load_text(tmp_path / 'a.txt', 'test', length)


def test_a_missing_file_is_named(tmp_path):
  for read in (load_text, load_lines):
    with pytest.raises(
      FileNotFoundError, match=r'no such file of text: .*b\.t'
    ):
      read(tmp_path / 'b.txt', 'train', 3)


def test_lines_are_padded(tmp_path):
  lines = [f'{"ab" * (i % 7)}é{i}' for i in range(60)]
  path = written(tmp_path / 'a.txt', '\n'.join([*lines, '', 'q']) + '\r\n')
  train, test = (load_lines(path, split) for split in ('train', 'test'))
  longest = max(map(len, lines))
  assert train.shape == (longest,)
  assert load_lines(path, 'train', 20).shape == (20,)
  assert (len(train), len(test)) == (55, 6)
  # Every line once, in one of the two, and nothing beyond its end.
  assert sorted(decoded(train) + decoded(test)) == sorted([*lines, 'q'])
  arrays = everything(train)
  assert (arrays['x0'][~arrays['mask']] == 0).all()
  order = np.array([3, 3, 50])
  np.testing.assert_array_equal(train.gather(order)['x0'], arrays['x0'][order])


def test_lines_of_train_are_not_in_the_test(tmp_path):
  path = written(tmp_path / 'a.txt', 'x\ny\nz\n' * 20 + '\n'.join('abcdefgh'))
  train, test = (decoded(load_lines(path, s)) for s in ('train', 'test'))
  assert test and not set(train) & set(test)
  # Train keeps how often a line occurs.
  assert train.count('x') > 10
  path = written(tmp_path / 'b.txt', 'x\n' * 30)
  with pytest.raises(ValueError, match='every line of the test .* in train'):
    load_lines(path, 'test')


def test_lines_too_long_are_named(tmp_path):
  path = written(tmp_path / 'a.txt', 'ab\n\nabcdef\nc')
  with pytest.raises(ValueError, match=r'line 3 of .*6 char.*length 4: .abcde'):
    load_lines(path, 'train', 4)
  with pytest.raises(ValueError, match='at least 2 lines'):
    load_lines(written(tmp_path / 'b.txt', '\nab\n'), 'train')
