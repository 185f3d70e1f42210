"""CLIP: a text tower and an image tower into one space.

Both are transformers of the blocks in `clip_layers`. Text attends causally, and
its feature is that of the end-of-text token. An image is cut into patches after
a learned class token, whose feature is the image's. Either is projected, and

  logits[i, j] = exp(logit_scale) cos(image_i, text_j).

Outputs are float32 for any type of computation, and float32 products have full
precision on every device.

Source: Radford et al. 2021 (arXiv:2103.00020), section 2.
"""

import math
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

from jaxdiff.networks.clip_layers import blocks, check, norm, project
from jaxdiff.networks.layers import kernel_init


class TextFeatures(NamedTuple):
  """Features of B texts of L tokens; float32.

  Attributes:
    sequence: [B, L, width], after the last norm, for a network to attend to.
    pooled: [B, width], the sequence at the end of the text.
    embedding: [B, projection_dim], pooled and projected, not normalised; None
      for a network without projection.
    penultimate: [B, L, width], before the last block, not normalised.
  """

  sequence: Array
  pooled: Array
  embedding: Array | None
  penultimate: Array


class VisionFeatures(NamedTuple):
  """Features of B images; float32.

  Attributes:
    pooled: [B, width], the class token after the last norm.
    embedding: [B, projection_dim], pooled and projected, not normalised; None
      for a network without projection.
  """

  pooled: Array
  embedding: Array | None


class ClipText(nn.Module):
  """Tokens to `TextFeatures`; the defaults are those of ViT-B/32.

  Attributes:
    width: Of a token.
    num_layers: Number of blocks.
    num_heads: Attention heads; must divide `width`.
    mlp_width: Hidden width of the MLP of a block.
    projection_dim: Of the common space; None: no projection.
    vocab_size: Number of tokens.
    max_length: Number of positions.
    activation: 'quick_gelu' or 'gelu'.
    eos_id: A text ends at the first of these; None: at its largest id, OpenAI's
      rule, the same for its own vocabulary.
    norm_eps: Added to the variance in norms.
    dtype: Of computation, float32 or bfloat16. Parameters, softmax, the last
      norm and the projection are float32.
  """

  width: int = 512
  num_layers: int = 12
  num_heads: int = 8
  mlp_width: int = 2048
  projection_dim: int | None = 512
  vocab_size: int = 49408
  max_length: int = 77
  activation: str = 'quick_gelu'
  eos_id: int | None = None
  norm_eps: float = 1e-5
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(self, tokens: Array) -> TextFeatures:
    """Applies the tower.

    Args:
      tokens: Integers [B, L], L <= max_length, each text with its start and end
        token. Tokens after the end change nothing before it. An id outside the
        vocabulary gives NaN.

    Raises:
      ValueError: Settings are out of range; tokens are of another shape, too
        many, or not integers.
    """
    check(self, 'vocab_size', 'max_length')
    if tokens.ndim != 2 or not 0 < tokens.shape[1] <= self.max_length:
      raise ValueError(
        f'tokens must be [B, L] with L in 1..{self.max_length}, got shape '
        f'{tuple(tokens.shape)}; cut longer texts before the end token'
      )
    if not jnp.issubdtype(tokens.dtype, jnp.integer):
      raise ValueError(f'tokens must be integers, got {tokens.dtype}')
    init = nn.initializers.normal(0.02)
    embed = nn.Embed(
      self.vocab_size,
      self.width,
      dtype=self.dtype,
      embedding_init=init,
      name='token_embedding',
    )
    shape = (self.max_length, self.width)
    positions = self.param('position_embedding', init, shape)
    positions = positions[: tokens.shape[1]].astype(self.dtype)
    x, before = blocks(self, embed(tokens) + positions[None], causal=True)
    x = norm(self.norm_eps, jnp.float32, 'norm_out')(x)
    ids = tokens if self.eos_id is None else tokens == self.eos_id
    end = jnp.argmax(ids, axis=-1)  # the first of the largest
    pooled = jnp.take_along_axis(x, end[:, None, None], axis=1)[:, 0]
    before = before.astype(jnp.float32)
    return TextFeatures(x, pooled, project(self, pooled), before)


class ClipVision(nn.Module):
  """Images to `VisionFeatures`; the defaults are those of ViT-B/32.

  Attributes:
    image_size: Height and width of an image.
    patch_size: Height and width of a patch, one token; must divide
      `image_size`.

  The others are those of `ClipText`.
  """

  image_size: int = 224
  patch_size: int = 32
  width: int = 768
  num_layers: int = 12
  num_heads: int = 12
  mlp_width: int = 3072
  projection_dim: int | None = 512
  activation: str = 'quick_gelu'
  norm_eps: float = 1e-5
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(self, images: Array) -> VisionFeatures:
    """Applies the tower.

    Args:
      images: [B, image_size, image_size, 3], resized, cropped, and normalised
        by CLIP's mean and deviation of each channel.

    Raises:
      ValueError: Settings are out of range; images are of another shape.
    """
    check(self, 'image_size', 'patch_size')
    size, patch = self.image_size, self.patch_size
    if size % patch:
      raise ValueError(f'patch_size must divide image_size {size}, got {patch}')
    if images.ndim != 4 or images.shape[1:] != (size, size, 3):
      raise ValueError(
        f'images must be [B, {size}, {size}, 3], got shape '
        f'{tuple(images.shape)}'
      )
    init = nn.initializers.normal(0.02)
    patches = nn.Conv(
      self.width,
      (patch, patch),
      (patch, patch),
      'VALID',
      use_bias=False,
      dtype=self.dtype,
      kernel_init=kernel_init,
      name='patches',
    )
    first = self.param('class_embedding', init, (self.width,))
    tokens = (size // patch) ** 2
    positions = self.param('position_embedding', init, (1 + tokens, self.width))
    with jax.default_matmul_precision('highest'):
      x = patches(images).reshape(-1, tokens, self.width)
    first = jnp.broadcast_to(first, (x.shape[0], 1, self.width))
    x = jnp.concatenate([first.astype(self.dtype), x], axis=1)
    x = x + positions[None].astype(self.dtype)
    x = norm(self.norm_eps, self.dtype, 'norm_in')(x)
    x, _ = blocks(self, x, causal=False)
    pooled = norm(self.norm_eps, jnp.float32, 'norm_out')(x[:, 0])
    return VisionFeatures(pooled, project(self, pooled))


class Clip(nn.Module):
  """Both towers and the temperature: `Clip(ClipText(), ClipVision())`.

  For one tower, `network.text.apply({'params': params['text']}, tokens)`, and
  likewise `vision`.
  """

  text: ClipText
  vision: ClipVision

  @nn.compact
  def __call__(
    self, images: Array, tokens: Array
  ) -> tuple[Array, VisionFeatures, TextFeatures]:
    """Compares every image with every text.

    Args:
      images: [I, image_size, image_size, 3], as in `ClipVision`.
      tokens: [T, L], as in `ClipText`.

    Returns:
      Logits [I, T], exp(logit_scale) times the cosines, and the features.

    Raises:
      ValueError: The towers project to different spaces, or not at all.
    """
    dims = self.vision.projection_dim, self.text.projection_dim
    if dims[0] is None or dims[0] != dims[1]:
      raise ValueError(
        'both towers must have the same projection_dim, got '
        f'{dims[0]} for images and {dims[1]} for text'
      )
    seen, read = self.vision(images), self.text(tokens)
    # CLIP starts at a temperature of 0.07.
    start = nn.initializers.constant(math.log(1 / 0.07))
    scale = jnp.exp(self.param('logit_scale', start, ()))
    unit = lambda x: x / jnp.linalg.norm(x, axis=-1, keepdims=True)
    with jax.default_matmul_precision('highest'):
      cosines = unit(seen.embedding) @ unit(read.embedding).T
    return scale * cosines, seen, read
