"""An image network for pixels that are categories: integers to logits.

Value k of K becomes 2 k / (K - 1) - 1, so that the network sees an image. MASK,
where there is one, becomes 0, and a further channel for each of the image's
tells where it is. The output is K' logits a value.

Source: D3PM (Austin et al. 2021) appendix B.2.1, without its logistic output.
"""

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from jaxdiff.networks.embedding import Cond


class PixelCategories(nn.Module):
  """An image network with categories for inputs and outputs.

  Attributes:
    denoiser: The image network; its `out_channels` is C times `num_logits`.
    num_categories: K, of the data.
    num_logits: K', K + 1 with MASK.
  """

  denoiser: nn.Module
  num_categories: int
  num_logits: int

  def __call__(
    self, xt: Array, t: Array, cond: Cond | None = None, *, train: bool = False
  ) -> Array:
    """Computes logits [B, H, W, C, K'] from integers xt [B, H, W, C], t [B]."""
    x = 2.0 * xt.astype(jnp.float32) / max(self.num_categories - 1, 1) - 1.0
    if self.num_logits > self.num_categories:
      masked = xt == self.num_categories
      x = jnp.where(masked, 0.0, x)
      x = jnp.concatenate([x, masked.astype(x.dtype)], axis=-1)
    y = self.denoiser(x, t, cond, train=train)
    return y.reshape(*xt.shape, self.num_logits)
