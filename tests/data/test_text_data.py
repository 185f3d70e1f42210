"""Texts as data: vocabularies, sums, files, TFDS sets, what they refuse."""

import functools
import io
import json
import os

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from jaxdiff import files
from jaxdiff.data import load
from jaxdiff.data.sets import text_files
from jaxdiff.data.sets.sums import LENGTH, SYMBOLS, is_sum
from jaxdiff.data.sets.text_files import load_lines, load_text
from jaxdiff.data.vocabulary import decode, encode


def everything(data):
  return data.gather(np.arange(len(data)))


def decoded(data):
  arrays = everything(data)
  masks = arrays.get('mask', [None] * len(data))
  return [
    decode(x0, data.symbols, mask)
    for x0, mask in zip(arrays['x0'], masks, strict=True)
  ]


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


KINDS = {
  'records': ('text', 'title'),
  'book': ('text', 'title'),
  'pairs': ('question', 'answer'),
  'pictures': ('text', 'image'),
}


class Texts(tfds.core.GeneratorBasedBuilder):
  """'records': many short ones; 'book': one a split; two that are refused."""

  VERSION = tfds.core.Version('1.0.0')
  BUILDER_CONFIGS = [tfds.core.BuilderConfig(name=name) for name in KINDS]

  def _info(self):
    text, image = tfds.features.Text(), tfds.features.Image(shape=(1, 1, 1))
    names = KINDS[self.builder_config.name]
    return tfds.core.DatasetInfo(
      builder=self,
      features=tfds.features.FeaturesDict(
        {name: image if name == 'image' else text for name in names}
      ),
      disable_shuffling=True,
    )

  def _split_generators(self, dl_manager):
    return {split: self._generate_examples(split) for split in CONTENT}

  def _generate_examples(self, split):
    png = io.BytesIO()
    Image.new('L', (1, 1)).save(png, 'PNG')
    kind = self.builder_config.name
    texts = CONTENT[split] if kind == 'records' else [BOOK[split]]
    first, second = KINDS[kind]
    for i, text in enumerate(texts):
      yield i, {first: text, second: png.getvalue()}


CONTENT = {
  'train': [f'the {i}é cats' + ' sat' * (i % 4) for i in range(101)],
  'test': ['a b', *(f'cat {i}' for i in range(101))],
}
BOOK = {'train': 'the cat sat. ' * 5, 'test': 'Ein Satz. ' * 2}


@pytest.fixture(scope='module')
def read(tmp_path_factory):
  """Loads one of the sets, prepared: name, split, length, tokenizer."""
  tfds.disable_progress_bar()
  root = tmp_path_factory.mktemp('data')
  for name in KINDS:
    builder = Texts(data_dir=str(root), config=name)
    builder.download_and_prepare(file_format='array_record')

  def read(name, split='train', length=None, tokenizer=None):
    name = f'tfds:texts/{name}'
    return load(name, split, data_dir=root, length=length, tokenizer=tokenizer)

  return read


@pytest.fixture(scope='module')
def tokenizer(tmp_path_factory):
  """Word pieces with a start and an end, as BERT's."""
  words = (
    '[UNK] [CLS] [SEP] the cat ##s sat a b e i n s z t . 0 1 2 3 4'.split()
  )
  model = {
    'type': 'WordPiece',
    'unk_token': '[UNK]',
    'continuing_subword_prefix': '##',
    'max_input_chars_per_word': 100,
    'vocab': {word: i for i, word in enumerate(words)},
  }
  special = lambda t: {'SpecialToken': {'id': t, 'type_id': 0}}
  described = {
    'version': '1.0',
    'pre_tokenizer': {'type': 'BertPreTokenizer'},
    'normalizer': {'type': 'Lowercase'},
    'post_processor': {
      'type': 'TemplateProcessing',
      'single': [
        special('[CLS]'),
        {'Sequence': {'id': 'A', 'type_id': 0}},
        special('[SEP]'),
      ],
      'pair': [],
      'special_tokens': {
        token: {'id': token, 'ids': [words.index(token)], 'tokens': [token]}
        for token in ('[CLS]', '[SEP]')
      },
    },
    'model': model,
  }
  path = tmp_path_factory.mktemp('tokenizer') / 'tokenizer.json'
  path.write_text(json.dumps(described))
  return path


def test_records_are_bytes(read):
  data = read('records', 'train', 12)
  assert len(data) == 101 and data.categories == 256 and data.shape == (12,)
  arrays = data.gather(np.array([2, 100, 0]))
  for i, x0, mask in zip(
    (2, 100, 0), arrays['x0'], arrays['mask'], strict=True
  ):
    raw = CONTENT['train'][i].encode()[:12]
    assert bytes(x0[mask].astype(np.uint8)) == raw and not x0[~mask].any()
  assert decode(*_first(arrays['x0'], data.symbols)) == 'the 2\ufffd\ufffd cats'
  lengths = [len(text.encode()) for text in CONTENT['train']]
  assert data.cut == (sum(n > 12 for n in lengths), 101, 12)


def _first(x0, symbols):
  return x0[0], symbols, x0[0] > 0


def test_records_by_a_tokenizer(read, tokenizer):
  test = read('records', 'test', 5, tokenizer)
  assert len(test) == 102 and test.categories == len(test.symbols) == 21
  assert decoded(test)[:2] == [' [CLS] a b [SEP]', ' [CLS] cat 0 [SEP]']
  train = read('records', 'train', 6, tokenizer)
  # What is cut keeps its end; a piece continues the word.
  texts = decoded(train)
  assert ' [CLS] the [UNK] cats [SEP]' == texts[0]
  assert all(text.endswith('[SEP]') for text in texts)


def test_a_book_is_running_text(read, tokenizer):
  train, test = read('book', 'train', 8), read('book', 'test', 8)
  assert train.symbols == tuple(sorted(set(''.join(BOOK.values()))))
  assert train.symbols == test.symbols
  assert decoded(train) == [BOOK['train'][i : i + 8] for i in range(65 - 7)]
  assert decoded(test) == ['Ein Satz', '. Ein Sa']
  tokens = read('book', 'train', 4, tokenizer)
  assert decoded(tokens)[:2] == [' the cat sat .', ' cat sat . the']
  assert len(tokens) == 20 - 3


def test_what_text_records_refuse(read, tokenizer, tmp_path):
  with pytest.raises(ValueError, match=r"\['train', 'test'\], got 'valid'"):
    read('book', 'valid', 4)
  with pytest.raises(ValueError, match='length must be at least 1'):
    read('book', 'train', 0)
  with pytest.raises(FileNotFoundError, match='no such tokenizer'):
    read('book', 'train', 4, tmp_path / 'none.json')
  (tmp_path / 'bad.json').write_text('{')
  with pytest.raises(ValueError, match='cannot read the tokenizer .*bad.json'):
    read('book', 'train', 4, tmp_path / 'bad.json')
  with pytest.raises(ValueError, match=r"text, got \['answer', 'question'\]"):
    read('pairs', 'train', 4)
  with pytest.raises(ValueError, match='texts/book.* needs --data.length'):
    read('book')


def test_a_set_with_images_is_one_of_images(read):
  assert read('pictures').modality == 'image'
  assert read('book', length=4).modality == 'text'
