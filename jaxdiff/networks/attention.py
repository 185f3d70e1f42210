"""Attention and the blocks made of it.

`AttentionBlock` is the DDPM U-Net's; `SpatialTransformer` is Stable
Diffusion's, which attends to a text as well.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from jaxdiff.networks.layers import Dense, group_norm, kernel_init, layer_norm


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
    rotary: q and k are turned by their positions, see `rotated`; a head must
      have an even number of channels.
    causal: a position attends to itself and to those before it.

  Source: Vaswani et al. 2017 (arXiv:1706.03762), equation 1.
  """

  num_heads: int
  dtype: DTypeLike = jnp.float32
  qkv_bias: bool = True
  zero_init: bool = False
  rotary: bool = False
  causal: bool = False

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
      dense = Dense(
        width,
        use_bias=self.qkv_bias,
        dtype=self.dtype,
        kernel_init=kernel_init,
        name=name,
      )
      return dense(y).reshape(*y.shape[:2], self.num_heads, -1)

    q, k, v = heads(x, 'q'), heads(context, 'k'), heads(context, 'v')
    if self.rotary:
      q, k = rotated(q), rotated(k)
    if mask is None:
      out = jax.nn.dot_product_attention(q, k, v, is_causal=self.causal)
    else:
      seen = mask[:, None, None, :]
      if self.causal:
        length = (q.shape[1], k.shape[1])
        seen = seen & jnp.tril(jnp.ones(length, bool))[None, None]
      out = jax.nn.dot_product_attention(q, k, v, mask=seen)
      # Of nothing, that function makes the mean of everything.
      some = seen.any(axis=-1)[:, 0, :, None, None]
      out = jnp.where(some, out, 0)
    return Dense(
      width,
      dtype=self.dtype,
      kernel_init=nn.initializers.zeros if self.zero_init else kernel_init,
      name='out',
    )(out.reshape(x.shape))


def rotated(x: jax.Array) -> jax.Array:
  """Turns pairs of channels by angles proportional to the position.

  With D channels in a head and w_i = 10000^(-2 i / D), i = 0 .. D / 2 - 1,
  channels i and i + D / 2 at position l are turned by the angle l w_i. Inner
  products then depend on the distance of two positions alone.

  Args:
    x: [B, L, H, D], D even.

  Returns:
    [B, L, H, D], of the same lengths and dtype.

  Source: Su et al. 2021 (arXiv:2104.09864), equation 34, which pairs channels
  2 i and 2 i + 1; the two differ by an order of channels, which is learnt.
  """
  _, length, _, dim = x.shape
  frequencies = np.power(10000.0, -np.arange(0, dim, 2) / dim)
  # float64: in float32 the angle of a late position has lost digits.
  angles = np.arange(length)[:, None] * frequencies
  sin, cos = (
    jnp.asarray(wave(angles), jnp.float32)[None, :, None]
    for wave in (np.sin, np.cos)
  )
  first, second = jnp.split(x.astype(jnp.float32), 2, axis=-1)
  turned = [first * cos - second * sin, first * sin + second * cos]
  return jnp.concatenate(turned, axis=-1).astype(x.dtype)


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
      return Dense(
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
      return Dense(c, dtype=self.dtype, kernel_init=init, name=name)

    y = group_norm(c, 1e-6, self.dtype, 'norm')(x)
    y = dense('proj_in')(y.reshape(b, h * w, c))
    for i in range(self.depth):
      y = TextBlock(self.num_heads, self.dtype, name=f'block_{i}')(
        y, text, mask
      )
    y = dense('proj_out', nn.initializers.zeros)(y)
    return x + y.reshape(b, h, w, c)
