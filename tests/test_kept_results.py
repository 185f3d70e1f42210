"""Benchmarks name the kept file that is damaged, and compute nothing before."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from benchmarks import minutes, plans, time_to_quality, tutorial
from jaxdiff import config as c

PLAN = """a batch of 512, 32 a chip, in bfloat16
  together        2.120 GiB: fits
a step takes at least 27.48 ms, bound by all-reduce: 18,635 examples/s on 16
"""


@pytest.mark.parametrize(
  'text', ['[]', 'null', '{bad', '{}', '{"data": 1}', '']
)
def test_damaged_options_are_named(text, tmp_path):
  (tmp_path / 'options.json').write_text(text)
  with pytest.raises(
    ValueError, match=r'options\.json .*bring it back'
  ) as error:
    minutes.keep_options(tmp_path, minutes=5)
  assert '\n' not in str(error.value)


def test_options_are_not_kept_where_a_file_stands(tmp_path):
  (tmp_path / 'out').write_text('')
  with pytest.raises(FileExistsError, match='out is a file'):
    minutes.keep_options(tmp_path / 'out', minutes=5)


@pytest.mark.parametrize(
  'result',
  [
    {},
    [],
    {'metrics': {}},
    {'metrics': {'FD a': {'value': 1.0}, 'FD b': {'value': 1.0}}},
    {'metrics': {'FD a': {'value': float('nan')}}},
    {'metrics': {'FD a': {'value': '1'}}},
    {'metrics': {'FD a': 1.0}},
  ],
)
def test_a_damaged_score_is_named(result, tmp_path):
  score = tmp_path / 'score.json'
  score.write_text(json.dumps(result))
  with pytest.raises(ValueError, match=r'score\.json is damaged: delete it'):
    minutes.distance(tmp_path / 'samples', score)


def test_a_whole_score_is_read(tmp_path):
  score = tmp_path / 'score.json'
  score.write_text('{"metrics": {"FD a": {"value": 1.5}, "recall": {}}}')
  assert minutes.distance(tmp_path / 'samples', score) == 1.5


@pytest.mark.parametrize('text', ['{', '{}', '[]', '{"5": 3}', '{"5": {}}'])
def test_damaged_times_are_named(text, tmp_path):
  (tmp_path / 'times.json').write_text(text)
  options = time_to_quality.Options(out='out')
  with pytest.raises(ValueError, match=r'times\.json is damaged'):
    time_to_quality.measure(options, tmp_path, 'ours')


@pytest.mark.parametrize(
  'made', [{}, [], {'steps': 3}, {'steps': [], 'minutes': 1}]
)
def test_damaged_steps_are_named(made, tmp_path):
  file = tmp_path / 'steps.json'
  file.write_text(json.dumps(made))
  with pytest.raises(ValueError, match=r'steps\.json is damaged'):
    tutorial.kept.read(file, tutorial.steps_of)


@pytest.mark.parametrize(
  'content', [None, b'', b'PK\3\4 cut', {'x': np.zeros(2)}, {'arr_0': ['a']}]
)
def test_damaged_samples_are_named(content, tmp_path):
  file, beside = tmp_path / '0.npz', tmp_path / 'steps.json'
  if isinstance(content, bytes):
    file.write_bytes(content)
  elif content:
    np.savez(file, **content)
  with pytest.raises(
    ValueError, match=r'0\.npz is missing or damaged: .*steps'
  ):
    tutorial.kept.read_array(file, 'arr_0', beside)


@pytest.mark.parametrize(
  'content',
  [
    b'',
    b'\xff\xfe',
    b'a batch of 512,\n',
    PLAN[:-60].encode(),
    b'Ran out of memory',
  ],
)
def test_a_damaged_plan_is_named_and_the_table_printed(
  content, tmp_path, capsys, monkeypatch
):
  monkeypatch.setattr(plans, 'plan', lambda name: pytest.fail('compiled'))
  (tmp_path / 'text8.txt').write_bytes(content)
  (tmp_path / 'mdlm_text8.txt').write_text(PLAN)
  with pytest.raises(ValueError, match=r'text8\.txt is damaged'):
    plans.main(plans.Options(out=str(tmp_path)))
  said = capsys.readouterr().out
  assert '| mdlm_text8 | v5e:4x4 | 512 |' in said
  assert 'does not fit' not in said and '| text8' not in said


def test_plans_need_libtpu_and_data_before_any_is_compiled(
  tmp_path, capsys, monkeypatch
):
  monkeypatch.chdir(tmp_path)
  monkeypatch.setattr(plans, 'plan', lambda name: pytest.fail('compiled'))
  (tmp_path / 'text8.txt').write_text(PLAN)
  found = []
  find_spec = lambda name: name in found or None
  monkeypatch.setattr(plans.importlib.util, 'find_spec', find_spec)
  with pytest.raises(ValueError, match='pip install libtpu'):
    plans.main(plans.Options(out='.'))
  found.append('libtpu')
  with pytest.raises(ValueError, match=r'digress_qm9 needs the file qm9\.csv'):
    plans.main(plans.Options(out='.'))
  Path('qm9.csv').write_text('smiles\nC\n')
  with pytest.raises(ValueError, match='digress_qm9 needs RDKit'):
    plans.main(plans.Options(out='.'))
  assert capsys.readouterr().out.count('| text8 | v5e:4x4 | 512 |') == 3
  found.clear()
  plans.main(plans.Options(out='.', only=('text8',)))  # it is there


def test_a_plan_that_fails_does_not_lose_the_others(
  tmp_path, capsys, monkeypatch
):
  def plan(name):
    if name == 'lm1b':
      raise ValueError('the plan of lm1b failed: a reason')
    return PLAN if name == 'text8' else 'no plan'

  monkeypatch.setattr(plans, 'check_needs', lambda names: None)
  monkeypatch.setattr(plans, 'plan', plan)
  only = ('mdlm_text8', 'lm1b', 'text8')
  message = (
    'plan of mdlm_text8 lacks batch.*; the plan of lm1b failed: a reason'
  )
  with pytest.raises(ValueError, match=message):
    plans.main(plans.Options(out=str(tmp_path), only=only))
  assert '| text8 | v5e:4x4 | 512 |' in capsys.readouterr().out
  assert [file.name for file in tmp_path.iterdir()] == ['text8.txt']


def test_recipes_are_found_in_any_folder(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  for name in ('text8', 'adm_imagenet256'):
    assert c.load_file(str(plans.path(name))).workdir == f'runs/{name}'
  with pytest.raises(ValueError, match=r'no recipe nothing\.py'):
    plans.path('nothing')


def test_every_flag_of_a_plan_changes_its_recipe():
  for name, text in plans.RECIPES.items():
    argv = ['--config', str(plans.path(name))]
    flags = re.findall(r'(--(?:network|parallel)\S+)(?: ([^-]\S*))?', text)
    before = c.parse(argv)
    for flag in flags:
      argv += [word for word in flag if word]
      after = c.parse(argv)
      assert after != before, (name, flag)
      before = after
