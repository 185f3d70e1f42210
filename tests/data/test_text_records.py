"""Records of text in TFDS: as bytes, by a tokenizer, as one book."""

import io
import json

import numpy as np
import pytest
import tensorflow_datasets as tfds
from decoded import decoded
from PIL import Image

from jaxdiff.data import load
from jaxdiff.data.vocabulary import decode

KINDS = {
  'records': ('text', 'title'),
  'book': ('text', 'title'),
  'pairs': ('question', 'answer'),
  'pictures': ('text', 'image'),
}
CONTENT = {
  'train': [f'the {i}é cats' + ' sat' * (i % 4) for i in range(101)],
  'test': ['a b', *(f'cat {i}' for i in range(101))],
}
BOOK = {'train': 'the cat sat. ' * 5, 'test': 'Ein Satz. ' * 2}


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
  # A cut text keeps its end; a piece continues the word.
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
