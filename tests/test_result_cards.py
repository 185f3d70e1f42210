"""Result cards: their spreads, their verification, and what is refused."""

import dataclasses
import json

import numpy as np
import pytest

from jaxdiff import results
from jaxdiff.cards import check_commands
from jaxdiff.config import Spec, describe, parse
from jaxdiff.runs.config_json import save_config

CARD = {
  'title': 'Digits: bits/dim',
  'setup': [],
  'train': ['--config', 'configs/digits.py'],
  'measure': ['likelihood', '{run}'],
  'metric': 'bound.0',
  'train_seeds': [0, 1],
  'seeds': [0, 1, 2],
}


def complete(values):
  made = [{'seed': i, 'values': list(x)} for i, x in enumerate(values)]
  return results.completed(CARD, made, minutes=3.0)


def test_tolerance_is_three_deviations_of_the_difference():
  """For normal values the difference over the tolerance has deviation 1/3."""
  rng = np.random.default_rng(0)
  apart = {'run': [], 'training': []}
  for _ in range(400):
    trained = 5 + 0.5 * rng.standard_normal(40)
    card = complete(trained[:, None] + 0.2 * rng.standard_normal((40, 3)))
    again = card['mean'] + 0.5 * rng.standard_normal()
    again += 0.2 * rng.standard_normal(3).mean()
    error = abs(again - card['mean']) / card['tolerance']['training']
    apart['training'].append(error)
    same = np.mean(card['runs'][0]['values'] - trained[0])
    other = 0.2 * rng.standard_normal(3).mean()
    apart['run'].append(abs(same - other) / card['tolerance']['run'])
  for errors in apart.values():
    assert np.mean(np.array(errors) > 1) < 0.02
    deviations = 3 * np.mean(np.square(errors)) ** 0.5
    assert deviations == pytest.approx(1, abs=0.15)


def test_one_training_has_no_spread_of_trainings():
  card = complete([[1.0, 1.1, 0.9]])
  assert card['std_trainings'] is None
  assert card['std_samplings'] == pytest.approx(0.1)
  assert '| 0.1 |  |' in results.row(card)


def test_a_place_in_a_result():
  result = {'bound': [3.5, 0.1], 'metrics': {'a': {'b': 2}, '1.5': 4}}
  result['passed'] = True
  assert results.number(result, 'metrics.1.5') == 4.0
  assert results.number(result, 'bound.0') == 3.5
  assert results.number(result, 'metrics.a.b') == 2.0
  for place in ('bound.2', 'bound.x', 'metrics.c', 'metrics.a.b.c'):
    with pytest.raises(ValueError, match=f'no {place}'):
      results.number(result, place)
  for place in ('metrics.a', 'passed'):
    with pytest.raises(ValueError, match='is no number'):
      results.number(result, place)


@pytest.mark.parametrize(('value', 'passes'), [(1.02, True), (1.9, False)])
def test_verify_passes_within_the_tolerance(
  value, passes, tmp_path, monkeypatch, capsys
):
  path = tmp_path / 'card.json'
  path.write_text(json.dumps(complete([[1.0, 1.1, 0.9], [1.05, 0.95, 1.0]])))
  monkeypatch.setattr(results, 'measure', lambda card, workdir: [value])
  monkeypatch.setattr(
    results, 'check_run', lambda card, workdir: card['runs'][0]['values']
  )
  verify = results.Verify(card=str(path), workdir='runs/digits')
  if passes:
    verify.run()
  else:
    with pytest.raises(SystemExit):
      verify.run()
  assert ('pass' if passes else 'FAIL') in capsys.readouterr().out


def test_what_is_no_card_is_refused(tmp_path):
  path = tmp_path / 'card.json'
  path.write_text(json.dumps({'title': 'x'}))
  with pytest.raises(ValueError, match=r"lacks \['setup', 'train'"):
    results.read(path)
  path.write_text(json.dumps(CARD))
  assert results.read(path) == CARD
  with pytest.raises(ValueError, match=r"lacks \['runs', 'mean'"):
    results.read(path, made=True)
  with pytest.raises(ValueError, match='give --workdir RUN or --scratch'):
    results.Verify(card=str(path)).check()
  with pytest.raises(ValueError, match='has no cards'):
    results.Render(folder=str(tmp_path / 'none')).run()


MADE = complete([[1.0, 1.1, 0.9], [1.05, 0.95, 1.0]])


def test_a_card_that_is_none_is_named():
  with pytest.raises(FileNotFoundError, match='there is no card nofile.json'):
    results.read('nofile.json')


def test_a_benchmark_measures_a_run():
  measure = ['benchmarks.alignment', '{run}', '--num', '4', '--splits', 'test']
  card = CARD | {'measure': measure}
  check_commands(card)
  with pytest.raises(ValueError, match='--num must be in'):
    check_commands(card | {'measure': [*measure, '--num', '0']})


@pytest.mark.parametrize(
  ('name', 'value'),
  [(name, value) for name in results.WRITTEN for value in (None, 3.5, {})]
  + [(name, value) for name in results.MADE for value in ('', [[]], -1)]
  + [
    ('seeds', []),
    ('seeds', [-1]),
    ('measure', []),
    ('setup', [['pip', 'install', 'x']]),
    ('setup', [[]]),
    ('setup', [['sample.py', 'runs/digits']]),
    ('measure', ['likelihood', 'runs/digits']),
    ('measure', ['sweep', '{run}']),
    ('measure', ['benchmarks.startup', '{run}']),
    ('train', ['--seed', '3']),
    ('train', ['--workdir=runs/digits']),
    ('setup', [['jaxdiff.nonesuch']]),
    ('setup', [['jaxdiff.x;y']]),
    ('setup', [['jaxdiff.results', 'make', 'x']]),
    ('measure', ['fid', '--samples', '{run}', '--seed', '4']),
    ('measure', ['fid', '--samples', '{run}', '--out=x']),
    ('seeds', [0, 0]),
    ('train_seeds', [1, 1]),
    ('version', 2),
    ('runs', [{}]),
    ('runs', [7]),
    *[
      ('runs', [{'seed': 0, 'values': x}, {'seed': 1, 'values': [1, 1, 1]}])
      for x in (None, 'x', {}, ['x'], [None], [10**400], [], [1, 2], [True] * 3)
    ],
    ('runs', [{'seed': 0, 'values': [1, 1, float('nan')]}]),
    ('runs', [{'seed': 0, 'values': [1, 1, 1]}]),
    ('runs', [{'seed': [], 'values': [1, 1, 1]}]),
    ('mean', float('nan')),
    ('mean', 10**400),
    ('mean', 1e30),
    ('tolerance', {'run': 1.0}),
    ('tolerance', {'run': None, 'training': 1.0}),
  ],
)
def test_a_damaged_card_is_named(tmp_path, name, value):
  path = tmp_path / 'card.json'
  path.write_text(json.dumps({**MADE, name: value}))
  with pytest.raises(ValueError, match=r'card\.json is no card: ') as raised:
    results.read(path, made=True)
  assert '\n' not in str(raised.value)


@pytest.mark.parametrize('content', ['[]', 'null', '7', '"title"'])
def test_other_json_is_no_card(tmp_path, content):
  path = tmp_path / 'card.json'
  path.write_text(content)
  with pytest.raises(ValueError, match=r'is no card, it lacks'):
    results.read(path)


def test_what_cannot_work_is_found_out_first(tmp_path, monkeypatch):
  path, runs = tmp_path / 'card.json', tmp_path / 'runs'
  monkeypatch.setattr(results, '_run', lambda *command: 1 / 0)
  make = results.Make(card=str(path), runs=str(runs))
  for change, message in (
    ({'train': ['--training.num-steps', '0']}, '--training.num-steps must be'),
    ({'measure': ['text', '{run}', '--num', '0']}, '--num must be in'),
    ({'setup': [['train.py', '--seed', '-1']]}, 'setup of the card: --seed m'),
    ({'setup': [['jaxdiff.classifier', 'train']]}, 'setup of the card cannot'),
    ({'setup': [['benchmarks.nothing']]}, 'No module named'),
    ({'train': ['--unknown', '3']}, 'train of the card cannot be parsed'),
    ({'train': ['--help']}, 'train of the card cannot be parsed'),
    ({'measure': ['text', '{run}', '--help']}, 'measure of the card cannot'),
    ({}, 'is a file, and a folder was to be written'),
  ):
    path.write_text(json.dumps(CARD | change))
    (runs / 'card').parent.mkdir(exist_ok=True)
    (runs / 'card').write_text('in the way')
    with pytest.raises((ValueError, OSError), match=message):
      make.run()


def test_an_unfinished_run_is_not_verified(tmp_path):
  config = parse(CARD['train'])
  save_config(tmp_path, describe(config, Spec('image', (8, 8, 1))))
  (tmp_path / 'checkpoints' / '500').mkdir(parents=True)
  with pytest.raises(ValueError, match=r'is at step 500 of \d+: train it to'):
    results.check_run(CARD, tmp_path)


def test_a_run_that_is_there_is_measured_with_its_training_time(
  tmp_path, monkeypatch
):
  path, workdir = tmp_path / 'card.json', tmp_path / 'runs' / 'card' / 'seed0'
  setup = [['train.py', '--config', 'configs/two_moons.py']]
  card = CARD | {'train_seeds': [0], 'setup': setup}
  path.write_text(json.dumps(card))
  config = parse([*CARD['train'], '--workdir', str(workdir)])
  save_config(workdir, describe(config, Spec('image', (8, 8, 1))))
  rows = [{'step': i, 'loss': 1.0, 'seconds': 3600.0} for i in (50, 100)]
  lines = [json.dumps(row) + '\n' for row in rows]
  (workdir / 'metrics.jsonl').write_text(''.join(lines))
  commands = []
  monkeypatch.setattr(results, '_run', lambda *words: commands.append(words))
  values = [1.0, 2.0, 1.5]
  monkeypatch.setattr(results, 'measure', lambda card, workdir: values)
  results.Make(card=str(path), runs=str(tmp_path / 'runs')).run()
  assert [words[0].rpartition('/')[2] for words in commands] == ['train.py'] * 2
  assert commands[0][1:] == ('--config', 'configs/two_moons.py')
  made = results.read(path, made=True)
  assert made['minutes'] == pytest.approx(120, abs=1)
  assert made['mean'] == 1.5


def test_a_run_is_compared_with_the_card_s_values_of_its_seed(tmp_path):
  card = CARD | {'runs': [{'seed': i, 'values': [i + 0.5]} for i in (0, 1)]}
  for seed in (1, 7):
    config = parse([*card['train'], '--seed', str(seed)])
    # Another path of the same file of configs/ is no other run.
    config = dataclasses.replace(config, config='/elsewhere/digits.py')
    workdir = tmp_path / str(seed)
    save_config(workdir, describe(config, Spec('image', (8, 8, 1))))
    last = str(config.training.num_steps)
    (workdir / 'checkpoints' / last).mkdir(parents=True)
  assert results.check_run(card, tmp_path / '1') == [1.5]
  with pytest.raises(ValueError, match='with --seed 7, the runs of the card'):
    results.check_run(card, tmp_path / '7')


@pytest.mark.slow
def test_a_card_is_made_and_verified(tmp_path, monkeypatch):
  path = tmp_path / 'card.json'
  flags = '--training.num-steps 4 --training.preview-every 4 --sampling.steps 2'
  card = CARD | {
    'train': [*CARD['train'], *flags.split()],
    'measure': 'likelihood {run} --num 16 --steps 4 --no-ode'.split(),
    'train_seeds': [0],
    'seeds': [0, 1],
  }
  path.write_text(json.dumps(card))
  results.Make(card=str(path), runs=str(tmp_path / 'runs')).run()
  workdir = tmp_path / 'runs' / 'card' / 'seed0'
  results.Verify(card=str(path), workdir=str(workdir)).run()
  other = card | {'train': [*card['train'], '--network.channels', '8']}
  with pytest.raises(ValueError, match=r'another run: network\.channels'):
    results.check_run(other, workdir)
