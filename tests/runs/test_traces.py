"""Traces of steps, and the flag that asks for one."""

import jax.numpy as jnp
import pytest

from jaxdiff import config as c
from jaxdiff.runs.traces import Trace


def traces(workdir):
  return len(list(workdir.glob('profile/plugins/profile/*/*.xplane.pb')))


def test_a_trace_is_taken_between_two_steps(tmp_path):
  with Trace(tmp_path, (2, 4)) as trace:
    for step in range(7):
      trace.at(step, jnp.ones(3) * step)
      assert traces(tmp_path) == (step >= 4)
  # A run that continues after the steps, or between them and ends there.
  for first in (4, 2):
    workdir = tmp_path / f'{first}'
    with Trace(workdir, (1, 4)) as trace:
      trace.at(first)
      trace.at(first + 1)
    assert traces(workdir) == (first < 4)
  # Programs of 50 steps, which pass both of its ends at once.
  with Trace(tmp_path / 'jumps', (105, 110)) as trace:
    for step in (0, 50, 100, 150, 200, 250):
      trace.at(step)
      assert traces(tmp_path / 'jumps') == (step >= 200)
  with Trace(tmp_path / 'none', None) as trace:
    trace.at(0)
  assert not (tmp_path / 'none').exists()


@pytest.mark.parametrize('text', ['100', '110:100', '5:5', 'a:b', '-1:4'])
def test_a_profile_is_two_increasing_steps(text):
  with pytest.raises(ValueError, match='--training.profile must be like'):
    c.Training(profile=text)
  assert c.Training(profile='100:110').profiled == (100, 110)
  with pytest.raises(ValueError, match='begins after the run'):
    c.Training(profile='100:110', num_steps=100)
