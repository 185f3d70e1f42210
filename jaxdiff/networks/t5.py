"""The encoder of T5 v1.1 and umT5: texts to a sequence of vectors.

Every block is

  x <- x + attention(norm(x))
  x <- x + W (gelu(a) b), a and b linear in norm(x),

with norms x / rms(x) and no bias anywhere. Attention is softmax(q k^T + b) v,
not scaled, with b learned for each head and each range of distances of two
tokens: all blocks share those of the first, and in umT5 each has its own.

Source: Raffel et al. 2019 (arXiv:1910.10683), section 2.1; Shazeer 2020
(arXiv:2002.05202); Chung et al. 2023 (arXiv:2304.09151), umT5.
"""

import math
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import DTypeLike

from jaxdiff.networks import checks
from jaxdiff.networks.layers import kernel_init

PADDING = 0


class T5Block(nn.Module):
  """One block: x [B, L, C], bias [1, heads, L, L] and mask to [B, L, C]."""

  num_heads: int
  head_width: int
  mlp_width: int
  norm_eps: float
  dtype: DTypeLike

  @nn.compact
  def __call__(self, x: Array, bias: Array, mask: Array) -> Array:
    heads = (*x.shape[:2], self.num_heads, self.head_width)
    inner = self.num_heads * self.head_width
    dense = partial(
      nn.Dense, use_bias=False, dtype=self.dtype, kernel_init=kernel_init
    )
    norm = partial(nn.RMSNorm, self.norm_eps, dtype=self.dtype)
    h = norm(name='norm_0')(x)
    q, k, v = (dense(inner, name=n)(h).reshape(heads) for n in 'qkv')
    h = jax.nn.dot_product_attention(
      q, k, v, bias=bias.astype(self.dtype), mask=mask, scale=1.0
    )
    x = x + dense(x.shape[-1], name='out')(h.reshape(*x.shape[:2], inner))
    h = norm(name='norm_1')(x)
    gate = nn.gelu(dense(self.mlp_width, name='mlp_gate')(h), approximate=True)
    h = gate * dense(self.mlp_width, name='mlp_in')(h)
    return x + dense(x.shape[-1], name='mlp_out')(h)


class T5Encoder(nn.Module):
  """Tokens to vectors; the defaults are those of T5 v1.1 small.

  Token 0 is padding: nothing attends to it.

  Attributes:
    vocab_size: Number of tokens.
    width: Of a vector.
    num_layers: Number of blocks.
    num_heads: Attention heads, each `head_width` wide.
    mlp_width: Hidden width of the MLP of a block.
    shared_bias: Whether all blocks share the bias of distances.
    num_buckets: Ranges of distances, half of them for each sign.
    max_distance: From here on, all distances are in the last range.
    norm_eps: Added to the mean square in norms.
    dtype: Of computation, float32 or bfloat16.
  """

  vocab_size: int = 32128
  width: int = 512
  num_layers: int = 8
  num_heads: int = 6
  head_width: int = 64
  mlp_width: int = 1024
  shared_bias: bool = True
  num_buckets: int = 32
  max_distance: int = 128
  norm_eps: float = 1e-6
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(self, tokens: Array) -> dict[str, Array]:
    """Encodes texts.

    Args:
      tokens: Integers [B, L], 0 at padding. An id outside the vocabulary gives
        NaN.

    Returns:
      text: [B, L, width], float32, zero at padding.
      pooled: [B, width], float32, the mean of `text` over all but padding
        (Saharia et al. 2022, arXiv:2205.11487, appendix D).
      mask: [B, L], false at padding.

    Raises:
      ValueError: Settings are out of range; tokens are not integers [B, L].
    """
    sizes = 'vocab_size', 'width', 'num_layers', 'num_heads', 'head_width'
    checks.check_settings(self, *sizes, 'mlp_width', 'max_distance')
    if tokens.ndim != 2 or not jnp.issubdtype(tokens.dtype, jnp.integer):
      raise ValueError(
        f'tokens must be integers [B, L], got {tokens.dtype} of shape '
        f'{tuple(tokens.shape)}'
      )
    ranges = buckets(tokens.shape[1], self.num_buckets, self.max_distance)
    mask = tokens != PADDING
    x = nn.Embed(
      self.vocab_size, self.width, dtype=self.dtype, name='token_embedding'
    )(tokens)
    init = nn.initializers.normal(self.width**-0.5)
    shape = (self.num_buckets, self.num_heads)
    bias = None
    with jax.default_matmul_precision('highest'):
      for i in range(self.num_layers):
        if bias is None or not self.shared_bias:
          table = self.param(f'distance_bias_{i}', init, shape)
          bias = jnp.moveaxis(table[ranges], -1, 0)[None]
        x = T5Block(
          self.num_heads,
          self.head_width,
          self.mlp_width,
          self.norm_eps,
          self.dtype,
          name=f'block_{i}',
        )(x, bias, mask[:, None, None])
    x = nn.RMSNorm(self.norm_eps, dtype=jnp.float32, name='norm_out')(x)
    text = jnp.where(mask[..., None], x, 0.0)
    length = jnp.maximum(mask.sum(axis=1, keepdims=True), 1)
    return {'text': text, 'pooled': text.sum(axis=1) / length, 'mask': mask}


def buckets(length: int, num: int, most: int) -> np.ndarray:
  """Computes the range of the distance of every two tokens, [length, length].

  Half of the `num` ranges are for tokens that follow. Half of each half have
  one distance, and the others grow geometrically up to `most`.

  Raises:
    ValueError: `num` is not a multiple of 4, or `most` too small for it.
  """
  half, exact = num // 2, num // 4
  if num < 4 or num % 4 or most <= exact:
    raise ValueError(
      f'num_buckets must be a multiple of 4, below 4 max_distance {most}, got '
      f'{num}'
    )
  place = np.arange(length)
  distance = place[None] - place[:, None]
  far = np.maximum(np.abs(distance), 1).astype(np.float32) / np.float32(exact)
  # In float32, as it was trained: a distance may lie on a limit.
  steps = np.log(far) / np.float32(math.log(most / exact))
  far = exact + (steps * np.float32(half - exact)).astype(int)
  near = np.abs(distance) < exact
  size = np.where(near, np.abs(distance), np.minimum(far, half - 1))
  return size + half * (distance > 0)
