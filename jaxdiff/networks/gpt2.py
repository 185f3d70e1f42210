"""GPT-2: a causal transformer, tokens -> logits of the next token.

  p(x_i | x_1, .., x_{i-1}) = softmax(E h_{i-1}),

with the embedding E of the tokens used again at the end. It scores texts; it is
not trained here.

Source: Radford et al. 2019, "Language models are unsupervised multitask
learners", section 2.3; the blocks are those of `clip_layers`.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

from jaxdiff.networks.clip_layers import blocks, check, norm


class GPT2(nn.Module):
  """Tokens [B, L] -> logits [B, L, vocab_size]; the defaults are of 124M.

  Attributes:
    width: Of a token.
    num_layers: Number of blocks.
    num_heads: Attention heads; must divide `width`.
    mlp_width: Hidden width of the MLP of a block.
    vocab_size: Number of tokens.
    max_length: Number of positions.
    norm_eps: Added to the variance in norms.
    activation: Of the MLPs.
    projection_dim: None, there is no projection.
    dtype: Of computation. Parameters, softmax and logits are float32.
  """

  width: int = 768
  num_layers: int = 12
  num_heads: int = 12
  mlp_width: int = 3072
  vocab_size: int = 50257
  max_length: int = 1024
  norm_eps: float = 1e-5
  activation: str = 'gelu_new'
  projection_dim: int | None = None
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(self, tokens: Array) -> Array:
    """Applies the network.

    Args:
      tokens: Integers [B, L], L <= max_length. A token changes no logits before
        its place.

    Raises:
      ValueError: Settings are out of range; tokens are of another shape.
    """
    check(self, 'vocab_size', 'max_length')
    if tokens.ndim != 2 or not 0 < tokens.shape[1] <= self.max_length:
      raise ValueError(
        f'tokens must be [B, L] with L in 1..{self.max_length}, got shape '
        f'{tuple(tokens.shape)}'
      )
    init = nn.initializers.normal(0.02)
    embed = nn.Embed(
      self.vocab_size, self.width, embedding_init=init, name='token_embedding'
    )
    shape = (self.max_length, self.width)
    positions = self.param('position_embedding', init, shape)
    x = embed(tokens) + positions[None, : tokens.shape[1]]
    x, _ = blocks(self, x.astype(self.dtype), causal=True)
    x = norm(self.norm_eps, jnp.float32, 'norm_out')(x)
    with jax.default_matmul_precision('highest'):
      return embed.attend(x)
