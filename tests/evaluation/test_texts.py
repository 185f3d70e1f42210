"""Metrics of texts, counted by hand, and their errors over many sets."""

import numpy as np
import pytest

from jaxdiff.data.sets.sums import is_sum
from jaxdiff.evaluation import texts

SUMS = ['037+481=518', '001+001=002', '037+481=518', '001+001=003']


def test_fractions():
  assert texts.fraction(SUMS, is_sum) == 3 / 4
  assert texts.unique(SUMS) == 3 / 4
  assert texts.fraction(SUMS, {'037+481=518'}.__contains__) == 2 / 4
  assert texts.fraction(SUMS, lambda text: text.endswith('8')) == 2 / 4


def test_summary_has_what_was_asked_for():
  values = lambda found: {k: x for k, x in found.items() if 'error' not in k}
  assert values(texts.summary(['a', 'b'])) == {'unique': 1.0}
  found = texts.summary(['a', 'b', 'b', 'b'], {'a'})
  assert values(found) == {'unique': 1 / 2, 'novel': 3 / 4}
  assert found['novel_error'] == pytest.approx((3 / 16 / 4) ** 0.5)
  found = texts.summary(SUMS, set(SUMS), sums=True)
  assert values(found) == {'unique': 3 / 4, 'novel': 0.0, 'correct': 3 / 4}
  assert found.keys() == {k + e for k in values(found) for e in ('', '_error')}


DISTRIBUTIONS = {
  'uniform': np.full(300, 1 / 300),
  'wider than the set': np.full(100_000, 1e-5),
  'power law': 1 / np.arange(1, 10_001),
  'one half': np.append(1.0, np.full(10_000, 1e-4)),
}


@pytest.mark.parametrize('name', DISTRIBUTIONS)
def test_the_error_of_unique_is_the_deviation_over_sets(name):
  rng = np.random.default_rng(0)
  p = DISTRIBUTIONS[name] / DISTRIBUTIONS[name].sum()
  sets = [rng.choice(len(p), 1000, p=p).astype(str) for _ in range(100)]
  deviation = np.std([texts.unique(list(x)) for x in sets])
  claimed = np.mean([texts.unique_error(list(x)) for x in sets[:20]])
  # Of 100 sets the deviation is known to 7 %.
  assert 0.75 < claimed / deviation < 1.3


@pytest.mark.parametrize('metric', [texts.unique, texts.summary])
def test_of_no_text_nothing_is_said(metric):
  with pytest.raises(ValueError, match='at least one text'):
    metric([])
