"""Trackers of experiments: TensorBoard, Weights & Biases, Trackio, none."""

import importlib.util
import sqlite3
import sys

import jax.numpy as jnp
import pytest

from jaxdiff import names
from jaxdiff.config import registry
from jaxdiff.runs import trackers
from jaxdiff.runs.logs import Log, read_metrics


def make(name, workdir):
  context = {'workdir': str(workdir), 'first': 0, 'settings': {'seed': 1}}
  return names.make(registry.TRACKERS, name, '--log', **context)


def needs(name):
  missing = importlib.util.find_spec(name) is None
  return pytest.mark.skipif(missing, reason=f'needs {name}')


def test_a_tracker_gets_what_the_file_has(tmp_path):
  added, closed = [], []
  tracker = trackers.Tracker(
    lambda values, step: added.append((step, dict(values))),
    lambda: closed.append(True),
  )
  with Log(tmp_path, 0, 2, 1, tracker=tracker) as log:
    log.add(1, {'loss': jnp.asarray(1.0)})
    log.flush()
    log.measured(1, {'frechet': 3.0})
  (row,) = read_metrics(tmp_path / 'metrics.jsonl')
  assert added[0] == (row.pop('step'), row)
  assert added[1] == (1, {'evaluation/frechet': 3.0}) and closed == [True]


def test_tensorboard_waits_until_there_is_something_to_write(
  tmp_path, monkeypatch
):
  """Its import takes a second of a start, where torch is installed."""
  monkeypatch.setitem(sys.modules, 'tensorboardX', None)
  tracker = make('tensorboard', tmp_path)
  with pytest.raises(ImportError, match='tensorboardX'):
    tracker.add({'loss': 1.0}, 1)
  monkeypatch.undo()
  tracker.add({'loss': 1.0}, 1)
  tracker.close()
  assert list(tmp_path.glob('events.out.tfevents.*'))


def test_none_writes_nothing(tmp_path):
  tracker = make('none', tmp_path)
  tracker.add({'loss': 1.0}, 1)
  tracker.close()
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('name', ['wandb', 'trackio'])
def test_a_package_that_is_absent_is_named(name, tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, name, None)
  with pytest.raises(ValueError, match=f'--log={name}.*pip install {name}'):
    make(name, tmp_path)


@needs('wandb')
def test_wandb_writes_without_a_network(tmp_path, monkeypatch):
  monkeypatch.setenv('WANDB_MODE', 'offline')
  tracker = make('wandb', tmp_path)
  tracker.add({'loss': 1.0}, 1)
  tracker.close()
  assert list(tmp_path.glob('wandb/offline-run-*/*.wandb'))


@needs('trackio')
def test_trackio_writes_without_a_network(tmp_path, monkeypatch):
  monkeypatch.setenv('TRACKIO_DIR', str(tmp_path))
  tracker = make('trackio', tmp_path / 'run')
  tracker.add({'loss': 1.5}, 7)
  tracker.close()
  (database,) = tmp_path.glob('jaxdiff.db')
  with sqlite3.connect(database) as connection:
    rows = list(connection.execute('SELECT step, metrics FROM metrics'))
  assert rows[0][0] == 7 and '1.5' in str(rows[0][1])
