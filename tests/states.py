"""States whose every bit is known, for the tests of checkpoints."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax


class State(NamedTuple):
  step: Any
  params: Any
  opt_state: Any
  key: Any


def make_state(step, size=500):
  """A state all of whose bits follow from `step`."""
  draw = np.random.default_rng(step).standard_normal
  params = {
    'dense': {'kernel': jnp.asarray(draw((4, size)), jnp.float32)},
    'half': jnp.asarray(draw(3), jnp.bfloat16),
    'nothing': {},
  }
  optimizer = optax.chain(optax.clip(1.0), optax.adam(1e-3))
  return State(
    jnp.int32(step), params, optimizer.init(params), jax.random.key(step)
  )


def abstract(state=None):
  return jax.eval_shape(lambda: make_state(0) if state is None else state)


def bits(tree):
  leaves = [
    jax.random.key_data(x)
    if jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key)
    else x
    for x in jax.tree.leaves(tree)
  ]
  return [(x.dtype, x.shape, np.asarray(x).tobytes()) for x in leaves]


def assert_same(found, expected):
  assert jax.tree.structure(found) == jax.tree.structure(expected)
  assert jax.tree.map(lambda x: x.dtype, found) == jax.tree.map(
    lambda x: x.dtype, expected
  )
  assert bits(found) == bits(expected)
