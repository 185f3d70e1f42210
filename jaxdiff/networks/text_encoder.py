"""A small transformer that encodes texts, trained with the denoiser."""

import flax.linen as nn
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

from jaxdiff.networks import checks
from jaxdiff.networks.attention import Attention, GatedMLP
from jaxdiff.networks.layers import layer_norm

PADDING = 0
NORM_EPS = 1e-5


class EncoderBlock(nn.Module):
  """Self-attention and a gated MLP, each x + f(norm(x)).

  Takes x [B, L, C] and mask [B, L]; returns [B, L, C].
  """

  num_heads: int
  dtype: DTypeLike

  @nn.compact
  def __call__(self, x: Array, mask: Array) -> Array:
    def norm(x, name):
      return layer_norm(NORM_EPS, self.dtype, name)(x)

    attend = Attention(self.num_heads, self.dtype, name='attention')
    x = x + attend(norm(x, 'norm_0'), mask=mask)
    return x + GatedMLP(self.dtype, name='mlp')(norm(x, 'norm_1'))


class TextEncoder(nn.Module):
  """Tokens to one vector each, and to one vector for the whole text.

  x_l = token[w_l] + position[l], `depth` blocks in which every token attends
  to every other, a norm. Token 0 is padding: nothing attends to it, and its
  vectors are zero. So a text with more padding is the same text, and padding
  alone, the null text, gives zeros.

  Attributes:
    vocab_size: Tokens are 0 .. vocab_size - 1; one above gives NaN.
    width: Of every vector.
    depth: Number of blocks.
    num_heads: Must divide `width`.
    max_length: Of a text, in tokens.
    dtype: Of computation, float32 or bfloat16. Parameters and outputs are
      float32.

  Source: Vaswani et al. 2017 (arXiv:1706.03762), section 3.1, normed as in
  Xiong et al. 2020 (arXiv:2002.04745), figure 1b.
  """

  vocab_size: int
  width: int = 128
  depth: int = 4
  num_heads: int = 4
  max_length: int = 64
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(self, tokens: Array) -> dict[str, Array]:
    """Encodes texts.

    Args:
      tokens: Integers [B, L], L <= max_length, 0 at padding.

    Returns:
      text: [B, L, width], float32, zero at padding.
      pooled: [B, width], float32, the mean of `text` over all but padding.
      mask: [B, L], false at padding.

    Raises:
      ValueError: Settings are out of range; tokens are not integers [B, L]; a
        text is too long.
    """
    _check(self, tokens)
    mask = tokens != PADDING
    init = nn.initializers.normal(1.0)
    embed = nn.Embed(
      self.vocab_size,
      self.width,
      dtype=self.dtype,
      embedding_init=init,
      name='token',
    )
    shape = (self.max_length, self.width)
    position = self.param('position', init, shape, jnp.float32)
    x = embed(tokens) + position[None, : tokens.shape[1]].astype(self.dtype)
    for i in range(self.depth):
      x = EncoderBlock(self.num_heads, self.dtype, name=f'block_{i}')(x, mask)
    x = layer_norm(NORM_EPS, jnp.float32, 'norm_out')(x)
    text = jnp.where(mask[..., None], x, 0.0)
    # At least 1, so that the mean over no token is zero too.
    length = jnp.maximum(mask.sum(axis=1, keepdims=True), 1)
    return {'text': text, 'pooled': text.sum(axis=1) / length, 'mask': mask}


def _check(net: TextEncoder, tokens: Array) -> None:
  sizes = 'vocab_size', 'width', 'depth', 'num_heads', 'max_length'
  checks.check_settings(net, *sizes)
  if net.width % net.num_heads:
    raise ValueError(
      f'num_heads must divide the width {net.width}, got {net.num_heads}'
    )
  if tokens.ndim != 2 or not jnp.issubdtype(tokens.dtype, jnp.integer):
    raise ValueError(
      f'tokens must be integers [B, L], got {tokens.dtype} of shape '
      f'{tuple(tokens.shape)}'
    )
  if tokens.shape[1] > net.max_length:
    raise ValueError(
      f'a text has at most max_length={net.max_length} tokens, got '
      f'{tokens.shape[1]}: cut it, or raise max_length'
    )
