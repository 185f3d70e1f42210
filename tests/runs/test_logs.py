"""The record of a run: what it says of steps, one by one or several at once."""

from dataclasses import replace
from types import SimpleNamespace

import jax.numpy as jnp
import pytest
import tiny

from jaxdiff import config as c
from jaxdiff.runs import logs, loop
from jaxdiff.runs.logs import Log, NonFiniteLossError, read_metrics


def test_the_step_that_went_wrong_is_named(tmp_path):
  with Log(tmp_path, 4, 12, 1) as log:
    log.add(7, {'loss': jnp.asarray([1.0, 2.0, 3.0])})
    log.add(10, {'loss': jnp.asarray([1.0, jnp.nan, 3.0])})
    with pytest.raises(NonFiniteLossError, match='step 9: loss = nan'):
      log.flush()
    assert not (tmp_path / 'metrics.jsonl').read_text()
    log.add(12, {'loss': jnp.asarray([2.0, 4.0])})
    log.flush()
  (row,) = read_metrics(tmp_path / 'metrics.jsonl')
  assert (row['step'], row['loss']) == (12, 3.0)


def test_steps_after_the_last_checkpoint_are_dropped(tmp_path):
  path = tmp_path / 'metrics.jsonl'
  row = '{{"step": {}, "loss": 1.0}}\n'.format
  path.write_text(row(3) + row(4) + row(5) + row(6))
  with Log(tmp_path, 4, 8, 1):
    assert [row['step'] for row in read_metrics(path)] == [3, 4]


@pytest.mark.parametrize('record', ['', '{"step": 1, "loss": -2.0}\n'])
def test_a_curve_of_any_record(tmp_path, record):
  # A finished run draws it again, also when its record was removed.
  assert logs.save_loss_curve(tmp_path).stat().st_size
  (tmp_path / 'metrics.jsonl').write_text(record)
  assert logs.save_loss_curve(tmp_path).stat().st_size


def test_a_damaged_line_is_named_and_a_cut_one_left_out(tmp_path):
  path = tmp_path / 'metrics.jsonl'
  good = '{"step": 1, "loss": 2.0}\n'
  path.write_text(good + '{"step": 2, "lo')
  assert [row['step'] for row in read_metrics(path)] == [1]
  assert read_metrics(tmp_path / 'nothing') == []
  for line in ('{"step": 2, "lo', '7', '{"loss": 1.0}', '{"step": 2}', '\0'):
    path.write_text(f'{good}{line}\n{good}')
    with pytest.raises(ValueError, match='jsonl line 2 is damaged: delete'):
      read_metrics(path)
  path.write_bytes(b'\xff\n')
  with pytest.raises(ValueError, match='line 1 is damaged'):
    read_metrics(path)


def test_a_rate_that_jumps_is_said(capsys):
  """A finished cosine run that is given more steps, and no other change."""
  changed = lambda **fields: [{'step': 40, 'changed': fields}]
  longer = changed(**{'training.num_steps': [40, 80]})
  say = lambda history, first=40, **options: loop.say_rate(
    replace(tiny.config, optimizer=c.Optimizer(**options)), history, first
  )
  say(longer, schedule='cosine', learning_rate=0.1)
  assert capsys.readouterr().out == (
    '--training.num-steps is 80 and was 40: the learning rate goes on at 0.05 '
    'instead of 0\n'
  )
  say(longer, schedule='constant')
  say(longer, first=60, schedule='linear')
  say(changed(**{'sampling.steps': [2, 3]}), schedule='cosine')
  say([], schedule='cosine')
  assert not capsys.readouterr().out


def test_goodput_is_of_steps_that_count(tmp_path, monkeypatch):
  now = [100.0]
  clock = SimpleNamespace(monotonic=lambda: now[0], time=lambda: now[0])
  monkeypatch.setattr(logs, 'time', clock)
  path = tmp_path / 'metrics.jsonl'

  def steps(log, last, num, seconds):
    for step in range(last - num + 1, last + 1):
      now[0] += seconds
      log.add(step, {'loss': jnp.asarray(1.0)})
    log.flush()
    return read_metrics(path)[-1]

  with Log(tmp_path, 0, 9, 8, started=90.0) as log:
    now[0] += 20  # compiling, in the first of three steps
    row = steps(log, 3, 3, 2.0)
    assert row['seconds'] == 6 and row['examples_per_second'] == 4
    assert row['goodput'] == pytest.approx(6 / (now[0] - 90))
    with log.paused():
      now[0] += 100
    assert steps(log, 6, 3, 1.0)['seconds'] == 3
    assert log.goodput.startswith(f'{100 * 9 / (now[0] - 90):.1f} %')
  # The run was killed, and goes on from step 3: steps 4 to 6 do not count.
  now[0] += 10
  with Log(tmp_path, 3, 9, 8, started=90.0) as log:
    assert steps(log, 4, 1, 5.0)['seconds'] == 0  # it compiles
    row = steps(log, 6, 2, 2.0)
    assert row['goodput'] == pytest.approx(10 / (now[0] - 90))
    log.least = 0.5
    assert steps(log, 7, 1, 2.0)['model_flops_utilization'] == 0.25
