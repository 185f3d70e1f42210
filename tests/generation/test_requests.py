"""Labels, prompts and seeds as they are typed."""

import dataclasses

import numpy as np
import pytest
import tiny

from jaxdiff import build, requests
from jaxdiff.config import Spec
from jaxdiff.requests import Asked


def run_of(scale=2.0, **condition):
  c = dataclasses.replace(
    tiny.config.condition, **{'length': 12, 'width': 8, **condition}
  )
  sampling = dataclasses.replace(tiny.config.sampling, scale=scale)
  config = dataclasses.replace(tiny.config, condition=c, sampling=sampling)
  return build.Run(config, Spec((8, 8, 1), 10, (8, 8)), 0, None)


def test_labels():
  np.testing.assert_array_equal(requests.read_labels('3', 10), [3])
  np.testing.assert_array_equal(requests.read_labels('0, 9,2', 10), [0, 9, 2])
  np.testing.assert_array_equal(requests.read_labels(None, 4), range(4))


@pytest.mark.parametrize('text', ['10', '-1', 'cat', '1,,2', '1.5', ''])
def test_wrong_labels_are_named(text):
  with pytest.raises(ValueError, match='whole numbers from 0 to 9, got'):
    requests.read_labels(text, 10)


def test_prompts_of_a_file(tmp_path):
  file = tmp_path / 'prompts.txt'
  file.write_text('a red circle\n  a square \n')
  lines = requests.read_prompts(None, str(file))
  assert lines == ['a red circle', 'a square']
  file.write_text('a red circle\n\na square\n')
  with pytest.raises(ValueError, match=r'prompts.txt line 2 is empty.*--scale'):
    requests.read_prompts(None, str(file))
  file.write_text('')
  with pytest.raises(ValueError, match='is empty'):
    requests.read_prompts(None, str(file))
  with pytest.raises(FileNotFoundError, match='no file of prompts'):
    requests.read_prompts(None, str(tmp_path / 'nothing'))


def test_one_way_of_giving_prompts():
  with pytest.raises(ValueError, match='the prompt is empty'):
    requests.read_prompts('  ', None)
  for both_or_none in [(None, None), ('a', 'b')]:
    with pytest.raises(ValueError, match=r'give --prompt "..." or --prompts'):
      requests.read_prompts(*both_or_none)


def test_seeds():
  assert requests.read_seeds(None, 7, 3) == 7
  np.testing.assert_array_equal(requests.read_seeds('5,6', 0, 2), [5, 6])
  for wrong in ('1', '1,2,3', '1,x'):
    with pytest.raises(ValueError, match='--seeds needs 2 whole numbers'):
      requests.read_seeds(wrong, 0, 2)


def test_a_prompt_that_is_cut_is_said(capsys):
  run = run_of(text='bytes')
  told = requests.make_options(
    [run], ['w'], Asked(prompt='a very long prompt indeed')
  )
  assert 'reads 12 tokens, the prompt has 27' in capsys.readouterr().err
  assert told.traced[0]['cond']['tokens'].shape == (1, 12)
  requests.make_options([run], ['w'], Asked(prompt='short'))
  assert capsys.readouterr().err == ''


def test_negative_prompts_and_none():
  run = run_of(text='bytes')
  null = lambda asked: requests.make_options([run], ['w'], asked).traced[0][
    'null'
  ]['tokens']
  empty = build.make_prompts(run.config, 'w').encode([''])['tokens']
  blue = build.make_prompts(run.config, 'w').encode(['blue'])['tokens']
  np.testing.assert_array_equal(null(Asked(prompt='red')), empty)
  asked = Asked(prompt='red', negative_prompt='blue')
  np.testing.assert_array_equal(null(asked), blue)


def test_what_a_model_does_not_take_is_refused():
  with pytest.raises(ValueError, match=r'--prompt; it takes --labels'):
    requests.check_asked(Asked(prompt='a'), [run_of(label=True)])
  with pytest.raises(ValueError, match='--labels; it takes no condition'):
    requests.check_asked(Asked(labels='1'), [run_of()])
  # Of a cascade, one stage that takes it is enough.
  requests.check_asked(Asked(labels='1'), [run_of(label=True), run_of()])


def test_classes_in_turn_without_labels():
  told = requests.make_options([run_of(label=True)], ['w'], Asked(), seed=3)
  np.testing.assert_array_equal(told.traced[0]['cond']['label'], range(10))
  np.testing.assert_array_equal(told.traced[0]['null']['label'], [10])
  assert told.names == [str(i) for i in range(10)]
  assert told.traced[0]['seed'] == 3


def test_guidance_that_cannot_be_is_refused():
  ask = lambda run, asked: requests.make_options([run], ['w'], asked)
  with pytest.raises(ValueError, match='trained with condition.drop=0'):
    ask(run_of(label=True, drop=0.0), Asked())
  ask(run_of(scale=1.0, label=True, drop=0.0), Asked())
  asked = Asked(prompt='red', negative_prompt='blue')
  with pytest.raises(ValueError, match='with --scale 1 there is none'):
    ask(run_of(scale=1.0, text='bytes'), asked)


def test_what_is_drawn_is_told_apart_by_a_hash():
  run = run_of(text='bytes')
  of = lambda **asked: (
    requests.make_options([run], ['w'], Asked(**asked)).sha256
  )
  assert of(prompt='red') == of(prompt='red')
  others = of(prompt='blue'), of(prompt='red', negative_prompt='a')
  assert len({of(prompt='red'), *others}) == 3
  assert requests.make_options([run_of()], ['w'], Asked()).sha256 is None


def test_stages_are_asked_for_equally_many_things():
  runs = [run_of(text='bytes'), run_of(label=True)]
  with pytest.raises(ValueError, match='asked for 1 and 10 things'):
    requests.make_options(runs, ['a', 'b'], Asked(prompt='red'))


def test_seeds_fit_an_integer():
  for wrong in (-1, 2**31):
    with pytest.raises(ValueError, match=r'a seed must be in \[0, 2\^31\)'):
      requests.read_seeds(None, wrong, 1)
  with pytest.raises(ValueError, match='got 3000000000'):
    requests.read_seeds('3000000000', 0, 1)


def test_the_vocabulary_of_a_run_is_missed(tmp_path):
  with pytest.raises(FileNotFoundError, match='vocabulary of the run'):
    build.make_prompts(run_of(text='bpe').config, tmp_path)
