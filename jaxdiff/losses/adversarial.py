"""Adversarial losses of an autoencoder: hinge, adaptive weight, start.

A discriminator gives each patch of an image a logit, high for data. The step of
an adversarial training has two gradients,

  autoencoder     loss(x) + w start(step) generator(D(x_hat))
  discriminator   start(step) hinge(D(x), D(x_hat)),

where w makes both terms of the first equally steep at the decoder's last layer.
Both networks are trained by one step: the loss of an example is loss + start
hinge, its metric 'adversarial' is generator, and `balance` adds the gradients.

Source: Esser et al. 2021 (arXiv:2012.09841), equations 5 to 7.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array

from jaxdiff.checks import number, whole
from jaxdiff.losses.regression import DISCRIMINATOR

MAX_WEIGHT = 1e4

Params = Any
Discriminator = Callable[[Params, Array], Array]  # (params, images) -> logits
# (params, x, x_hat, step [B]) -> generator [B], start hinge [B]
Adversary = Callable[[Params, Array, Array, Array], tuple[Array, Array]]


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


def adversary(discriminator: Discriminator, first: int = 0) -> Adversary:
  """Builds both terms of reconstructions, each for its own network alone.

  Args:
    discriminator: Its parameters are params['discriminator'].
    first: The step from which on it is trained.
  """
  whole('first', first, 0)

  def terms(
    params: Params, x: Array, x_hat: Array, step: Array
  ) -> tuple[Array, Array]:
    own = params[DISCRIMINATOR]
    fake = discriminator(own, jax.lax.stop_gradient(x_hat))
    against = hinge(discriminator(own, x), fake)
    deceive = generator(discriminator(jax.lax.stop_gradient(own), x_hat))
    return deceive, start(step, first) * against

  return terms


def balance(scale: float = 1.0, first: int = 0) -> Callable[..., Any]:
  """Builds `balance` of `training.make_train_step`, of a decoder 'decoder'.

  Args:
    scale: Of the adaptive weight.
    first: The step from which on the term counts.
  """
  last = lambda grads: grads['decoder']['conv_out']['kernel']

  def combine(grads: Params, others: Params, step: Array) -> tuple[Any, Any]:
    weight = adaptive_weight(last(grads), last(others), scale)
    weight = start(step, first) * weight
    total = jax.tree.map(lambda x, y: x + weight * y, grads, others)
    return total, {'adversarial_weight': weight}

  return combine


def _mean(x: Array) -> Array:
  return jnp.mean(x, axis=range(1, x.ndim))
