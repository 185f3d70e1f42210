"""Steps of one program: every event falls between two programs."""

import dataclasses

import pytest

from jaxdiff import config as c


def make(num_steps, at_once, **intervals):
  return dataclasses.replace(
    c.Config(),
    training=c.Training(
      num_steps=num_steps,
      steps_per_execution=at_once,
      log_every=intervals.get('log', 1000),
      preview_every=intervals.get('preview', 1000),
    ),
    checkpoint=c.Checkpoint(every=intervals.get('checkpoint', 1000)),
  )


@pytest.mark.parametrize(
  ('num_steps', 'at_once', 'intervals', 'expected'),
  [
    (100, 50, {}, 50),
    (40, 50, {}, 10),
    (1, 50, {}, 1),
    (100, 50, {'log': 20}, 10),
    (100, 50, {'log': 20, 'checkpoint': 7}, 1),
    (100, 50, {'preview': 100}, 50),  # at the end, whatever it is
    (97, 50, {}, 1),
  ],
)
def test_steps_at_once_divide_every_interval(
  num_steps, at_once, intervals, expected
):
  assert c.steps_at_once(make(num_steps, at_once, **intervals)) == expected


def test_a_run_continues_from_a_step_that_is_no_multiple():
  config = make(100, 50)
  assert c.steps_at_once(config, first=50) == 50
  assert c.steps_at_once(config, first=30) == 10
