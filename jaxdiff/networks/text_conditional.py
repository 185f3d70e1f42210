"""A text encoder and a denoiser as one network, trained as one."""

from collections.abc import Mapping

import flax.linen as nn
import jax

from jaxdiff.networks.embedding import ENCODED


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
    self,
    xt: jax.Array,
    t: jax.Array,
    cond: Mapping[str, jax.Array] | None = None,
    *,
    train: bool = False,
  ) -> jax.Array:
    """Applies the network.

    Args:
      xt: noisy images [B, H, W, C].
      t: times in [0, 1], [B].
      cond: {'tokens': integers [B, L]}, or what `encode` made of them, with
        the denoiser's other conditions. Tokens, for `init` to make the
        parameters of both.
      train: handed to the denoiser.

    Returns:
      What the denoiser returns.

    Raises:
      ValueError: if `cond` has neither tokens nor an encoded text, or both;
        and what the two networks raise.
    """
    cond = {} if cond is None else dict(cond)
    encoded = sorted(set(cond) & set(ENCODED))
    if 'tokens' in cond and encoded:
      raise ValueError(
        f"cond must have 'tokens' or what was encoded, got both: {encoded} "
        'beside tokens'
      )
    if 'tokens' in cond:
      cond |= self.encode(cond.pop('tokens'))
    elif not encoded:
      raise ValueError(
        "cond must have 'tokens', or the 'text', 'pooled' and 'mask' that "
        f'encode makes of them, got {sorted(cond)}'
      )
    return self.denoiser(xt, t, cond, train=train)

  def encode(self, tokens: jax.Array) -> dict[str, jax.Array]:
    """The conditions that stand for tokens [B, L]."""
    return self.encoder(tokens)
