"""Benchmarks compare what they say they compare."""

import jax
import pytest

from benchmarks import time_to_quality
from jaxdiff import config as c
from jaxdiff import models


def test_time_to_quality_trains_networks_of_one_size():
  pytest.importorskip('torch')
  pytest.importorskip('diffusers')
  spec = c.Spec('image', (28, 28, 1))
  model = models.make(c.load_file(time_to_quality.CONFIG), spec)
  params = jax.tree.leaves(jax.eval_shape(model.init, jax.random.key(0)))
  peer = time_to_quality.network().parameters()
  assert sum(x.size for x in params) == sum(x.numel() for x in peer)


def test_later_steps_are_multiples_of_the_first():
  steps = time_to_quality.number_of_steps((5, 10, 20, 60), 0.21)
  assert steps == [1428, 2 * 1428, 4 * 1428, 12 * 1428]
  with pytest.raises(SystemExit, match='give more --minutes'):
    time_to_quality.number_of_steps((1, 2), 6.1)
