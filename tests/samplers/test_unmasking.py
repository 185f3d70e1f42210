"""Unmasking by confidence: what is lifted first, how many masks are left."""

import jax.numpy as jnp
import numpy as np
import pytest
from exact import keys
from nets import jit

from jaxdiff import samplers
from jaxdiff.samplers import categorical as around
from jaxdiff.samplers import unmasking as orders
from jaxdiff.schedules import mixing

SCHEDULE = mixing.linear()
MASK = 3
LEVELS = {
  'linear': mixing.linear(),
  'log_linear': mixing.log_linear(),
  'cosine': mixing.cosine(),
  'squared_cosine': mixing.squared_cosine(),
}


def test_the_surest_are_written_first():
  sure = jnp.array([1.0, 3.0, 2.0, 5.0])
  # The network's opinion of MASK, the last, counts for nothing.
  logits = sure[:, None] * jnp.array([[0.0, 1.0, 0.0, -9.0]])
  logits += jnp.array([[0.0, 0.0, 0.0, 90.0]]) * jnp.eye(4)[:, :1]
  denoise = lambda xt, t: jnp.broadcast_to(logits, (*xt.shape, 4))
  x_init = jnp.full((1, 4), MASK)
  for score in (orders.probability, orders.margin, orders.certainty):
    step = orders.surest_first(SCHEDULE, 3, score)
    sample = jit(
      lambda keys, step=step: samplers.sample(
        step,
        around.temperature(denoise, 0.2),
        keys,
        x_init,
        samplers.uniform_times(4),
        trajectory=True,
      )
    )
    path = sample(keys(0, 1))
    written = [tuple(np.flatnonzero(x[0] != MASK)) for x in path]
    assert written == [(), (3,), (1, 3), (1, 2, 3), (0, 1, 2, 3)]
  # Of a start with two written, half of what is left.
  start = jnp.array([[MASK, 0, 2, MASK]])
  step = orders.surest_first(SCHEDULE, 3)
  half = jit(
    lambda keys: samplers.sample(step, denoise, keys, start, [1.0, 0.5])
  )(keys(1, 1))
  np.testing.assert_array_equal(half, [[MASK, 0, 2, half[0, 3]]])
  assert half[0, 3] != MASK


@pytest.mark.parametrize('name', LEVELS)
@pytest.mark.parametrize('num_steps', [7, 128, 1000])
def test_the_number_of_masks_follows_the_schedule(name, num_steps):
  # Examples of 128, 100, 1 and 0 masks: the rest is written, and held.
  counts = np.array([128, 100, 1, 0])
  masked = jnp.arange(128)[None] < counts[:, None]
  x_init = jnp.where(masked, MASK, 1)
  step = orders.surest_first(LEVELS[name], 3)
  held = around.hold(step, x_init, ~masked)
  logits = lambda xt, t: jnp.zeros((*xt.shape, 4))
  times = samplers.uniform_times(num_steps)

  def walk(keys):
    path = samplers.sample(held, logits, keys, x_init, times, trajectory=True)
    return jnp.sum(path == MASK, -1)

  left = np.asarray(jit(walk)(keys(0, 4)))
  sigma = np.asarray(LEVELS[name](times).sigma, np.float64)[:, None]
  assert np.abs(left - counts * sigma / sigma[0]).max() < 0.51
  assert (left[-1] == 0).all()
  if name == 'linear' and num_steps == 1000:
    np.testing.assert_array_equal(left[[250, 500, 750], 0], [96, 64, 32])
