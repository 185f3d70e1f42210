"""Codebook of a vector-quantised autoencoder (VQ-VAE): the nearest code.

A latent is replaced by the nearest of K learned vectors. The gradient passes
straight through: that of a code is given to the latent it stands for.

Source: van den Oord et al. 2017 (arXiv:1711.00937), sections 3.1 and 3.2.
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array


class Quantized(NamedTuple):
  """Codes of latents z [B, h, w, D], and the two errors of the codebook loss.

  codebook_error: mean |code - stop_gradient(z)|^2, which moves codes.
  commitment: mean |z - stop_gradient(code)|^2, which moves the encoder.
  """

  codes: Array  # [B, h, w, D], float32; gradients pass straight to z
  indices: Array  # [B, h, w], int32
  codebook_error: Array  # [B]
  commitment: Array  # [B]


class Usage(NamedTuple):
  """Usage of a codebook by some indices."""

  fraction: Array  # of the codes that occur, in (0, 1]
  perplexity: Array  # exp of the entropy of their frequencies, in [1, K]


class Codebook(nn.Module):
  """K codes of D numbers, which start as U(-1 / K, 1 / K).

  Attributes:
    num_codes: K.
    dim: D.
  """

  num_codes: int
  dim: int

  def setup(self) -> None:
    if self.num_codes < 1:
      raise ValueError(f'num_codes must be at least 1, got {self.num_codes}')
    bound = 1 / self.num_codes
    self.embedding = self.param(
      'embedding',
      lambda key, shape: jax.random.uniform(key, shape, minval=-1) * bound,
      (self.num_codes, self.dim),
    )

  def __call__(self, latents: Array) -> Quantized:
    """Finds the nearest codes of latents [B, h, w, D]."""
    latents = latents.astype(jnp.float32)
    # |z - e|^2 less |z|^2, which is the same for all codes. The nearest must
    # not depend on the device.
    product = jnp.einsum(
      '...d,kd->...k', latents, self.embedding, precision='highest'
    )
    lengths = jnp.sum(jnp.square(self.embedding), axis=-1)
    distances = lengths.reshape((1,) * (latents.ndim - 1) + (-1,)) - 2 * product
    indices = jnp.argmin(distances, axis=-1).astype(jnp.int32)
    codes = self.lookup(indices)
    error = lambda x, y: jnp.mean(
      jnp.square(x - jax.lax.stop_gradient(y)), axis=range(1, x.ndim)
    )
    through = latents + jax.lax.stop_gradient(codes - latents)
    return Quantized(
      through, indices, error(codes, latents), error(latents, codes)
    )

  def lookup(self, indices: Array) -> Array:
    """Returns the codes [..., D] of indices [...]."""
    return jnp.take(self.embedding, indices, axis=0)


def usage(indices: Array, num_codes: int) -> Usage:
  """Computes the usage of a codebook over all of some indices."""
  counts = jnp.bincount(indices.ravel(), length=num_codes)
  return usage_of_counts(counts)


def usage_of_counts(counts: Array) -> Usage:
  """Computes the usage of a codebook from the occurrences [K] of its codes."""
  probs = counts / jnp.sum(counts)
  return Usage(
    jnp.mean(counts > 0), jnp.exp(jnp.sum(jax.scipy.special.entr(probs)))
  )
