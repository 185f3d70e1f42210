"""LoRA, low-rank adaptation: factors that are trained beside frozen kernels.

A kernel W becomes W + (alpha / rank) A B, with A [in, rank] and B [rank, out].
B starts at zero, so training starts from the network as it was. The factors are
a tree of their own, {.., 'q': {'kernel': {'a': A, 'b': B}}}: of their size are
the optimizer, the averages and the checkpoints.

Source: Hu et al. 2021 (arXiv:2106.09685), section 4.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict, unflatten_dict
from jax import Array
from jax.typing import ArrayLike

if TYPE_CHECKING:  # sampling needs no losses
  from jaxdiff.losses import Batch, Loss, LossValue

Params = Mapping[str, Any]
Factors = Mapping[str, Any]


def init(key: Array, params: Params, rank: int) -> Factors:
  """Draws factors for the kernels of attention: q, k, v and its output.

  Args:
    key: random key.
    params: of the network; blocks may be stacked, [depth, in, out].
    rank: of each product.

  Raises:
    ValueError: the network has no attention, or the rank of a kernel is lower.
  """
  flat = {path: x for path, x in flatten_dict(params).items() if _attends(path)}
  if not flat:
    raise ValueError('--lora.rank is for attention, and this network has none')
  factors = {}
  for i, (path, x) in enumerate(sorted(flat.items())):
    *lead, rows, columns = x.shape
    if rank > min(rows, columns):
      raise ValueError(
        f'--lora.rank must be at most {min(rows, columns)}, the rank of '
        f'{"/".join(path)}, got {rank}'
      )
    draw = jax.random.normal(jax.random.fold_in(key, i), (*lead, rows, rank))
    factors[*path, 'a'] = draw / rows**0.5
    factors[*path, 'b'] = jnp.zeros((*lead, rank, columns))
  return unflatten_dict(factors)


def merged(params: Params, factors: Factors, scale: ArrayLike) -> Params:
  """Computes W + scale A B where there are factors, in the type of W."""
  whole, flat = flatten_dict(params), flatten_dict(factors)
  for path in {path[:-1] for path in flat}:
    product = jnp.matmul(
      flat[*path, 'a'], flat[*path, 'b'], precision='highest'
    )
    whole[path] = (whole[path] + scale * product).astype(whole[path].dtype)
  return unflatten_dict(whole)


def of_factors(loss: Loss, scale: float) -> Loss:
  """Builds the loss of the factors of a network.

  Args:
    loss: of all parameters.
    scale: alpha / rank.

  Returns:
    A loss whose batch has 'frozen': {'base': params}, and 'frozen' in that if
    the other loss has.
  """

  def adapted(factors: Factors, keys: Array, batch: Batch) -> LossValue:
    frozen = dict(batch['frozen'])
    params = merged(frozen.pop('base'), factors, scale)
    rest = {name: x for name, x in batch.items() if name != 'frozen'}
    return loss(params, keys, {**rest, **frozen})

  return adapted


def _attends(path: tuple[str, ...]) -> bool:
  *_, block, layer, leaf = ('', '', *path)
  matrix = leaf == 'kernel' and layer in ('q', 'k', 'v', 'out')
  return matrix and block.endswith('attention')
