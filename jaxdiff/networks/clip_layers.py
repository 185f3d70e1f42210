"""Blocks of CLIP and GPT-2, transformers with norms first:

  x <- x + attention(norm(x))
  x <- x + W_1 act(W_0 norm(x)).

Source: Radford et al. 2021 (arXiv:2103.00020), section 2.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Protocol

import flax.linen as nn
import jax
from jax import Array
from jax.typing import DTypeLike

from jaxdiff.networks import checks
from jaxdiff.networks.layers import kernel_init

# OpenAI's weights are for quick_gelu, LAION's for the exact gelu. With the
# other one a network still works, and is wrong by a few per cent.
ACTIVATIONS: Mapping[str, Callable[[Array], Array]] = {
  'quick_gelu': lambda x: x * nn.sigmoid(1.702 * x),
  'gelu': partial(nn.gelu, approximate=False),
  'gelu_new': partial(nn.gelu, approximate=True),  # GPT-2's
}


class Tower(Protocol):
  """The settings that both towers have."""

  width: int
  num_layers: int
  num_heads: int
  mlp_width: int
  projection_dim: int | None
  activation: str
  norm_eps: float
  dtype: DTypeLike


class Block(nn.Module):
  """One block of the module's equations: [B, L, C], both ways."""

  num_heads: int
  mlp_width: int
  activation: str
  causal: bool
  norm_eps: float
  dtype: DTypeLike

  @nn.compact
  def __call__(self, x: Array) -> Array:
    width = x.shape[-1]
    heads = (*x.shape[:2], self.num_heads, width // self.num_heads)
    dense = partial(nn.Dense, dtype=self.dtype, kernel_init=kernel_init)
    h = norm(self.norm_eps, self.dtype, 'norm_0')(x)
    q, k, v = (dense(width, name=n)(h).reshape(heads) for n in 'qkv')
    h = jax.nn.dot_product_attention(q, k, v, is_causal=self.causal)
    x = x + dense(width, name='out')(h.reshape(x.shape))
    h = norm(self.norm_eps, self.dtype, 'norm_1')(x)
    h = ACTIVATIONS[self.activation](dense(self.mlp_width, name='mlp_0')(h))
    return x + dense(width, name='mlp_1')(h)


def blocks(tower: Tower, x: Array, causal: bool) -> tuple[Array, Array]:
  """Applies the blocks of a tower; returns what is behind and before the last.

  To be called within its `__call__`.
  """
  before = x
  with jax.default_matmul_precision('highest'):
    for i in range(tower.num_layers):
      before = x
      x = Block(
        tower.num_heads,
        tower.mlp_width,
        tower.activation,
        causal,
        tower.norm_eps,
        tower.dtype,
        name=f'block_{i}',
      )(x)
  return x, before


def norm(eps: float, dtype: DTypeLike, name: str) -> nn.LayerNorm:
  """A layer norm, its variance about the mean."""
  # E[x^2] - E[x]^2 loses its digits where the mean is far from zero.
  return nn.LayerNorm(eps, dtype=dtype, use_fast_variance=False, name=name)


def project(tower: Tower, pooled: Array) -> Array | None:
  """Applies the projection to the common space, if there is one."""
  if tower.projection_dim is None:
    return None
  return nn.Dense(
    tower.projection_dim,
    use_bias=False,
    kernel_init=kernel_init,
    precision='highest',
    name='projection',
  )(pooled)


def check(tower: Tower, *sizes: str) -> None:
  """Raises ValueError for settings out of range."""
  common = 'width', 'num_layers', 'num_heads', 'mlp_width', 'projection_dim'
  checks.check_settings(tower, *common, *sizes)
  if tower.activation not in ACTIVATIONS:
    raise ValueError(
      f'activation must be one of {sorted(ACTIVATIONS)}, got '
      f'{tower.activation!r}'
    )
  if tower.width % tower.num_heads:
    raise ValueError(
      f'num_heads must divide width {tower.width}, got {tower.num_heads}'
    )
