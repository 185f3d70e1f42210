"""Losses of autoencoders: the ELBO of a VAE, the codebook loss of a VQ-VAE, and
the perceptual error.

The negative ELBO of an image x with D numbers, in nats for each of them, is

  (-log p(x | z) + kl_weight KL(q(z | x) || N(0, I))) / D,  z ~ q(z | x),

at kl_weight = 1; another weight is that of a beta-VAE (Higgins et al. 2017). An
L1 error is the log likelihood of a Laplace distribution, an L2 error that of a
normal one, and the usual sums of errors differ from the ELBO by the scale of
that distribution alone.

Source: Kingma and Welling 2014 (arXiv:1312.6114), equations 3 and 7; Rombach et
al. 2022 (arXiv:2112.10752), appendix G.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxdiff.checks import number
from jaxdiff.losses.adversarial import Adversary
from jaxdiff.losses.regression import Batch, Loss, LossValue
from jaxdiff.normal import kl_to_standard

Params = object
Moments = tuple[
  Array, Array
]  # mean, log variance; -inf where there is no noise
LogLikelihood = Callable[[Array, Array], Array]  # (x, x_hat) -> nats, [...]
Error = Callable[[Array, Array], Array]  # (x, x_hat) [B, ...] -> [B]
Features = Callable[[Array], Sequence[Array]]  # images -> maps [B, h, w, C]


class Autoencoder(NamedTuple):
  """A variational autoencoder as functions.

  moments: (params, x [B, ...]) -> Moments.
  decode: (params, z) -> x_hat [B, ...].
  """

  moments: Callable[[Params, Array], Moments]
  decode: Callable[[Params, Array], Array]


def laplace(scale: float = 1.0) -> LogLikelihood:
  """Builds log p(x | x_hat) = -|x - x_hat| / scale - log(2 scale)."""
  number('scale', scale, '(0, inf)')
  constant = jnp.log(2.0 * scale)
  return lambda x, x_hat: -jnp.abs(x - x_hat) / scale - constant


def gaussian(scale: float = 1.0) -> LogLikelihood:
  """Builds log N(x; x_hat, scale^2)."""
  number('scale', scale, '(0, inf)')
  return lambda x, x_hat: jax.scipy.stats.norm.logpdf(x, x_hat, scale)


def draw_latents(keys: Array, moments: Moments) -> Array:
  """Draws z = mean + exp(log_variance / 2) eps, one example for each key."""
  mean, log_variance = moments
  normal = lambda key: jax.random.normal(key, mean.shape[1:], mean.dtype)
  return mean + jnp.exp(0.5 * log_variance) * jax.vmap(normal)(keys)


def elbo(
  autoencoder: Autoencoder,
  log_likelihood: LogLikelihood,
  kl_weight: float = 1.0,
  perceptual: Error | None = None,
  adversary: Adversary | None = None,
) -> Loss:
  """Builds the negative ELBO with one draw of z, in nats for each number.

  Args:
    autoencoder: Its functions.
    log_likelihood: `laplace(..)` or `gaussian(..)`.
    kl_weight: Of the KL divergence; 1 is the ELBO, 0 an autoencoder with noise.
    perceptual: Added to the loss of each example, such as `perceptual_error`.
    adversary: Its loss is added, and its term is the metric 'adversarial'. The
      batch must have the 'step' [B] of the training.

  Returns:
    The loss. metrics: 'reconstruction', -log p(x | z) / D, 'kl', KL / D,
    'error', the mean |x - x_hat|, and those of what is added.
  """
  number('kl_weight', kl_weight, '[0, inf)')

  def loss(params: Params, keys: Array, batch: Batch) -> LossValue:
    x = batch['x0']
    moments = autoencoder.moments(params, x)
    x_hat = autoencoder.decode(params, draw_latents(keys, moments))
    _check(x, x_hat)
    reconstruction = -_mean(log_likelihood(x, x_hat))
    kl = _sum(kl_to_standard(*moments)) / x[0].size
    metrics = {
      'reconstruction': reconstruction,
      'kl': kl,
      'error': _mean(jnp.abs(x - x_hat)),
    }
    total = reconstruction + kl_weight * kl
    own = total, metrics
    return _with_more(own, params, batch, x_hat, perceptual, adversary)

  return loss


def vector_quantized(
  reconstruct: Callable[[Params, Array], tuple[Array, Array, Array]],
  log_likelihood: LogLikelihood,
  commitment: float = 0.25,
  perceptual: Error | None = None,
  adversary: Adversary | None = None,
) -> Loss:
  """Builds -log p(x | codes) / D + codebook error + commitment |z - code|^2.

  Args:
    reconstruct: (params, x [B, ...]) -> x_hat, and the two errors [B]: mean
      |code - stop_gradient(z)|^2 and mean |z - stop_gradient(code)|^2.
    log_likelihood: As in `elbo`.
    commitment: Its weight, beta.
    perceptual, adversary: As in `elbo`.

  Returns:
    The loss. metrics: 'reconstruction' and 'error' as in `elbo`, 'commitment'.

  Source: van den Oord et al. 2017 (arXiv:1711.00937), equation 3.
  """
  number('commitment', commitment, '[0, inf)')

  def loss(params: Params, keys: Array, batch: Batch) -> LossValue:
    del keys
    x = batch['x0']
    x_hat, codebook_error, committed = reconstruct(params, x)
    _check(x, x_hat)
    reconstruction = -_mean(log_likelihood(x, x_hat))
    metrics = {
      'reconstruction': reconstruction,
      'commitment': committed,
      'error': _mean(jnp.abs(x - x_hat)),
    }
    total = reconstruction + codebook_error + commitment * committed
    own = total, metrics
    return _with_more(own, params, batch, x_hat, perceptual, adversary)

  return loss


def perceptual_error(
  features: Features, weights: Sequence[Array] | None = None
) -> Error:
  """Builds the distance of two images in the feature maps of a network.

  Each position of a map is scaled to unit length over its channels; squared
  differences are summed over channels, averaged over positions, and summed over
  maps.

  Args:
    features: Images [B, H, W, C] to feature maps. It is not trained.
    weights: Of the channels of each map, [C] each; None: all are 1. With the
      published ones this is LPIPS.

  Source: Zhang et al. 2018 (arXiv:1801.03924), equation 1.
  """

  def unit(x: Array) -> Array:
    # As published: 1e-10 is added to the length, here under the root, whose
    # derivative at zero is infinite.
    square = jnp.sum(jnp.square(x), axis=-1, keepdims=True)
    return x * jax.lax.rsqrt(square + 1e-20)

  def error(x: Array, x_hat: Array) -> Array:
    total = jnp.zeros(len(x))
    pairs = zip(features(x), features(x_hat), strict=True)
    for i, (theirs, ours) in enumerate(pairs):
      square = jnp.square(unit(theirs) - unit(ours))
      if weights is not None:
        square = square * weights[i].reshape((1,) * (square.ndim - 1) + (-1,))
      total = total + _mean(jnp.sum(square, axis=-1))
    return total

  return error


def _with_more(
  own: LossValue,
  params: Params,
  batch: Batch,
  x_hat: Array,
  perceptual: Error | None,
  adversary: Adversary | None,
) -> LossValue:
  total, metrics = own
  x = batch['x0']
  if perceptual is not None:
    error = perceptual(x, x_hat)
    total, metrics = total + error, {**metrics, 'perceptual': error}
  if adversary is not None:
    deceive, against = adversary(params, x, x_hat, batch['step'])
    both = {'adversarial': deceive, 'discriminator': against}
    total, metrics = total + against, {**metrics, **both}
  return total, metrics


def _check(x: Array, x_hat: Array) -> None:
  if x.shape != x_hat.shape:  # unequal shapes would broadcast
    raise ValueError(
      f'the decoder returns {tuple(x_hat.shape)} for data {tuple(x.shape)}'
    )


def _mean(x: Array) -> Array:
  return jnp.mean(x, axis=range(1, x.ndim))


def _sum(x: Array) -> Array:
  return jnp.sum(x, axis=range(1, x.ndim))
