"""Names with arguments: parsed, looked up, called."""

import sys

import jax.numpy as jnp
import pytest

from jaxdiff import names
from jaxdiff.config import registry
from jaxdiff.losses import weightings


def make(text, table=registry.WEIGHTINGS, **context):
  return names.make(table, text, '--diffusion.weighting', **context)


def test_a_name_takes_arguments():
  log_snr = jnp.array(3.0)
  assert make('min_snr(2)')(log_snr) == 2.0
  assert make('min_snr(gamma=3.5)')(log_snr) == 3.5
  assert make('min_snr')(log_snr) == make('min_snr()')(log_snr) == 5.0
  assert make('simple') is weightings.simple
  assert names.name_of('unipc(order=3)', 'sampler') == 'unipc'
  call = names.parse(" f(1, 'a', k=(2, 3))", 'x')
  assert call == ('f', (1, 'a'), {'k': (2, 3)})


@pytest.mark.parametrize(
  ('text', 'message'),
  [
    ('min_snr(1, 2)', 'takes at most 1 arguments'),
    ('min_snr(g=1)', "unexpected keyword argument 'g'"),
    ('min_snr(1, gamma=2)', 'gamma.* twice'),
    ('min_snr(gamma=1, gamma=2)', 'keyword argument repeated|twice|name or a'),
    ('simple(1)', 'simple takes no arguments'),
    ('min_snr(x)', 'a name or a call'),
    ('min_snr(', 'a name or a call'),
    ('min_snr({[1]: 2})', 'a name or a call'),
    ('min_snr(1) + min_snr(2)', 'a name or a call'),
    ('min_snr(*[1])', 'a name or a call'),
    ('min_snr(**{"gamma": 1})', 'a name or a call'),
    (
      'min_sn(5)',
      r"must be one of \['clipped_velocity', 'edm', .*got 'min_sn'",
    ),
    ('min_snr("5")', "gamma must be of type float, got '5'"),
    ('min_snr(True)', 'gamma must be of type float, got True'),
    ('min_snr(1e999)', r'gamma must be in \[-1000000, 1000000\], got inf'),
    ('json:nothing', 'json:nothing cannot be imported'),
    ('no_such_package.x:f', 'cannot be imported: No module named'),
    (':f', 'cannot be imported'),
    ('numpy:pi', 'numpy:pi is no function'),
    ('json:decoder', 'json:decoder is no function'),
    ('builtins:dict', 'builtins:dict is no function'),
  ],
)
def test_wrong_names_and_arguments_are_refused(text, message):
  with pytest.raises(ValueError, match=message) as raised:
    make(text)
  assert str(raised.value).startswith('--diffusion.weighting')


def test_a_factory_is_given_the_context_that_it_has_parameters_for():
  def near(schedule, eta, power=2):
    return schedule, eta, power

  table = {'near': near, 'far': lambda power: power}
  both = {'schedule': 's', 'eta': 0.5, 'steps': 9}
  assert make('near', table, **both) == ('s', 0.5, 2)
  assert make('near(3)', table, **both) == ('s', 0.5, 3)
  # What is written goes before the context.
  assert make('near(3, eta=0.1)', table, **both) == ('s', 0.1, 3)
  assert make('far(4)', table, **both) == 4
  with pytest.raises(ValueError, match="missing.*'power'"):
    make('far', table, **both)


def test_an_entry_is_imported_when_its_name_is_used(tmp_path, monkeypatch):
  (tmp_path / 'entries_of_a_test.py').write_text('def f(x=1): return x + 1\n')
  monkeypatch.syspath_prepend(tmp_path)
  table = {'f': 'entries_of_a_test:f'}
  assert 'entries_of_a_test' not in sys.modules
  assert make('f(2)', table) == make('entries_of_a_test:f(2)', {}) == 3


def test_errors_of_a_factory_name_the_flag():
  with pytest.raises(ValueError, match=r'weighting=edm\(-1.0\)|weighting=edm'):
    make('edm(0)')


@pytest.mark.parametrize(
  'table',
  [
    name
    for name, value in vars(registry).items()
    if name.isupper() and isinstance(value, dict)
  ],
)
def test_every_entry_of_a_registry_is_there(table):
  table = getattr(registry, table)
  for name in table:
    found = names.find(table, name, 'name')
    assert callable(found) or isinstance(found, names.Value)
