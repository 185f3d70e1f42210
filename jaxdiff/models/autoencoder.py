"""Models that encode images as latents, and decode them."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from jaxdiff import config as configs
from jaxdiff import losses, names
from jaxdiff.config import Config, Spec, registry
from jaxdiff.losses import DISCRIMINATOR, adversarial, autoencoding
from jaxdiff.models import perceptual
from jaxdiff.models.model import Model, Params, Reconstruction
from jaxdiff.networks.autoencoder import AutoencoderKL, AutoencoderVQ


def make(config: Config, spec: Spec, null: Mapping[str, Any]) -> Model:
  """Builds a model with a loss and no process: it draws nothing."""
  if null:
    raise ValueError('an autoencoder takes no conditions')
  if spec.modality != 'image':
    raise ValueError(
      f'an autoencoder is for images, and {config.data.name} has none'
    )
  network, c = make_network(config, spec), config.diffusion
  images = jnp.zeros((1, *spec.shape))
  space = _space(c.perceptual, spec) if c.perceptual else None
  discriminator = c.adversary and names.make(
    registry.DISCRIMINATORS, c.adversary, '--diffusion.adversary'
  )

  def init(key: Array) -> Params:
    if not discriminator:
      return network.init(key, images)['params']
    key, other = jax.random.split(key)
    own = discriminator.init(other, images)['params']
    return {**network.init(key, images)['params'], DISCRIMINATOR: own}

  # Images that they cannot halve are refused here, not in the first step.
  if discriminator:
    try:
      jax.eval_shape(discriminator.init, jax.random.key(0), images)
    except ValueError as error:
      raise ValueError(
        f'--diffusion.adversary {c.adversary}: {error}'
      ) from error
  jax.eval_shape(init, jax.random.key(0))
  return Model(
    spec=spec,
    init=init,
    loss=_loss(c, network, space, discriminator),
    reconstruct=_reconstruct(network),
    frozen=space and space.params,
  )


def _space(name: str, spec: Spec) -> perceptual.Space:
  """Loads a feature space, which must be that with which the run began."""
  space = perceptual.load(name)
  if space.shape not in (None, tuple(spec.shape)):
    raise ValueError(
      f'--diffusion.perceptual {name} takes images {list(space.shape)}, and '
      f'these are {list(spec.shape)}'
    )
  before = (spec.data or {}).get('perceptual', space.sha256)
  if before != space.sha256:
    raise ValueError(
      f'--diffusion.perceptual {name} has the hash {space.sha256[:12]}, and '
      f'the run was trained with {before[:12]}'
    )
  return space


def make_network(config: Config, spec: Spec) -> AutoencoderKL | AutoencoderVQ:
  """Builds the network of a configuration, for images of a specification."""
  c = config.network
  if not isinstance(c, configs.Autoencoder):
    raise ValueError(
      f'the network of an autoencoder must be Autoencoder, got '
      f'{type(c).__name__}'
    )
  settings = {**vars(c), 'dtype': jnp.dtype(c.dtype)}
  policy = settings.pop('remat_policy')
  settings['remat'] = c.remat and policy
  settings['image_channels'] = spec.shape[-1]
  num_codes = settings.pop('num_codes')
  if num_codes is None:
    return AutoencoderKL(**settings)
  return AutoencoderVQ(**settings, num_codes=num_codes)


def _loss(
  c: configs.Autoencoding,
  network: AutoencoderKL | AutoencoderVQ,
  space: perceptual.Space | None,
  discriminator: nn.Module | None,
) -> losses.Loss:
  likelihood = names.make(
    registry.LIKELIHOODS, c.likelihood, '--diffusion.likelihood'
  )

  def method(name: str) -> Any:
    return lambda params, x: network.apply({'params': params}, x, method=name)

  more: dict[str, Any] = {}
  if discriminator is not None:
    more['adversary'] = adversarial.adversary(
      lambda params, x: discriminator.apply({'params': params}, x),
      c.adversarial_start,
    )
  if isinstance(network, AutoencoderVQ):
    reconstruct = method('reconstruct')

    def with_errors(params: Params, x: Array) -> tuple[Array, Array, Array]:
      x_hat, found = reconstruct(params, x)
      return x_hat, found.codebook_error, found.commitment

    make_loss = partial(
      autoencoding.vector_quantized, with_errors, likelihood, c.commitment
    )
  else:
    functions = autoencoding.Autoencoder(method('moments'), method('decode'))
    make_loss = partial(autoencoding.elbo, functions, likelihood, c.kl_weight)
  if space is None:
    return make_loss(**more)

  def loss(
    params: Params, keys: Array, batch: losses.Batch
  ) -> losses.LossValue:
    frozen = batch.get('frozen', space.params)
    error = autoencoding.perceptual_error(
      lambda images: space.features(frozen, images), space.weights
    )
    weighed = lambda x, x_hat: c.perceptual_weight * error(x, x_hat)
    return make_loss(**more, perceptual=weighed)(params, keys, batch)

  return loss


def _reconstruct(network: AutoencoderKL | AutoencoderVQ) -> Any:
  if isinstance(network, AutoencoderVQ):

    def of_codes(params: Params, images: Array) -> Reconstruction:
      variables = {'params': params}
      found, codes = network.apply(variables, images, method='reconstruct')
      return Reconstruction(found, codes.indices)

    return of_codes
  return lambda params, images: Reconstruction(
    network.apply({'params': params}, images)
  )
