"""Flags of a cascade: each stage is given those that it has a use for."""

import pytest
import tiny

from jaxdiff import runs
from jaxdiff.generation.flags import Flags
from jaxdiff.generation.from_flags import stages

PLAIN = tiny.config
LABELS = tiny.changed(PLAIN, condition={'label': True})
NEVER_WITHOUT = tiny.changed(LABELS, condition={'drop': 0.0})
ANCESTRAL = tiny.changed(PLAIN, sampling={'sampler': 'ancestral'})
PROJECTED = tiny.changed(LABELS, sampling={'guidance': 'apg'})


@pytest.fixture
def fitted(monkeypatch):
  def fit(base, large, **flags):
    configs = {'base': (base, None), 'large': (large, None)}
    monkeypatch.setattr(runs, 'read_config', configs.get)
    found = stages(Flags(workdir='large', base='base', **flags))
    assert [path for path, _ in found] == ['large', 'base']
    return [flags for _, flags in found][::-1]

  return fit


@pytest.mark.parametrize(
  ('field', 'value', 'fits', 'not_', 'why'),
  [
    ('scale', 2.0, LABELS, PLAIN, 'no condition'),
    ('scale', 2.0, LABELS, NEVER_WITHOUT, 'met no condition'),
    ('eta', 0.5, PLAIN, ANCESTRAL, 'not for ancestral'),
    ('momentum', 0.5, PROJECTED, LABELS, 'is for --guidance apg'),
  ],
)
def test_a_flag_that_fits_one_stage(
  fitted, capsys, field, value, fits, not_, why
):
  for order in (1, -1):
    with_, without = fitted(*(fits, not_)[::order], **{field: value})[::order]
    assert getattr(with_, field) == value and getattr(without, field) is None
    said = capsys.readouterr().err
    name = ('base', 'large')[::order][1]
    assert said.startswith(f'--{field} is not for {name}: ') and why in said
  with pytest.raises(ValueError, match=why):
    fitted(not_, not_, **{field: value})
  assert not capsys.readouterr().err


def test_flags_that_depend_on_others(fitted, capsys):
  every = {'guidance': 'apg', 'momentum': 0.5, 'scale': 3.0, 'steps': 7}
  for flags in fitted(LABELS, LABELS, **every):
    assert {name: getattr(flags, name) for name in every} == every
  # It is told that it samples by ddim before it is told eta.
  both = fitted(ANCESTRAL, PLAIN, sampler='ddim', eta=1.0)
  assert [flags.eta for flags in both] == [1.0, 1.0]
  assert not capsys.readouterr().err
