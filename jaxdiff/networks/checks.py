"""Checks of the settings and inputs of networks; all raise ValueError."""

from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp
from jax import Array


def check_settings(net: nn.Module, *sizes: str) -> None:
  """Checks that sizes are at least 1, and the type of computation and dropout.

  Args:
    net: With `dtype`, perhaps with `dropout`.
    *sizes: Names of attributes that are a size, several, or None.
  """
  for name in sizes:
    value = getattr(net, name)
    least = min(value) if isinstance(value, Sequence) else value
    if least is not None and least < 1:
      raise ValueError(f'{name} must be at least 1, got {least}')
  if jnp.dtype(net.dtype) not in (jnp.float32, jnp.bfloat16):
    raise ValueError(f'dtype must be float32 or bfloat16, got {net.dtype}')
  dropout = getattr(net, 'dropout', 0.0)
  if not 0 <= dropout < 1:
    raise ValueError(f'dropout must be in [0, 1), got {dropout}')


def check_image(xt: Array, t: Array, patch_size: int) -> None:
  """Checks that xt is [B, H, W, C], tiled by patches, and t [B]."""
  if xt.ndim != 4 or t.shape != xt.shape[:1]:
    raise ValueError(
      'xt must be [B, H, W, C] and t [B], got shapes '
      f'{tuple(xt.shape)} and {tuple(t.shape)}'
    )
  _, height, width, _ = xt.shape
  if height % patch_size or width % patch_size:
    raise ValueError(
      f'patch_size must divide the height and width of a {height}x{width} '
      f'image, got {patch_size}'
    )
