"""spiece.model against transformers' T5Tokenizer, on random text."""

import io
import random

import pytest

from jaxdiff import tokenizers

sentencepiece = pytest.importorskip('sentencepiece')
transformers = pytest.importorskip('transformers')

WORDS = ['the', 'cat', 'sat', 'naïve', 'Zürich', '東京', 'привет', '12', 'ﬁne']
ODD = [
  '½',
  '＜Ａ',
  'e\u0301',
  'İ',
  'ß',
  '™',
  '▁',
  'a▁b',
  '<pad>',
  '</s>',
  '<unk>',
]
ODD += ['\u0e01\u0e33', '\u1100\u1161', 'ﷺ', '😀', '👨\u200d👩', '\U0001f1e9']
BLANKS = [' ', '  ', '\n', '\t', '\r', '\x85', '\xa0', '\u2003', '\u3000']
BLANKS += ['\0', '\x01', '\x1f', '\x7f', '\u200b', '\u2028', '\ufeff', '\ufffd']


@pytest.mark.parametrize('rule', ['nmt_nfkc', 'identity'])
def test_ids_are_those_of_transformers(rule, tmp_path):
  draw, model = random.Random(0), io.BytesIO()
  sentencepiece.SentencePieceTrainer.train(
    sentence_iterator=(
      ' '.join(draw.choices(WORDS, k=draw.randint(2, 14))) for _ in range(2000)
    ),
    model_writer=model,
    vocab_size=50,
    hard_vocab_limit=False,
    pad_id=0,
    eos_id=1,
    unk_id=2,
    bos_id=-1,
    normalization_rule_name=rule,
    minloglevel=2,
  )
  (tmp_path / 'spiece.model').write_bytes(model.getvalue())
  theirs = transformers.T5Tokenizer.from_pretrained(tmp_path, extra_ids=0)
  ours = tokenizers.t5_tokenizer(tmp_path / 'spiece.model', 200)
  for _ in range(1000):
    parts = draw.choices(WORDS + ODD + BLANKS, k=draw.randint(0, 12))
    text = draw.choice(['', ' ']).join(parts)
    found = ours.encode([text])[0, : ours.count(text)].tolist()
    assert found == theirs(text)['input_ids'], repr(text)
