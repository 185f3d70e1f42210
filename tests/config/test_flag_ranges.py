"""Absurd values of flags: each is refused by its name, and nothing is run."""

import pytest

from jaxdiff.config import parse, parse_flags
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
