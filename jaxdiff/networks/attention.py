"""Attention and the blocks made of it.

`AttentionBlock` is the DDPM U-Net's; `SpatialTransformer` is Stable
Diffusion's, which attends to a text as well.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from jaxdiff.networks.layers import group_norm, kernel_init, layer_norm


class Attention(nn.Module):
  """Multi-head attention: softmax(q k^T / sqrt(d)) v, then a projection.

  q is made from x; k and v from `context`, which is x where none is given. The
  softmax is float32. Positions where `mask` is false are not attended to, and
  where all are false, what is attended to is zero.

  Takes x [B, L, C], context [B, S, D] and mask [B, S]; returns [B, L, C].

  Attributes:
    num_heads: must divide C.
    dtype: of computation.
    qkv_bias: whether q, k and v have a bias; the projection has one always.
    zero_init: the projection starts at zero.

  Source: Vaswani et al. 2017 (arXiv:1706.03762), equation 1.
  """

  num_heads: int
  dtype: DTypeLike = jnp.float32
  qkv_bias: bool = True
  zero_init: bool = False

  @nn.compact
  def __call__(
    self,
    x: jax.Array,
    context: jax.Array | None = None,
    mask: jax.Array | None = None,
  ) -> jax.Array:
    width = x.shape[-1]
    context = x if context is None else context

    def heads(y, name):
      dense = nn.Dense(
        width,
        use_bias=self.qkv_bias,
        dtype=self.dtype,
        kernel_init=kernel_init,
        name=name,
      )
      return dense(y).reshape(*y.shape[:2], self.num_heads, -1)

    q, k, v = heads(x, 'q'), heads(context, 'k'), heads(context, 'v')
    if mask is None:
      out = jax.nn.dot_product_attention(q, k, v)
    else:
      out = jax.nn.dot_product_attention(q, k, v, mask=mask[:, None, None, :])
      # Of nothing, that function makes the mean of everything.
      some = mask.any(axis=-1)[:, None, None, None]
      out = jnp.where(some, out, 0)
    return nn.Dense(
      width,
      dtype=self.dtype,
      kernel_init=nn.initializers.zeros if self.zero_init else kernel_init,
      name='out',
    )(out.reshape(x.shape))


class AttentionBlock(nn.Module):
  """x + attention(norm(x)) over all positions. [B, H, W, C], both ways."""

  num_heads: int
  norm_eps: float
  dtype: DTypeLike

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    b, h, w, c = x.shape
    y = group_norm(c, self.norm_eps, self.dtype, 'norm')(x)
    y = y.reshape(b, h * w, c)
    y = Attention(self.num_heads, self.dtype, zero_init=True, name='attention')(
      y
    )
    return x + y.reshape(b, h, w, c)


class GatedMLP(nn.Module):
  """W (a gelu(b)), where a and b, each 4 C wide, are linear in x [..., C].

  gelu is exact, x Phi(x).

  Source: Shazeer 2020 (arXiv:2002.05202), equation 6, there GEGLU.
  """

  dtype: DTypeLike

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    width = x.shape[-1]

    def dense(features, name):
      return nn.Dense(
        features, dtype=self.dtype, kernel_init=kernel_init, name=name
      )

    value, gate = jnp.split(dense(8 * width, 'in')(x), 2, axis=-1)
    return dense(width, 'out')(value * nn.gelu(gate, approximate=False))


class TextBlock(nn.Module):
  """Attention to itself, attention to a text, a gated MLP: three residuals.

  x <- x + f(norm(x)) for each f in turn. Takes x [B, L, C], text [B, S, D] and
  mask [B, S]; returns [B, L, C].
  """

  num_heads: int
  dtype: DTypeLike

  @nn.compact
  def __call__(
    self, x: jax.Array, text: jax.Array, mask: jax.Array | None
  ) -> jax.Array:
    def norm(x, name):
      return layer_norm(1e-5, self.dtype, name)(x)

    def attend(name):
      return Attention(self.num_heads, self.dtype, qkv_bias=False, name=name)

    x = x + attend('self_attention')(norm(x, 'norm_0'))
    x = x + attend('text_attention')(norm(x, 'norm_1'), text, mask)
    return x + GatedMLP(self.dtype, name='mlp')(norm(x, 'norm_2'))


class SpatialTransformer(nn.Module):
  """x + W_out blocks(W_in norm(x)), the positions of x being the sequence.

  W_out starts at zero. Takes x [B, H, W, C], text [B, S, D] and mask [B, S] or
  None, true where the text is; returns [B, H, W, C].

  Source: Rombach et al. 2022 (arXiv:2112.10752), section 3.3 and appendix
  E.2.1; the numbers added to variances are those of the released weights.
  """

  num_heads: int
  depth: int
  dtype: DTypeLike

  @nn.compact
  def __call__(
    self, x: jax.Array, text: jax.Array, mask: jax.Array | None
  ) -> jax.Array:
    b, h, w, c = x.shape

    def dense(name, init=kernel_init):
      return nn.Dense(c, dtype=self.dtype, kernel_init=init, name=name)

    y = group_norm(c, 1e-6, self.dtype, 'norm')(x)
    y = dense('proj_in')(y.reshape(b, h * w, c))
    for i in range(self.depth):
      y = TextBlock(self.num_heads, self.dtype, name=f'block_{i}')(
        y, text, mask
      )
    y = dense('proj_out', nn.initializers.zeros)(y)
    return x + y.reshape(b, h, w, c)
