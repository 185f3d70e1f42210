"""DINOv2: a vision transformer of patches, with or without registers.

An image is cut into patches, which follow a learned class token and, if there
are some, learned register tokens. Every block is

  x <- x + g_0 attention(norm(x))
  x <- x + g_1 W_1 gelu(W_0 norm(x)),

with learned scales g of each channel. The positions are those of a square of
`image_size`, resampled by a cubic to the patches of the image. Outputs are
float32, and products have full precision on every device.

Source: Oquab et al. 2023 (arXiv:2304.07193); Darcet et al. 2023
(arXiv:2309.16588), registers; Touvron et al. 2021 (arXiv:2103.17239), section
2, the scales.
"""

from functools import partial
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import DTypeLike

from jaxdiff.networks import checks
from jaxdiff.networks.layers import kernel_init, layer_norm


class DinoFeatures(NamedTuple):
  """Features of B images after the last norm; float32.

  Attributes:
    pooled: [B, width], of the class token.
    patches: [B, H / patch_size, W / patch_size, width].
  """

  pooled: Array
  patches: Array


class DinoBlock(nn.Module):
  """One block of the module's equations: [B, L, C], both ways."""

  num_heads: int
  mlp_width: int
  norm_eps: float
  dtype: DTypeLike

  @nn.compact
  def __call__(self, x: Array) -> Array:
    width = x.shape[-1]
    heads = (*x.shape[:2], self.num_heads, width // self.num_heads)
    dense = partial(nn.Dense, dtype=self.dtype, kernel_init=kernel_init)
    norm = partial(layer_norm, self.norm_eps, self.dtype)
    ones = nn.initializers.ones
    g_0, g_1 = (self.param(f'scale_{i}', ones, (width,)) for i in range(2))
    h = norm('norm_0')(x)
    q, k, v = (dense(width, name=n)(h).reshape(heads) for n in 'qkv')
    h = jax.nn.dot_product_attention(q, k, v).reshape(x.shape)
    x = x + g_0.astype(self.dtype)[None, None] * dense(width, name='out')(h)
    h = dense(self.mlp_width, name='mlp_0')(norm('norm_1')(x))
    h = dense(width, name='mlp_1')(nn.gelu(h, approximate=False))
    return x + g_1.astype(self.dtype)[None, None] * h


class DinoV2(nn.Module):
  """Images to `DinoFeatures`; the defaults are those of ViT-S/14.

  Attributes:
    image_size: Height and width of the images that the positions are of.
    patch_size: Height and width of a patch, one token.
    width: Of a token.
    num_layers: Number of blocks.
    num_heads: Attention heads; must divide `width`.
    mlp_width: Hidden width of the MLP of a block.
    num_registers: Number of register tokens.
    offset: Added to the new number of positions a side, which gives the scale
      of the resampling. It is 0.1 in the original code without registers, and
      0 with them and in transformers.
    norm_eps: Added to the variance in norms.
    dtype: Of computation, float32 or bfloat16.
  """

  image_size: int = 518
  patch_size: int = 14
  width: int = 384
  num_layers: int = 12
  num_heads: int = 6
  mlp_width: int = 1536
  num_registers: int = 0
  offset: float = 0.0
  norm_eps: float = 1e-6
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(self, images: Array) -> DinoFeatures:
    """Applies the network.

    Args:
      images: [B, H, W, 3], H and W multiples of `patch_size`, normalised by
        ImageNet's mean and deviation of each channel.

    Raises:
      ValueError: Settings are out of range; images are of another shape.
    """
    _check(self, images)
    init, p, width = nn.initializers.normal(0.02), self.patch_size, self.width
    patches = nn.Conv(
      width,
      (p, p),
      (p, p),
      'VALID',
      dtype=self.dtype,
      kernel_init=kernel_init,
      name='patches',
    )
    side = self.image_size // p
    first = self.param('class_token', init, (width,))
    table = self.param('position_embedding', init, (1 + side**2, width))
    with jax.default_matmul_precision('highest'):
      x = patches(images)
      grid = x.shape[1:3]
      places = table[1:].reshape(side, side, width)
      if grid != (side, side):
        antialias = self.num_registers > 0
        for axis, size in enumerate(grid):
          cubic = _cubic(side, size, size + self.offset, antialias)
          places = jnp.moveaxis(
            jnp.tensordot(cubic, places, (1, axis)), 0, axis
          )
      x = (x + places[None].astype(self.dtype)).reshape(len(x), -1, width)
      tokens = (first + table[0])[None]
      if self.num_registers:
        shape = (self.num_registers, width)
        registers = self.param('register_tokens', init, shape)
        tokens = jnp.concatenate([tokens, registers])
      tokens = jnp.broadcast_to(
        tokens.astype(self.dtype), (len(x), *tokens.shape)
      )
      x = jnp.concatenate([tokens, x], axis=1)
      for i in range(self.num_layers):
        x = DinoBlock(
          self.num_heads,
          self.mlp_width,
          self.norm_eps,
          self.dtype,
          name=f'block_{i}',
        )(x)
    x = layer_norm(self.norm_eps, jnp.float32, 'norm_out')(x)
    last = x[:, 1 + self.num_registers :].reshape(len(x), *grid, width)
    return DinoFeatures(x[:, 0], last)


def _cubic(old: int, new: int, scaled: float, antialias: bool) -> np.ndarray:
  """Builds the matrix [new, old] of cubic resampling between pixel centres.

  As torch: the parameter of the cubic is -3/4, and with antialiasing -1/2; a
  position outside is the nearest inside, and with antialiasing has no weight.

  Args:
    old: Number of positions.
    new: Number of positions afterwards.
    scaled: new / the scale of the resampling.
    antialias: Whether the cubic is widened where positions become fewer.
  """
  step = old / scaled
  centre = (np.arange(new) + 0.5) * step - 0.5
  wide = max(step, 1.0) if antialias else 1.0
  reach = int(np.ceil(2 * wide)) + 1
  a = -0.5 if antialias else -0.75
  matrix = np.zeros((new, old))
  for row, c in enumerate(centre):
    places = np.arange(int(np.floor(c)) - reach, int(np.floor(c)) + reach + 1)
    x = np.abs(places - c) / wide
    near = ((a + 2) * x - (a + 3)) * x**2 + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    weight = np.where(x < 1, near, np.where(x < 2, far, 0.0))
    if antialias:
      weight = np.where((places >= 0) & (places < old), weight, 0.0)
    np.add.at(matrix[row], places.clip(0, old - 1), weight / weight.sum())
  return matrix.astype(np.float32)


def _check(net: DinoV2, images: Array) -> None:
  sizes = 'image_size', 'patch_size', 'width', 'num_heads', 'mlp_width'
  checks.check_settings(net, *sizes, 'num_layers')
  p = net.patch_size
  if net.image_size % p or net.width % net.num_heads:
    raise ValueError(
      f'patch_size must divide image_size {net.image_size} and num_heads width '
      f'{net.width}, got {p} and {net.num_heads}'
    )
  height, width = (*images.shape, 0, 0, 0)[1:3]
  if images.ndim != 4 or images.shape[3] != 3 or height % p or width % p:
    raise ValueError(
      f'images must be [B, H, W, 3] with sides that {p} divides, got shape '
      f'{tuple(images.shape)}'
    )
