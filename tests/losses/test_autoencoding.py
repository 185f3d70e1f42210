"""Losses of autoencoders against exact answers: closed forms, a linear VAE."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from exact import keys

from jaxdiff import normal
from jaxdiff.losses import adversarial, autoencoding
from jaxdiff.losses.autoencoding import Autoencoder
from jaxdiff.networks.autoencoder import Moments
from jaxdiff.networks.codebook import Codebook
from jaxdiff.networks.discriminator import PatchDiscriminator

DIM, LATENT, NOISE = 4, 2, 0.5
VARIANCES = np.array([3.0, 1.5])  # of the data along two directions


def test_likelihoods_are_distributions():
  x, x_hat = np.linspace(-3, 3, 7), np.float32(0.4)
  for ours, theirs in (
    (autoencoding.laplace(0.3), scipy.stats.laplace(0.4, 0.3)),
    (autoencoding.gaussian(0.3), scipy.stats.norm(0.4, 0.3)),
  ):
    np.testing.assert_allclose(ours(x, x_hat), theirs.logpdf(x), rtol=1e-5)


def test_kl_to_the_standard_normal(key):
  mean, log_variance = jax.random.normal(key, (2, 5, 3))
  found = normal.kl_to_standard(mean, log_variance)
  exact = normal.kl(mean, jnp.exp(log_variance), 0.0, 1.0)
  np.testing.assert_allclose(found, exact, rtol=1e-4)
  near = normal.kl_to_standard(0.0, jnp.float32(1e-3))
  np.testing.assert_allclose(near, 1e-6 / 4, rtol=1e-3)


def linear_optimum():
  """The probabilistic PCA of data x = U diag(VARIANCES) U^T, noise NOISE^2.

  Source: Tipping and Bishop 1999, equations 3.7 and 6.2; Lucas et al. 2019
  (arXiv:1911.02469): the ELBO of a linear VAE touches the likelihood here.
  """
  basis = np.linalg.qr(np.random.default_rng(0).standard_normal((DIM, DIM)))[0]
  basis = basis[:, :LATENT]
  decoder = basis * np.sqrt(VARIANCES - NOISE**2)
  precision = decoder.T @ decoder / NOISE**2 + np.eye(LATENT)  # diagonal
  encoder = decoder @ np.linalg.inv(precision) / NOISE**2
  params = {
    'encoder': encoder,
    'log_variance': -np.log(np.diag(precision)),
    'decoder': decoder,
  }
  covariance = decoder @ decoder.T + NOISE**2 * np.eye(DIM)
  params = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), params)
  return params, covariance


LINEAR = Autoencoder(
  moments=lambda params, x: Moments(
    x @ params['encoder'],
    jnp.broadcast_to(params['log_variance'][None], (len(x), LATENT)),
  ),
  decode=lambda params, z: z @ params['decoder'].T,
)


def test_the_elbo_of_a_linear_vae_is_the_likelihood_at_its_optimum(key):
  params, covariance = linear_optimum()
  loss = autoencoding.elbo(LINEAR, autoencoding.gaussian(NOISE))
  x = np.array([[0.9, 0.1, -0.7, 0.4], [1.0, -0.5, 0.3, 0.8]], np.float32)
  # Many draws of z for each x.
  num = 1 << 16
  batch = {'x0': jnp.repeat(x, num, axis=0)}
  run = jax.jit(loss)
  value, metrics = run(params, keys(0, 2 * num), batch)
  exact = scipy.stats.multivariate_normal(np.zeros(DIM), covariance).logpdf(x)
  means = value.reshape(2, num).mean(1)
  np.testing.assert_allclose(means, -exact / DIM, rtol=4e-3)
  parts = metrics['reconstruction'] + metrics['kl']
  np.testing.assert_allclose(value, parts, rtol=1e-5)
  # Any other posterior or weight of the KL gives less of a bound.
  for change in ({'log_variance': 0.5}, {'encoder': 0.2}):
    worse = {k: x + change.get(k, 0) for k, x in params.items()}
    bound = run(worse, keys(0, 2 * num), batch)[0].reshape(2, num).mean(1)
    assert np.all(bound > means)


def test_the_optimum_of_a_linear_vae_has_no_gradient():
  params, covariance = linear_optimum()
  num = 1 << 17
  factor = jnp.asarray(np.linalg.cholesky(covariance), jnp.float32)
  x = jax.random.normal(jax.random.key(1), (num, DIM)) @ factor.T

  def mean(params, many, kl_weight):
    loss = autoencoding.elbo(LINEAR, autoencoding.gaussian(NOISE), kl_weight)
    return jnp.mean(loss(params, many, {'x0': x})[0])

  slope = jax.jit(jax.grad(mean), static_argnums=2)
  at_optimum, elsewhere = (slope(params, keys(0, num), w) for w in (1.0, 0.5))
  for name, x in at_optimum.items():
    assert np.abs(x).max() < 0.02, name
  assert np.abs(elsewhere['log_variance']).max() > 0.05


def test_latents_follow_their_moments():
  moments = Moments(jnp.full((1, 20000), 2.0), jnp.full((1, 20000), -1.0))
  z = autoencoding.draw_latents(keys(0, 1), moments)
  np.testing.assert_allclose(z.mean(), 2.0, atol=0.02)
  np.testing.assert_allclose(z.var(), np.exp(-1), rtol=0.03)
  sharp = Moments(moments.mean, jnp.full((1, 20000), -jnp.inf))
  drawn = autoencoding.draw_latents(keys(1, 1), sharp)
  np.testing.assert_array_equal(drawn, moments.mean)


def test_the_codebook_loss_is_its_three_terms():
  book = Codebook(3, 2)
  codes = {'embedding': jnp.array([[0.0, 0.0], [1.0, 1.0], [-1.0, 1.0]])}

  def reconstruct(params, x):
    quantized = book.apply({'params': params}, x)
    return quantized.codes, quantized.codebook_error, quantized.commitment

  x = jnp.array([[[[0.9, 1.2]]], [[[0.0, 0.1]]]])
  loss = autoencoding.vector_quantized(
    reconstruct, autoencoding.gaussian(1.0), commitment=0.25
  )
  value, metrics = loss(codes, keys(0, 2), {'x0': x})
  square = np.array([(0.01 + 0.04) / 2, 0.01 / 2])
  exact = 0.5 * square + 0.5 * np.log(2 * np.pi) + 1.25 * square
  np.testing.assert_allclose(value, exact, rtol=1e-5)
  np.testing.assert_allclose(metrics['commitment'], square, rtol=1e-5)
  np.testing.assert_allclose(metrics['error'], [0.15, 0.05], rtol=1e-5)


@pytest.mark.slow
def test_the_perceptual_error_compares_directions_of_features(key):
  features = lambda x: (x, x[:, ::2, ::2])
  error = autoencoding.perceptual_error(features)
  x, y = jax.random.normal(key, (2, 3, 4, 4, 5))
  np.testing.assert_allclose(error(x, 3 * x), 0, atol=1e-6)
  np.testing.assert_allclose(error(x, -x), 2 * 4.0, rtol=1e-5)
  assert np.all(error(x, y) > 0.1)
  only = autoencoding.perceptual_error(features, [jnp.ones(5), jnp.zeros(5)])
  np.testing.assert_allclose(only(x, -x), 4.0, rtol=1e-5)
  slope = jax.grad(lambda x: jnp.sum(error(x, y)))(jnp.zeros_like(x))
  assert np.all(np.isfinite(slope))
  loss = autoencoding.elbo(
    Autoencoder(lambda p, x: Moments(x, -jnp.inf * x**2), lambda p, z: -z),
    autoencoding.laplace(),
    kl_weight=0.0,
    perceptual=error,
  )
  _, metrics = loss(None, keys(0, 3), {'x0': x})
  np.testing.assert_allclose(metrics['perceptual'], 8.0, rtol=1e-5)


def test_shapes_that_would_broadcast_are_refused():
  wrong = Autoencoder(lambda p, x: Moments(x, x), lambda p, z: z[..., :1])
  loss = autoencoding.elbo(wrong, autoencoding.laplace())
  with pytest.raises(ValueError, match='decoder returns'):
    loss(None, keys(0, 2), {'x0': jnp.ones((2, 3))})


def test_the_hinge_has_its_minimum_beyond_the_margin():
  real, fake = jnp.array([[2.0, 1.0]]), jnp.array([[-1.0, -3.0]])
  np.testing.assert_array_equal(adversarial.hinge(real, fake), [0.0])
  np.testing.assert_array_equal(adversarial.hinge(-real, -fake), [2.75])
  np.testing.assert_array_equal(adversarial.generator(fake), [2.0])


def test_the_adaptive_weight_makes_both_terms_equally_steep():
  last = {'kernel': jnp.array([1.0, 2.0])}
  loss = lambda p: jnp.sum(3.0 * p['kernel'])
  against = lambda p: jnp.sum(jnp.square(p['kernel']))
  pair = jax.grad(loss)(last), jax.grad(against)(last)
  weight = adversarial.adaptive_weight(*pair, scale=0.8)
  exact = 0.8 * np.hypot(3, 3) / np.hypot(2, 4)
  np.testing.assert_allclose(weight, exact, rtol=1e-4)
  flat = jax.tree.map(jnp.zeros_like, last)
  assert adversarial.adaptive_weight(pair[0], flat) == adversarial.MAX_WEIGHT
  starts = [adversarial.start(jnp.int32(n), 10) for n in (0, 9, 10, 11)]
  np.testing.assert_array_equal(starts, [0, 0, 1, 1])


def test_logits_of_the_discriminator_see_patches(key):
  net = PatchDiscriminator(width=4, depth=2)
  images = jax.random.normal(key, (2, 32, 32, 1))
  variables = jax.jit(net.init)(key, images)
  run = jax.jit(net.apply)
  logits = run(variables, images)
  assert logits.shape == (2, 6, 6)
  # Norms see the whole of an image, but only of that image.
  other = run(variables, images.at[1].set(0.0))
  np.testing.assert_allclose(other[0], logits[0], atol=1e-6)
  with pytest.raises(ValueError, match='does not fit images of 4x4'):
    jax.eval_shape(net.init, key, jnp.zeros((1, 4, 4, 1)))
