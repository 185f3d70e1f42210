"""A save holds a step for the copy to the host, not for what Orbax prepares."""

import threading

import orbax.checkpoint as ocp
from states import abstract, assert_same, make_state

from jaxdiff.runs import Checkpoints


def test_a_save_returns_before_orbax_begins(tmp_path, monkeypatch):
  begin, returned = ocp.AsyncCheckpointer.save, threading.Event()

  def late(*args, **kwargs):
    assert returned.wait(10)
    begin(*args, **kwargs)

  monkeypatch.setattr(ocp.AsyncCheckpointer, 'save', late)
  with Checkpoints(tmp_path) as checkpoints:
    checkpoints.save(1, make_state(1))
    assert checkpoints.steps() == []
    returned.set()
    assert_same(checkpoints.restore(abstract())[1], make_state(1))
