"""The record of a run: what it says of steps, one by one or several at once."""

import sys

import jax.numpy as jnp
import pytest

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


def test_tensorboard_waits_until_there_is_something_to_write(
  tmp_path, monkeypatch
):
  """Its import takes a second of a start, where torch is installed."""
  monkeypatch.setitem(sys.modules, 'tensorboardX', None)
  with Log(tmp_path, 0, 2, 1) as log:
    log.add(1, {'loss': jnp.asarray(1.0)})
    with pytest.raises(ImportError, match='tensorboardX'):
      log.flush()
  monkeypatch.undo()
  with Log(tmp_path, 0, 2, 1) as log:
    log.add(1, {'loss': jnp.asarray(1.0)})
    log.flush()
  assert list(tmp_path.glob('events.out.tfevents.*'))
