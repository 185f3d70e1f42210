"""Stacks of equal blocks as one loop, and adaLN, their modulation by time."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array
from jax.sharding import PartitionSpec
from jax.typing import DTypeLike

from jaxdiff.networks.layers import Dense


def rematerialised(
  block: type[nn.Module], remat: bool | str, prevent_cse: bool = True
) -> type[nn.Module]:
  """Returns a block that is computed again in the backward pass, if at all.

  Args:
    block: A module.
    remat: Whether; or the name of a policy of `jax.checkpoint_policies`, which
      says what is kept.
    prevent_cse: False in a loop, which needs no protection from XLA.
  """
  if not remat:
    return block
  policy = None if remat is True else getattr(jax.checkpoint_policies, remat)
  return nn.remat(block, policy=policy, prevent_cse=prevent_cse)


def stacked(
  block: type[nn.Module],
  depth: int,
  remat: bool | str,
  in_axes: Any = nn.broadcast,
) -> type[nn.Module]:
  """Returns a module of `depth` blocks in a row, their parameters stacked.

  One block is compiled, not `depth`. XLA on CPU also cannot fuse the residuals
  of later blocks into earlier ones, which took most of a training step at depth
  6.

  Where a mesh is in use, parameters divided over it are gathered block by
  block, and again in the backward pass with `remat`.

  Args:
    block: Its `__call__` takes (state, *inputs), and returns (state, output).
    depth: Number of blocks.
    remat: As in `rematerialised`.
    in_axes: For each input 0, where every block has its own, or nn.broadcast.
  """
  if not jax.sharding.get_abstract_mesh().empty:
    gather = lambda params: jax.tree.map(_gathered, params)
    block = nn.map_variables(block, 'params', gather, init=True, mutable=True)
  return nn.scan(
    rematerialised(block, remat, prevent_cse=False),
    variable_axes={'params': 0},
    split_rngs={'params': True, 'dropout': True},
    in_axes=in_axes,
    length=depth,
  )


@jax.custom_jvp
def _gathered(x: Array) -> Array:
  """The whole array on each device of the mesh."""
  return jax.lax.with_sharding_constraint(x, PartitionSpec())


# A gradient is divided as its parameter is, not gathered: so says its user.
_gathered.defjvp(lambda primals, tangents: (_gathered(*primals), *tangents))


def modulation(
  emb: Array, parts: int, width: int, dtype: DTypeLike
) -> list[Array]:
  """Computes shifts, scales and gates W emb, which start at zero.

  To be called within a module, whose parameters they become.

  Args:
    emb: Embedding of time and conditions, after the swish, [B, E].
    parts: Number of arrays.
    width: Of each.
    dtype: Of computation.

  Returns:
    Arrays [B, 1, width].

  Source: Peebles and Xie 2022 (arXiv:2212.09748), section 3.2, adaLN-Zero.
  """
  zeros = nn.initializers.zeros
  dense = Dense(
    parts * width, dtype=dtype, kernel_init=zeros, name='modulation'
  )
  return jnp.split(dense(emb)[:, None], parts, axis=-1)
