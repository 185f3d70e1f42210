"""A save holds a step for the copy to the host, not for what Orbax prepares."""

import os
import threading

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp
import pytest
from states import abstract, assert_same, make_state

from jaxdiff.runs import Checkpoints
from jaxdiff.runs.orbax_io import OrbaxIO, SaveError


@pytest.fixture
def returned(monkeypatch):
  """An event that Orbax waits for before it begins a save."""
  begin, event = ocp.AsyncCheckpointer.save, threading.Event()

  def late(*args, **kwargs):
    assert event.wait(10)
    begin(*args, **kwargs)

  monkeypatch.setattr(ocp.AsyncCheckpointer, 'save', late)
  return event


def test_a_save_returns_before_orbax_begins(tmp_path, returned):
  with Checkpoints(tmp_path) as checkpoints:
    checkpoints.save(1, make_state(1))
    assert checkpoints.steps() == []
    returned.set()
    assert_same(checkpoints.restore(abstract())[1], make_state(1))


def test_the_next_step_is_given_the_buffers_of_a_saved_state(
  tmp_path, returned
):
  state = make_state(1)
  state = state._replace(params=jax.tree.map(jnp.copy, state.params))
  double = jax.jit(lambda x: jax.tree.map(lambda x: 2 * x, x), donate_argnums=0)
  with Checkpoints(tmp_path) as checkpoints:
    checkpoints.save(1, state)
    jax.block_until_ready(double(state.params))
    assert state.params['dense']['kernel'].is_deleted()
    returned.set()
    assert_same(checkpoints.restore(abstract())[1], make_state(1))


def test_a_save_without_a_seal_is_not_silent(tmp_path, monkeypatch):
  """As by an Orbax that does not call back."""
  monkeypatch.setattr(OrbaxIO, '_seal', lambda self: None)
  with (
    pytest.raises(SaveError, match=r'1 could not be saved.*No such file'),
    Checkpoints(tmp_path) as checkpoints,
  ):
    checkpoints.save(1, make_state(1))


def test_what_a_failed_save_still_writes_is_removed(tmp_path, monkeypatch):
  """Its threads may add a file while the folder is being emptied."""
  with Checkpoints(tmp_path) as checkpoints:
    checkpoints.save(1, make_state(1))
  left = tmp_path / 'checkpoints' / '2.orbax-checkpoint-tmp'
  (left / 'part').mkdir(parents=True)
  rmdir, late = os.rmdir, iter(['a', 'b'])

  def while_one_writes(name, **options):
    if name == 'part' and (written := next(late, None)):
      (left / 'part' / written).touch()
    return rmdir(name, **options)

  monkeypatch.setattr(os, 'rmdir', while_one_writes)
  with Checkpoints(tmp_path) as checkpoints:
    checkpoints.save(3, make_state(3))
  names = sorted(p.name for p in (tmp_path / 'checkpoints').iterdir())
  assert names == ['1', '3'] and next(late, None) is None
