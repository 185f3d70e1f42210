"""Dropout that depends on each example alone."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import Array


def of_each_example(keys: Array) -> Callable[..., Any]:
  """Makes each example's dropout a function of its own key and of the layer.

  Flax draws one mask for the batch, which would then depend on how the batch is
  divided into microbatches and over devices.
  """

  def intercept(
    call: Callable[..., Any], args: Any, kwargs: Any, context: Any
  ) -> Any:
    layer = context.module
    if not isinstance(layer, nn.Dropout) or context.method_name != '__call__':
      return call(*args, **kwargs)
    if layer.rate == 0 or layer.deterministic:
      return args[0]
    number = jax.random.bits(layer.make_rng('dropout'))  # of this layer
    (x,) = args

    def drop(key: Array, x: Array) -> Array:
      keep = 1 - layer.rate
      kept = jax.random.bernoulli(
        jax.random.fold_in(key, number), keep, x.shape
      )
      return jnp.where(kept, x / keep, 0)

    return jax.vmap(drop)(keys, x)

  return intercept
