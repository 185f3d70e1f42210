"""Fractions of texts, on texts counted by hand."""

import pytest

from jaxdiff.evaluation import texts

SUMS = ['037+481=518', '001+001=002', '037+481=518', '001+001=003']


def test_fractions():
  assert texts.correct_sums(SUMS) == 3 / 4
  assert texts.unique(SUMS) == 3 / 4
  assert texts.novel(SUMS, {'037+481=518', 'x'}) == 2 / 4
  assert texts.fraction(SUMS, lambda text: text.endswith('8')) == 2 / 4


def test_summary_has_what_was_asked_for():
  assert texts.summary(['a', 'b']) == {'unique': 1.0}
  assert texts.summary(['a', 'b', 'b', 'b'], {'a'}) == {
    'unique': 1 / 2,
    'novel': 3 / 4,
  }
  assert texts.summary(SUMS, set(SUMS), sums=True) == {
    'unique': 3 / 4,
    'novel': 0.0,
    'correct': 3 / 4,
  }


@pytest.mark.parametrize(
  'metric', [texts.unique, texts.correct_sums, texts.summary]
)
def test_of_no_text_nothing_is_said(metric):
  with pytest.raises(ValueError, match='at least one text'):
    metric([])
