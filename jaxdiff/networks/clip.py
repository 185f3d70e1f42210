"""CLIP: a text tower and an image tower into one space.

Both are transformers of pre-norm blocks,

  x <- x + attention(norm(x)),    x <- x + W_1 act(W_0 norm(x)),

norms over channels with eps 1e-5. Text attends causally and is read off at
the end-of-text token; an image is cut into patches, a learned class token goes
first, and that is what is read off. Either is projected, and

  logits[i, j] = exp(logit_scale) cos(image_i, text_j).

Outputs are float32 whatever the type of computation, and float32 products are
of full precision on every device.

Source: Radford et al. 2021 (arXiv:2103.00020), section 2.
"""

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from jaxdiff.networks import layers

# OpenAI's weights take quick_gelu, LAION's the exact gelu: with the other one
# a network still works, and is wrong by a few per cent.
ACTIVATIONS: Mapping[str, Callable[[jax.Array], jax.Array]] = {
  'quick_gelu': lambda x: x * nn.sigmoid(1.702 * x),
  'gelu': partial(nn.gelu, approximate=False),
}


class TextFeatures(NamedTuple):
  """What the text tower makes of B texts of L tokens; float32.

  Attributes:
    sequence: [B, L, width], after the last norm: a condition token by token.
    pooled: [B, width], the sequence at the end of the text.
    embedding: [B, projection_dim], pooled and projected, not normalised; None
      for a network without projection.
  """

  sequence: jax.Array
  pooled: jax.Array
  embedding: jax.Array | None


class VisionFeatures(NamedTuple):
  """What the image tower makes of B images; float32.

  Attributes:
    pooled: [B, width], the class token after the last norm.
    embedding: [B, projection_dim], pooled and projected, not normalised; None
      for a network without projection.
  """

  pooled: jax.Array
  embedding: jax.Array | None


class ClipText(nn.Module):
  """Tokens to `TextFeatures`; the defaults are those of ViT-B/32.

  Attributes:
    width: of a token.
    num_layers: blocks.
    num_heads: of attention; must divide `width`.
    mlp_width: inside the two-layer perceptron of a block.
    projection_dim: of the common space; None for no projection.
    vocab_size: tokens.
    max_length: positions.
    activation: 'quick_gelu' or 'gelu'.
    eos_id: a text ends at the first of these; None: at the largest id it has,
      OpenAI's rule, which its own vocabulary makes the same thing.
    norm_eps: added to the variance in norms.
    dtype: of computation, float32 or bfloat16. Parameters, softmax, the last
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
  def __call__(self, tokens: jax.Array) -> TextFeatures:
    """Applies the tower.

    Args:
      tokens: [B, L] integers, L <= max_length, each text with its start and
        end token. What follows the end changes nothing before it. An id
        outside the vocabulary gives nan.

    Returns:
      The features of each text.

    Raises:
      ValueError: settings that make no network; tokens of another shape, too
        many, or not integers.
    """
    _check(self)
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
    positions = self.param(
      'position_embedding', init, (self.max_length, self.width)
    )
    positions = positions[: tokens.shape[1]].astype(self.dtype)
    x = _blocks(self, embed(tokens) + positions[None], causal=True)
    x = _norm(self.norm_eps, jnp.float32, 'norm_out')(x)
    ids = tokens if self.eos_id is None else tokens == self.eos_id
    end = jnp.argmax(ids, axis=-1)  # the first, where several are largest
    pooled = jnp.take_along_axis(x, end[:, None, None], axis=1)[:, 0]
    return TextFeatures(x, pooled, _project(self, pooled))


class ClipVision(nn.Module):
  """Images to `VisionFeatures`; the defaults are those of ViT-B/32.

  Attributes:
    image_size: height and width of an image.
    patch_size: of a patch, which is one token; must divide `image_size`.

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
  def __call__(self, images: jax.Array) -> VisionFeatures:
    """Applies the tower.

    Args:
      images: [B, image_size, image_size, 3], resized, cropped, and normalised
        with CLIP's mean and deviation of each channel.

    Returns:
      The features of each image.

    Raises:
      ValueError: settings that make no network; images of another shape.
    """
    _check(self)
    size, patch = self.image_size, self.patch_size
    if patch < 1 or size % patch:
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
      kernel_init=layers.kernel_init,
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
    x = _norm(self.norm_eps, self.dtype, 'norm_in')(x)
    x = _blocks(self, x, causal=False)
    pooled = _norm(self.norm_eps, jnp.float32, 'norm_out')(x[:, 0])
    return VisionFeatures(pooled, _project(self, pooled))


class Clip(nn.Module):
  """Both towers and the temperature: `Clip(ClipText(), ClipVision())`.

  One tower alone is `network.text.apply({'params': params['text']}, tokens)`,
  and likewise `vision`.
  """

  text: ClipText
  vision: ClipVision

  @nn.compact
  def __call__(
    self, images: jax.Array, tokens: jax.Array
  ) -> tuple[jax.Array, VisionFeatures, TextFeatures]:
    """Compares every image with every text.

    Args:
      images: [I, image_size, image_size, 3], as `ClipVision` takes them.
      tokens: [T, L], as `ClipText` takes them.

    Returns:
      Logits [I, T], exp(logit_scale) times the cosines, and what the towers
      made of either.

    Raises:
      ValueError: towers that project to different spaces, or not at all.
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


class Block(nn.Module):
  """One pre-norm block of the module's docstring: [B, L, C], both ways."""

  num_heads: int
  mlp_width: int
  activation: str
  causal: bool
  norm_eps: float
  dtype: DTypeLike

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    width = x.shape[-1]
    heads = (*x.shape[:2], self.num_heads, width // self.num_heads)
    dense = partial(nn.Dense, dtype=self.dtype, kernel_init=layers.kernel_init)
    h = _norm(self.norm_eps, self.dtype, 'norm_0')(x)
    q, k, v = (dense(width, name=n)(h).reshape(heads) for n in 'qkv')
    h = jax.nn.dot_product_attention(q, k, v, is_causal=self.causal)
    x = x + dense(width, name='out')(h.reshape(x.shape))
    h = _norm(self.norm_eps, self.dtype, 'norm_1')(x)
    h = ACTIVATIONS[self.activation](dense(self.mlp_width, name='mlp_0')(h))
    return x + dense(width, name='mlp_1')(h)


def _blocks(tower: ClipText | ClipVision, x: jax.Array, causal: bool):
  with jax.default_matmul_precision('highest'):
    for i in range(tower.num_layers):
      x = Block(
        tower.num_heads,
        tower.mlp_width,
        tower.activation,
        causal,
        tower.norm_eps,
        tower.dtype,
        name=f'block_{i}',
      )(x)
  return x


def _norm(eps: float, dtype: DTypeLike, name: str) -> nn.LayerNorm:
  # E[x^2] - E[x]^2 loses its digits where the mean is far from zero.
  return nn.LayerNorm(eps, dtype=dtype, use_fast_variance=False, name=name)


def _project(
  tower: ClipText | ClipVision, pooled: jax.Array
) -> jax.Array | None:
  if tower.projection_dim is None:
    return None
  return nn.Dense(
    tower.projection_dim,
    use_bias=False,
    kernel_init=layers.kernel_init,
    precision='highest',
    name='projection',
  )(pooled)


def _check(tower: ClipText | ClipVision) -> None:
  """Raises ValueError for settings that make no network."""
  if tower.activation not in ACTIVATIONS:
    raise ValueError(
      f'activation must be one of {sorted(ACTIVATIONS)}, got '
      f'{tower.activation!r}'
    )
  if tower.num_heads < 1 or tower.width % tower.num_heads:
    raise ValueError(
      f'num_heads must divide width {tower.width}, got {tower.num_heads}'
    )
  if jnp.dtype(tower.dtype) not in (jnp.float32, jnp.bfloat16):
    raise ValueError(f'dtype must be float32 or bfloat16, got {tower.dtype}')
