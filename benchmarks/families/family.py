"""The Family: a generative model as functions."""

from collections.abc import Callable
from typing import Any, NamedTuple

from jax import Array

from jaxdiff.losses import Loss

Params = Any


class Family(NamedTuple):
  """A generative model of examples x [...], float32.

  init     key -> params
  loss     (params, keys[B], batch) -> (per_example[B], metrics)
  sample   (params, keys[B]) -> x [B, ...]
  nats     (params, keys[B], x) -> -log p(x) or an upper bound of it, [B]; None
           for a model without a likelihood
  bound    the kind of number that `nats` is
  learning_rate, b1: of Adam
  """

  init: Callable[[Array], Params]
  loss: Loss
  sample: Callable[[Params, Array], Array]
  nats: Callable[[Params, Array, Array], Array] | None = None
  bound: str = ''
  learning_rate: float = 1e-3
  b1: float = 0.9
