"""The command sweep: every combination, once."""

import csv
import json
import shlex
from pathlib import Path

import jax
import numpy as np
import pytest
from measured import make_classifier, make_run
from PIL import Image

from jaxdiff.config import parse_flags
from jaxdiff.evaluation import measuring, tables
from jaxdiff.evaluation.__main__ import main
from jaxdiff.evaluation.commands import sweep
from jaxdiff.evaluation.commands.sweep import Sweep, command
from jaxdiff.evaluation.flags import Drawing
from jaxdiff.generation.flags import Flags

NAME = 'FD (classifier/pool, digits, seed 0)'


@pytest.fixture(autouse=True)
def two_devices(monkeypatch):
  """Programs for eight take several times as long to compile."""
  monkeypatch.setattr(jax, 'local_devices', lambda: jax.devices()[:2])


def rows(text):
  return list(csv.DictReader(text.read_text().splitlines()))


def test_a_sweep_goes_on(tmp_path, monkeypatch, capsys):
  make_run(tmp_path / 'run')
  make_classifier(tmp_path / 'classifier')
  flags = ['--features', f'classifier:{tmp_path / "classifier"}', '--floor']
  flags += ['--cache', str(tmp_path / 'cache'), '--num', '16', '--etas', '0']
  flags += ['--labels', 'uniform', '--batch-size', '16', '--steps', '1']
  out = tmp_path / 'run' / 'sweep'
  command = ['sweep', str(tmp_path / 'run'), '--out', str(out), *flags]

  # It breaks off in the third row.
  measure, count = measuring.measure, []

  def counted(*args, **options):
    if not options:  # with them it is the floor
      count.append(args)
      if len(count) == 3:
        raise KeyboardInterrupt
    return measure(*args, **options)

  monkeypatch.setattr(sweep.measuring, 'measure', counted)
  scales = ['--scales', '1', '2', '--ema', 'both']
  with pytest.raises(SystemExit) as stop:
    main([*command, *scales])
  assert stop.value.code == 130  # as a shell has it of Ctrl-C
  before = rows(out / 'sweep.csv')
  assert len(before) == 2

  main([*command, *scales])
  assert len(count) == 5  # two, one broken off, and the two that were missing
  found = rows(out / 'sweep.csv')
  assert found[:2] == before and len(found) == 4
  assert [(r['ema'], r['scale']) for r in found] == [
    ('average', '1.0'),
    ('average', '2.0'),
    ('last', '1.0'),
    ('last', '2.0'),
  ]
  # The average of a run that never trained is its last weights.
  assert found[0][NAME] == found[2][NAME]
  assert found[0][NAME] != found[1][NAME]
  stamps = [json.loads(p.read_text()) for p in (out / 'rows').glob('*.json')]
  values = sorted(s['metrics'][NAME]['value'] for s in stamps)
  np.testing.assert_allclose(values, sorted(float(r[NAME]) for r in found))
  assert {(s['checkpoint_step'], s['ema']) for s in stamps} == {
    (3, True),
    (3, False),
  }
  printed = capsys.readouterr().out
  assert '| --- |' in printed and 'floor, 16 of digits test' in printed
  least = min(found, key=lambda row: float(row[NAME]))
  drawing = f'{tmp_path / "run"} --steps 1 --eta 0.0 --scale {least["scale"]}'
  assert f'the best is that of python sample.py {drawing}' in printed
  assert Image.open(out / 'sweep.png').size[0] > 500
  assert not list(out.glob('parts/*'))

  # Nothing is drawn again for a table without the floor.
  command.remove('--floor')
  main([*command, *scales])
  assert len(count) == 5
  printed = capsys.readouterr().out
  assert '| --- |' in printed and 'floor' not in printed
  assert rows(out / 'sweep.csv')[0][NAME] == found[0][NAME]

  with pytest.raises(SystemExit, match="sampler.*got 'ddmi'"):
    main([*command, '--samplers', 'ddim', 'ddmi'])


def test_the_table_of_other_flags_has_another_name():
  table = lambda **flags: Sweep('run', **flags).table()
  names = {table(), table(num=9), table(etas=(0.0,)), table(labels='test')}
  assert len(names) == 4 and table() == Path('run/sweep/sweep')
  assert table(out='a', num=9) == Path('a/sweep')


def test_etas_without_effect_are_refused():
  with pytest.raises(ValueError, match='--etas is for ddim, .* heun, euler'):
    Sweep('run', samplers=('heun', 'euler'), etas=(0.5,)).rows()


def test_guides_without_effect_are_refused():
  for scales in ((), (1.0,)):
    with pytest.raises(ValueError, match='--guides has no effect at scale 1'):
      Sweep('run', guides=('weak',), scales=scales).rows()
  for more, name in (({'guidance': 'apg'}, 'e'), ({'momentums': (0.5,)}, 's')):
    with pytest.raises(ValueError, match=f'{name} has no effect at scale 1'):
      Sweep('run', scales=(1.0,), **more).rows(2.0)
  # Without --scales it is that of the run.
  assert Sweep('run', guides=('weak',)).rows(2.0) == [Drawing(guide='weak')]


def test_scale_one_is_measured_once():
  flags = {'guides': ('a', 'b'), 'guidance': 'apg', 'momentums': (0.0, 0.5)}
  plain, *guided = Sweep('run', scales=(1.0, 2.0), **flags).rows(2.0)
  assert plain == Drawing(scale=1.0)
  guides = [(row.scale, row.guide, row.momentum) for row in guided]
  assert guides == [(2.0, g, m) for g in ('a', 'b') for m in (0.0, 0.5)]
  assert {row.guidance for row in guided} == {'apg'}


@pytest.mark.slow
def test_guides_and_momentums_of_a_sweep(tmp_path, capsys):
  make_run(tmp_path / 'run')
  make_run(tmp_path / 'weak', seed=1)
  make_run(tmp_path / 'weaker', seed=2)
  make_classifier(tmp_path / 'classifier')
  flags = ['--features', f'classifier:{tmp_path / "classifier"}']
  flags += ['--cache', str(tmp_path / 'cache'), '--num', '16', '--scales', '2']
  flags += ['--labels', 'uniform', '--batch-size', '16']
  flags += ['--guidance', 'apg', '--steps', '2', '--momentums', '0', '-0.5']
  guides = [str(tmp_path / 'weaker'), str(tmp_path / 'weak')]
  command = ['sweep', str(tmp_path / 'run'), '--out', str(tmp_path / 'out')]
  main([*command, *flags, '--guides', *guides])
  found = rows(tmp_path / 'out' / 'sweep.csv')
  settings = [(row['guide'], row['momentum']) for row in found]
  assert settings == [(g, m) for g in guides for m in ('0.0', '-0.5')]
  values = [row[NAME] for row in found]
  assert len(set(values)) == 4
  least = found[values.index(min(values, key=float))]
  drawing = f'--scale 2.0 --guidance apg --momentum {least["momentum"]}'
  printed = capsys.readouterr().out
  assert f'{drawing} --guide {least["guide"]}' in printed
  with pytest.raises(SystemExit, match='same weights'):  # away from itself
    main([*command, *flags, '--guides', str(tmp_path / 'run')])


@pytest.mark.slow
def test_a_classifier_in_a_sweep(tmp_path, capsys):
  make_run(tmp_path / 'run', label=False)
  guide = str(tmp_path / 'classifier')
  make_classifier(guide)
  flags = ['--features', f'classifier:{guide}', '--num', '16', '--steps', '2']
  flags += ['--cache', str(tmp_path / 'cache'), '--batch-size', '16']
  flags += ['--labels', 'uniform', '--classifier', guide]
  command = ['sweep', str(tmp_path / 'run'), '--out', str(tmp_path / 'out')]
  main([*command, *flags, '--scales', '1', '9'])
  found = rows(tmp_path / 'out' / 'sweep.csv')
  assert [row['scale'] for row in found] == ['1.0', '9.0']
  stamps = [json.loads(p.read_text()) for p in tmp_path.glob('out/rows/*')]
  assert [stamp['classifier'] for stamp in stamps] == [guide, guide]
  values = [row[NAME] for row in found]
  assert values[0] != values[1]
  least = found[values.index(min(values, key=float))]
  drawing = f'--scale {least["scale"]} --classifier {guide}'
  assert drawing in capsys.readouterr().out
  for more, words in {
    f'--guides {guide} --scales 2': 'not both',
    '--momentums 0.5 --scales 2': 'apg',
    '--guidance apgg --scales 2': 'apgg',
  }.items():
    with pytest.raises(SystemExit, match=words):
      main([*command, *flags, *more.split()])


def test_every_combination_once():
  found = Sweep(
    'run',
    samplers=('ddim', 'ancestral', 'ancestral:large'),
    steps=(5, 10),
    etas=(0.0, 1.0),
    seed=3,
  ).rows()
  # Only ddim has an eta.
  assert list(found) == [
    *(
      Drawing(sampler='ddim', steps=n, eta=eta, seed=3)
      for n in (5, 10)
      for eta in (0.0, 1.0)
    )
  ] + [
    Drawing(sampler=name, steps=n, seed=3)
    for name in ('ancestral', 'ancestral:large')
    for n in (5, 10)
  ]


def result(sampler, steps, value, variance='small', scale=None):
  return {
    'metrics': {'FD': {'value': value}},
    'floor': {'FD': {'value': 0.5}},
    'samples': 'run',
    'reference': 'set train',
    'num_samples': 100,
    'sampler': sampler,
    'steps': steps,
    'scale': scale,
    'eta': 0.0,
    'variance': variance,
    'labels': 'none' if scale is None else 'each class in turn',
    'floor_data': 'set test',
    'floor_num': 100,
    'ema': True,
  }


def test_table_and_plot(tmp_path):
  results = [
    result('ddim', 10, 3.0),
    result('ddim', 100, 1.0),
    result('ancestral', 10, 30.0, 'large'),
    result('ancestral', 100, 2.0, 'large'),
  ]
  text = tables.markdown(results)
  assert '| ancestral (large) | 10 |  | average | 100 | 30 |' in text
  assert '| ddim | 100 | 0 | average | 100 | 1 |' in text
  axes, heat_map, _ = tables.plot(results).axes
  lines = {line.get_label(): line for line in axes.lines}
  assert set(lines) == {'ddim, eta 0.0', 'ancestral (large)', 'floor'}
  np.testing.assert_array_equal(lines['ddim, eta 0.0'].get_xdata(), [10, 100])
  np.testing.assert_array_equal(lines['ddim, eta 0.0'].get_ydata(), [3, 1])
  assert axes.get_xscale() == 'log' and axes.get_xlabel() == 'steps'

  # Of two samplers the better one is in the cell, and nothing where neither is.
  (image,) = heat_map.images
  np.testing.assert_array_equal(image.get_array(), [[30, 2], [3, 1]])
  assert heat_map.get_ylabel() == 'sampler' and tables.best(results) == 1

  guided = [result('ddim', 10, scale, scale=scale) for scale in (1.0, 2.0, 4.0)]
  (axes,) = tables.plot(guided).axes
  assert axes.get_xlabel() == 'scale'
  tables.save(guided, tmp_path / 'sweep')
  assert [r['FD'] for r in rows(tmp_path / 'sweep.csv')] == [
    '1.0',
    '2.0',
    '4.0',
  ]


def test_the_command_of_a_row_can_be_typed():
  row = Drawing(sampler='unipc(order=3)', steps=5, ema_std=0.1, guide='a b')
  words = shlex.split(command('runs/x y', row))
  assert words[:3] == ['python', 'sample.py', 'runs/x y']
  flags = parse_flags(Flags, words[2:])
  assert (flags.sampler, flags.steps) == ('unipc(order=3)', 5)
  assert (flags.ema_std, flags.guide, flags.ema) == (0.1, 'a b', True)
