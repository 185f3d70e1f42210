"""Flags of train.py that would have no effect."""

import pytest

from jaxdiff import config as c

_BYTES = '--condition.text bytes '
_CLIP = '--condition.text clip --condition.clip FOLDER '


@pytest.mark.parametrize(
  ('flags', 'kinds'),
  [
    ('--condition.t5 FOLDER', 't5'),
    ('--condition.no-pooled', 'clip'),
    ('--condition.sizes-dim 8', 'clip'),
    (_BYTES + '--condition.clip FOLDER', 'clip'),
    (_BYTES + '--condition.t5 FOLDER', 't5'),
    (_BYTES + '--condition.no-pooled', 'clip'),
    (_BYTES + '--condition.vocab-size 300', 'bpe'),
    (_CLIP + '--condition.width 64', 'bytes or bpe'),
    (_CLIP + '--condition.length 30', 'bytes or bpe or t5'),
  ],
)
def test_each_kind_of_text_takes_its_own_settings(flags, kinds):
  flag = flags.removeprefix(_CLIP).removeprefix(_BYTES).split()[0]
  flag = flag.replace('no-', '')
  needed = f'{flag} needs --condition.text {kinds}, without which'
  with pytest.raises(ValueError, match=needed):
    c.parse(flags.split())


def test_settings_of_a_kind_of_text_are_taken():
  flags = '--condition.text bytes --condition.length 9 --condition.width 8'
  found = c.parse(flags.split()).condition
  assert (found.length, found.width) == (9, 8)


def test_guidance_needs_training_without_a_condition():
  flags = '--config configs/digits_class.py --condition.drop 0'.split()
  with pytest.raises(ValueError, match='meets no condition in training'):
    c.parse(flags)
  assert c.parse([*flags, '--sampling.scale', '1']).condition.drop == 0
  # The weights of another run may have met none.
  assert c.parse([*flags, '--init', 'runs/another']).condition.drop == 0
