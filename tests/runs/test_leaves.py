"""Named leaves of a state: names that a checkpoint can tell apart."""

import jax.numpy as jnp
import pytest

from jaxdiff.runs import leaves


def test_a_leaf_is_named_by_its_path():
  tree = {'params': {'dense': {'kernel': jnp.ones(2)}}, 'step': jnp.ones(())}
  assert [*leaves.named_leaves(tree)] == ['params/dense/kernel', 'step']


@pytest.mark.parametrize(
  'tree',
  [
    {'a/b': jnp.ones(1), 'a': {'b': jnp.ones(1)}},
    {'a': [jnp.ones(1)], 'a/0': jnp.ones(1)},
  ],
)
def test_two_leaves_of_one_name_are_refused(tree):
  with pytest.raises(ValueError, match='two leaves are named a/'):
    leaves.named_leaves(tree)


def test_a_leaf_that_is_no_array_is_named():
  with pytest.raises(TypeError, match='a/b must be an array, got 1.5'):
    leaves.named_leaves({'a': {'b': 1.5}})
