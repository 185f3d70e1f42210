"""Absurd values of flags: each is refused by its name, and nothing is run."""

import inspect
from typing import get_args, get_type_hints

import pytest

from jaxdiff.classifier.__main__ import Train
from jaxdiff.config import Config, Section, parse, parse_flags
from jaxdiff.config.ranges import check
from jaxdiff.evaluation.__main__ import COMMANDS
from jaxdiff.generation.flags import Flags

SWEEP = ('sweep', 'RUN')


def evaluation(words):
  return parse_flags(COMMANDS, words)


def sample(words):
  return parse_flags(Flags, ['RUN', *words])


def refused(read, words, flag, capsys):
  """Parses words, and checks the line, or the box of the parser of types."""
  with pytest.raises((ValueError, SystemExit)) as raised:
    read(list(words))
  text = str(raised.value)
  if raised.type is SystemExit:
    text = capsys.readouterr().err
    assert flag in text and 'Traceback' not in text
  else:
    assert text.startswith(flag) and '\n' not in text


@pytest.mark.parametrize(
  ('flag', 'values'),
  [
    ('--steps', ('0', '-1', '1.5', 'nan', '1000001', '99999999999999999999')),
    ('--etas', ('-0.1', '1.1', 'nan', 'inf', 'x', '1e-40')),
    ('--scales', ('1001', 'nan', '-inf', '1e400')),
    ('--momentums', ('1', '-1', 'nan')),
    ('--ema-stds', ('0', '0.3', 'nan', '1e-300')),
    ('--samplers', ('',)),
    ('--guides', ('',)),
    ('--features', ('',)),
    ('--num', ('0', '1', '10000001')),
  ],
)
def test_lists_of_a_sweep(flag, values, capsys):
  for value in values:
    refused(evaluation, (*SWEEP, f'{flag}={value}'), flag, capsys)
  # One that is right hides none that is not.
  many = {'--steps': '5', '--etas': '0', '--scales': '1'}.get(flag)
  if many:
    refused(evaluation, (*SWEEP, flag, many, values[0]), flag, capsys)


@pytest.mark.parametrize('flag', ['--dtype', '--lora', '--size', '--sampler'])
def test_a_likelihood_takes_no_flag_of_a_sampler(flag, capsys):
  refused(evaluation, ('likelihood', 'RUN', flag, '8'), flag, capsys)


@pytest.mark.parametrize(
  ('flag', 'value'),
  [
    ('--temperature', '1e-300'),
    ('--temperature', '1e39'),
    ('--temperature', '0'),
    ('--scale', '1e-300'),
    ('--ema-std', '1e-300'),
    ('--lora-scale', 'nan'),
    ('--sampler', ''),
  ],
)
def test_numbers_that_float32_lacks_and_empty_names(flag, value, capsys):
  refused(sample, (f'{flag}={value}',), flag, capsys)


@pytest.mark.parametrize(
  ('flag', 'value'),
  [
    ('--training.ema-stds', '1e-300'),
    ('--training.ema-stds', '0.5'),
    ('--training.ema-decay', '1'),
    ('--optimizer.learning-rate', '1e-300'),
    ('--optimizer.eps', '1e39'),
    ('--parallel.rules', ''),
    ('--parallel.rules', '=0'),
    ('--parallel.rules', '(=0'),
    ('--parallel.rules', 'kernel=-1'),
    ('--parallel.rules', 'kernel'),
    ('--lora.rank', '0'),
    ('--lora.rank', '99999999999'),
    ('--lora.alpha', 'nan'),
    ('--latent.num', '0'),
    ('--latent.autoencoder', ''),
    ('--init', ''),
    ('--evaluation.features', ''),
  ],
)
def test_flags_of_training(flag, value, capsys):
  read = lambda words: parse(['--config', 'configs/digits.py', *words])
  refused(read, (f'{flag}={value}',), flag, capsys)


def numbers():
  """Yields each field of a number: its section's class, its name, its hint."""
  todo = [Config, Flags, Train, *COMMANDS.values()]
  while todo:
    kind = todo.pop()
    for name, hint in get_type_hints(kind, include_extras=True).items():
      if name == 'prefix':
        continue
      parts = (hint, *get_args(hint))
      todo += [
        x for x in parts if inspect.isclass(x) and issubclass(x, Section)
      ]
      if {int, float} & {y for x in parts for y in (x, *get_args(x))}:
        yield kind, name, hint


def test_every_number_has_a_largest_value():
  found = {(kind.__name__, name): hint for kind, name, hint in numbers()}
  assert ('Optimizer', 'learning_rate') in found and len(found) > 100
  for (kind, name), hint in found.items():
    for value in (10**20, 1e20, -1e20, (1e20,) * 6):
      with pytest.raises(ValueError, match='^--absurd must be'):
        check(value, hint, '--absurd')
        print(kind, name, value)


@pytest.mark.parametrize(
  ('flag', 'value'),
  [
    ('--optimizer.learning-rate', '11'),
    ('--optimizer.clip-norm', '1e20'),
    ('--optimizer.schedule', 'power(exponent=1e20)'),
    ('--optimizer.schedule', 'power(steps=99999999999)'),
    ('--optimizer.name', 'sgd(momentum=1e20)'),
    ('--diffusion.schedule', 've(0.01, 1e20)'),
    ('--diffusion.weighting', 'min_snr(1e20)'),
    ('--diffusion.times', 'log_normal(-1e20)'),
    ('--sampling.times', 'karras(rho=1e20)'),
    ('--sampling.sampler', 'edm_stochastic(s_churn=1e20)'),
  ],
)
def test_absurd_numbers_in_training(flag, value, capsys):
  test_flags_of_training(flag, value, capsys)
