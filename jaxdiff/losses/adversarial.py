"""Adversarial losses of an autoencoder: hinge, adaptive weight, start.

A discriminator gives each patch of an image a logit, high for data. The step of
an adversarial training has two gradients,

  autoencoder     loss(x) + w start(step) generator(D(x_hat))
  discriminator   start(step) hinge(D(x), D(x_hat)),

where w makes both terms of the first equally steep at the decoder's last layer.

Source: Esser et al. 2021 (arXiv:2012.09841), equations 5 to 7.
"""

import jax
import jax.numpy as jnp
import optax
from jax import Array

from jaxdiff.checks import number

MAX_WEIGHT = 1e4


def hinge(real: Array, fake: Array) -> Array:
  """Computes (mean max(0, 1 - real) + mean max(0, 1 + fake)) / 2. [B]

  Args:
    real: Logits [B, ...] of data.
    fake: Logits [B, ...] of reconstructions.

  Source: Lim and Ye 2017 (arXiv:1705.02894).
  """
  return 0.5 * (_mean(jax.nn.relu(1 - real)) + _mean(jax.nn.relu(1 + fake)))


def generator(fake: Array) -> Array:
  """Computes -mean logit of reconstructions. [B]"""
  return -_mean(fake)


def adaptive_weight(
  loss_gradient: object, adversarial_gradient: object, scale: float = 1.0
) -> Array:
  """Computes scale |loss gradient| / |adversarial gradient|, at most 10^4.

  Args:
    loss_gradient: Of the mean loss without the adversarial term, a tree with
      respect to the decoder's last layer.
    adversarial_gradient: Of the mean `generator`, likewise.
    scale: The fraction of the adversarial term.

  Returns:
    A scalar, through which no gradient passes.
  """
  number('scale', scale, '[0, inf)')
  norms = map(optax.global_norm, (loss_gradient, adversarial_gradient))
  steep, adversarial = norms
  ratio = jnp.clip(steep / (adversarial + 1e-4), 0.0, MAX_WEIGHT)
  return scale * jax.lax.stop_gradient(ratio)


def start(step: Array, first: int) -> Array:
  """Computes 1.0 from step `first` on, 0.0 before."""
  number('first', first, '[0, inf)')
  return jnp.asarray(step >= first, jnp.float32)


def _mean(x: Array) -> Array:
  return jnp.mean(x, axis=range(1, x.ndim))
