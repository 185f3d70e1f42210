"""Attention, and the attending blocks of the DDPM and Stable Diffusion U-Nets.

`AttentionBlock` attends to the positions of an image; `SpatialTransformer`
attends to a text as well.
"""

import math
from functools import partial
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import DTypeLike

from jaxdiff.networks.layers import Dense, group_norm, kernel_init, layer_norm

LONG = 1 << 24  # products of a head, from which q is cut into slices


class Kept(NamedTuple):
  """Keys and values of a text of which a part is computed."""

  k: Array  # [B, S, H, D]
  v: Array
  first: Array  # position of the part


class Attention(nn.Module):
  """Multi-head attention: softmax(q k^T / sqrt(d)) v, then a projection.

  q is linear in x, k and v in `context`; without a context, in x. The softmax
  is float32. Positions where `mask` is false are not attended to; where all
  are false, the attended value is zero.

  Takes x [B, L, C], context [B, S, D], mask [B, S] and seen [L, S], the
  positions that each attends to; returns [B, L, C].

  With `kept`, the keys and values of S positions of which x are those from
  `first` on, it attends to all of them, x's own in their place; then it returns
  keys and values, too.

  Attributes:
    num_heads: Must divide C.
    dtype: Of computation.
    qkv_bias: Whether q, k and v have a bias; the projection always has one.
    zero_init: Whether the projection starts at zero.
    qkv_scale: Of the variance of the first q, k and v, relative to Glorot's.
    rotary: Whether q and k are rotated by position, see `rotated`. A head then
      needs an even number of channels.
    grid: Rows and columns of an image whose positions end the sequence, for
      `rotary`. A head then needs a multiple of 4 channels.
    qk_norm: Whether q and k pass an RMS norm over the channels of a head, with
      a scale that heads share (Henry et al. 2020, arXiv:2010.04245).
    causal: Whether a position attends only to itself and those before it.
    streams: How many texts of one length x is, one behind the other, for
      `rotary`.

  Source: Vaswani et al. 2017 (arXiv:1706.03762), equation 1.
  """

  num_heads: int
  dtype: DTypeLike = jnp.float32
  qkv_bias: bool = True
  zero_init: bool = False
  qkv_scale: float = 1.0
  rotary: bool = False
  grid: tuple[int, int] | None = None
  qk_norm: bool = False
  causal: bool = False
  streams: int = 1

  @nn.compact
  def __call__(
    self,
    x: Array,
    context: Array | None = None,
    mask: Array | None = None,
    seen: Array | None = None,
    kept: Kept | None = None,
  ) -> Array | tuple[Array, tuple[Array, Array]]:
    width = x.shape[-1]
    context = x if context is None else context
    dense = partial(Dense, width, dtype=self.dtype)

    scale = math.sqrt(self.qkv_scale)
    first = lambda *args: scale * kernel_init(*args)

    def heads(y, name):
      bias = self.qkv_bias
      y = dense(use_bias=bias, kernel_init=first, name=name)(y)
      return y.reshape(*y.shape[:2], self.num_heads, -1)

    q, k, v = heads(x, 'q'), heads(context, 'k'), heads(context, 'v')
    if self.qk_norm:
      norm = partial(nn.RMSNorm, dtype=self.dtype)
      q, k = norm(name='q_norm')(q), norm(name='k_norm')(k)
    if self.rotary:
      turn = partial(rotated, grid=self.grid, streams=self.streams)
      if kept is not None:
        turn = partial(turn, total=kept.k.shape[1], first=kept.first)
      q, k = turn(q), turn(k)
    if kept is not None:
      put = partial(jax.lax.dynamic_update_slice_in_dim, axis=1)
      k, v = put(kept.k, k, kept.first), put(kept.v, v, kept.first)
    if mask is None and seen is None and not self.causal:
      out = attend(q, k, v)
    elif mask is None and seen is None:
      out = jax.nn.dot_product_attention(q, k, v, is_causal=True)
    else:
      if seen is None and self.causal:
        seen = jnp.tril(jnp.ones((q.shape[1], k.shape[1]), bool))
      seen = None if seen is None else seen[None, None]
      if mask is not None:
        exists = mask[:, None, None, :]
        seen = exists if seen is None else exists & seen
      out = jax.nn.dot_product_attention(q, k, v, mask=seen)
      # With nothing to attend to, that is the mean of everything.
      some = seen.any(axis=-1)[:, 0, :, None, None]
      out = jnp.where(some, out, 0)
    init = nn.initializers.zeros if self.zero_init else kernel_init
    out = dense(kernel_init=init, name='out')(out.reshape(x.shape))
    return out if kept is None else (out, (k, v))


def attend(q: Array, k: Array, v: Array) -> Array:
  """Computes softmax(q k^T / sqrt(D)) v, of long sequences in slices of q.

  All products of 4096 positions, as of an image of 512x512 in Stable Diffusion,
  are 0.5 GB for 8 heads.

  Args:
    q: [B, L, H, D].
    k, v: [B, S, H, D].

  Returns:
    [B, L, H, D].
  """
  (b, length, *head), others = q.shape, k.shape[1]
  if length * others < LONG:
    return jax.nn.dot_product_attention(q, k, v)
  num = -(-4 * length * others // LONG)
  rows = -(-length // num)
  padded = jnp.pad(q, ((0, 0), (0, num * rows - length), (0, 0), (0, 0)))
  slices = padded.reshape(b, num, rows, *head).swapaxes(0, 1)
  out = jax.lax.map(lambda q: jax.nn.dot_product_attention(q, k, v), slices)
  return out.swapaxes(0, 1).reshape(b, num * rows, *head)[:, :length]


def rotated(
  x: Array,
  grid: tuple[int, int] | None = None,
  streams: int = 1,
  total: int | None = None,
  first: Array | int = 0,
) -> Array:
  """Rotates pairs of channels by angles proportional to the position.

  With D channels in a head and w_i = 10000^(-2 i / D), i = 0 .. D / 2 - 1,
  channels i and i + D / 2 at position l are rotated by the angle l w_i. Inner
  products then depend on the distance of two positions alone.

  On a grid the first half of the pairs turns by the row and the second by the
  column, each with the frequencies of D / 2 channels.

  Args:
    x: [B, L, H, D], D even; on a grid a multiple of 4.
    grid: Rows and columns of the last positions of the sequence, row by row.
      Those before them are not rotated.
    streams: Positions are counted anew in each of so many equal parts.
    total: The length of a sequence of which x is the part from `first` on.
    first: May be traced.

  Returns:
    [B, L, H, D], of the same lengths and dtype.

  Source: Su et al. 2021 (arXiv:2104.09864), equation 34, which pairs channels
  2 i and 2 i + 1; the order of channels is learned.
  """
  _, length, _, dim = x.shape
  if grid is None:
    whole = total or length
    places = np.arange(whole)[:, None] % (whole // streams)
  else:
    places = np.zeros((length, 2), int)
    places[length - grid[0] * grid[1] :] = np.indices(grid).reshape(2, -1).T
  each = dim // places.shape[1]
  frequencies = np.power(10000.0, -np.arange(0, each, 2) / each)
  # float64: in float32 the angle of a late position has lost digits.
  angles = (places[:, :, None] * frequencies).reshape(len(places), -1)
  sin, cos = (
    jnp.asarray(wave(angles), jnp.float32)[None, :, None]
    for wave in (np.sin, np.cos)
  )
  if total is not None:
    cut = jax.lax.dynamic_slice_in_dim
    sin, cos = cut(sin, first, length, 1), cut(cos, first, length, 1)
  first, second = jnp.split(x.astype(jnp.float32), 2, axis=-1)
  turned = [first * cos - second * sin, first * sin + second * cos]
  return jnp.concatenate(turned, axis=-1).astype(x.dtype)


class AttentionBlock(nn.Module):
  """x + attention(norm(x)) over all positions. [B, H, W, C], both ways.

  With `unit_sum`, as in score SDE's networks, the sum is divided by sqrt(2),
  and q, k and v start with a tenth of Glorot's variance.
  """

  num_heads: int
  norm_eps: float
  dtype: DTypeLike
  groups: int | None = None  # of the norm, as in `group_norm`
  unit_sum: bool = False

  @nn.compact
  def __call__(self, x: Array) -> Array:
    b, h, w, c = x.shape
    y = group_norm(c, self.norm_eps, self.dtype, 'norm', self.groups)(x)
    attend = Attention(
      self.num_heads,
      self.dtype,
      zero_init=True,
      qkv_scale=0.1 if self.unit_sum else 1.0,
      name='attention',
    )
    y = attend(y.reshape(b, h * w, c)).reshape(b, h, w, c)
    return math.sqrt(0.5) * (x + y) if self.unit_sum else x + y


class GatedMLP(nn.Module):
  """W (a gelu(b)), where a and b, each 4 C wide, are linear in x [..., C].

  gelu is exact, x Phi(x).

  Source: Shazeer 2020 (arXiv:2002.05202), equation 6, there GEGLU.
  """

  dtype: DTypeLike

  @nn.compact
  def __call__(self, x: Array) -> Array:
    width = x.shape[-1]
    dense = partial(Dense, dtype=self.dtype, kernel_init=kernel_init)
    value, gate = jnp.split(dense(8 * width, name='in')(x), 2, axis=-1)
    return dense(width, name='out')(value * nn.gelu(gate, approximate=False))


class TextBlock(nn.Module):
  """Self-attention, attention to a text, a gated MLP, each x + f(norm(x)).

  Takes x [B, L, C], text [B, S, D] and mask [B, S]; returns [B, L, C].
  """

  num_heads: int
  dtype: DTypeLike

  @nn.compact
  def __call__(self, x: Array, text: Array, mask: Array | None) -> Array:
    norm = partial(layer_norm, 1e-5, self.dtype)
    attention = partial(Attention, self.num_heads, self.dtype, qkv_bias=False)
    x = x + attention(name='self_attention')(norm('norm_0')(x))
    attend = attention(name='text_attention')
    x = x + attend(norm('norm_1')(x), text, mask)
    return x + GatedMLP(self.dtype, name='mlp')(norm('norm_2')(x))


class SpatialTransformer(nn.Module):
  """x + W_out blocks(W_in norm(x)), the positions of x being the sequence.

  W_out starts at zero. Takes x [B, H, W, C], text [B, S, D], and mask [B, S],
  false at padding, or None; returns [B, H, W, C].

  Source: Rombach et al. 2022 (arXiv:2112.10752), section 3.3 and appendix
  E.2.1; epsilons are those of the released weights.
  """

  num_heads: int
  depth: int
  dtype: DTypeLike
  groups: int | None = None  # of the norm, as in `group_norm`

  @nn.compact
  def __call__(self, x: Array, text: Array, mask: Array | None) -> Array:
    b, h, w, c = x.shape
    dense = partial(Dense, c, dtype=self.dtype)
    y = group_norm(c, 1e-6, self.dtype, 'norm', self.groups)(x)
    y = y.reshape(b, h * w, c)
    y = dense(kernel_init=kernel_init, name='proj_in')(y)
    for i in range(self.depth):
      block = TextBlock(self.num_heads, self.dtype, name=f'block_{i}')
      y = block(y, text, mask)
    y = dense(kernel_init=nn.initializers.zeros, name='proj_out')(y)
    return x + y.reshape(b, h, w, c)
