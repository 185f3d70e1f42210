"""A text encoder and a denoiser as one network, trained as one."""

import flax.linen as nn
from jax import Array

from jaxdiff.networks.embedding import ENCODED, Cond


class TextConditional(nn.Module):
  """denoiser(xt, t, encoder(tokens)).

  A sampler evaluates the denoiser many times for one text, and encodes it
  once: `cond = network.apply(variables, tokens, method='encode')`.

  Attributes:
    encoder: tokens -> {'text', 'pooled', 'mask'}, as `TextEncoder`.
    denoiser: (xt, t, cond, train=...) -> prediction, as `UNet` and `DiT`,
      built for 'text', for 'pooled', or for both.
  """

  encoder: nn.Module
  denoiser: nn.Module

  def __call__(
    self, xt: Array, t: Array, cond: Cond | None = None, *, train: bool = False
  ) -> Array:
    """Applies the network.

    Args:
      xt: Noisy images [B, H, W, C].
      t: Times in [0, 1], [B].
      cond: {'tokens': integers [B, L]}, or the output of `encode`, with the
        denoiser's other conditions. `init` needs tokens, to make the parameters
        of both networks.
      train: Passed to the denoiser.

    Returns:
      The output of the denoiser.

    Raises:
      ValueError: `cond` has neither tokens nor an encoded text, or both; or a
        network raises it.
    """
    cond = {} if cond is None else dict(cond)
    encoded = sorted(set(cond) & set(ENCODED))
    if 'tokens' in cond and encoded:
      raise ValueError(
        f"cond must have 'tokens' or an encoded text, got both: {encoded} "
        'beside tokens'
      )
    if 'tokens' in cond:
      cond |= self.encode(cond.pop('tokens'))
    elif not encoded:
      raise ValueError(
        "cond must have 'tokens', or 'text', 'pooled' and 'mask' from encode, "
        f'got {sorted(cond)}'
      )
    return self.denoiser(xt, t, cond, train=train)

  def encode(self, tokens: Array) -> dict[str, Array]:
    """Encodes tokens [B, L] to conditions of the denoiser."""
    return self.encoder(tokens)
