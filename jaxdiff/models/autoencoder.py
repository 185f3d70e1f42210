"""Models that encode images as latents, and decode them."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jaxdiff import config as configs
from jaxdiff import losses, names
from jaxdiff.config import Config, Spec, registry
from jaxdiff.losses import autoencoding
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
  network = make_network(config, spec)

  def init(key: Array) -> Params:
    return network.init(key, jnp.zeros((1, *spec.shape)))['params']

  # Images that it cannot halve are refused here, not in the first step.
  jax.eval_shape(init, jax.random.key(0))
  return Model(
    spec=spec,
    init=init,
    loss=_loss(config.diffusion, network),
    reconstruct=_reconstruct(network),
  )


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
  c: configs.Autoencoding, network: AutoencoderKL | AutoencoderVQ
) -> losses.Loss:
  likelihood = names.make(
    registry.LIKELIHOODS, c.likelihood, '--diffusion.likelihood'
  )

  def method(name: str) -> Any:
    return lambda params, x: network.apply({'params': params}, x, method=name)

  if isinstance(network, AutoencoderVQ):
    reconstruct = method('reconstruct')

    def with_errors(params: Params, x: Array) -> tuple[Array, Array, Array]:
      x_hat, found = reconstruct(params, x)
      return x_hat, found.codebook_error, found.commitment

    return autoencoding.vector_quantized(with_errors, likelihood, c.commitment)
  functions = autoencoding.Autoencoder(method('moments'), method('decode'))
  return autoencoding.elbo(functions, likelihood, c.kl_weight)


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
