"""Models of the latents of images: a Gaussian model between an encoder and a
decoder, which are not trained.

The latents of an image x are (z - shift) scale, z ~ q(z | x). Shift and scale
make their mean 0 and their variance 1 in each channel; they are measured when a
run begins, and kept in its specification with the hash of the autoencoder.

Source: Rombach et al. 2022 (arXiv:2112.10752), sections 3.2 and G.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import numpy as np
from jax import Array

from jaxdiff import losses
from jaxdiff.config import Config, Spec
from jaxdiff.losses.autoencoding import draw_latents
from jaxdiff.models import gaussian
from jaxdiff.models.model import Model, Params
from jaxdiff.networks.autoencoder import Moments
from jaxdiff.networks.tiles import decode_in_tiles
from jaxdiff.pretrained.autoencoder_weights import load_autoencoder

TILE, OVERLAP = 64, 16  # positions of a tile, and of what two tiles share


def make(
  config: Config,
  spec: Spec,
  null: Mapping[str, Any],
  initial: Params | None = None,
) -> Model:
  """Builds the model; see `models.make`.

  Raises:
    ValueError: the autoencoder is another one than the run began with.
  """
  folder, latents = config.latent.autoencoder, spec.latents
  if latents is None:
    raise ValueError(
      f'the latents of {folder} are not in the specification: `measure` them'
    )
  network, frozen, sha256 = load_autoencoder(folder)
  spec = spec._replace(latents={**latents, 'sha256': sha256})
  if latents['sha256'] not in (None, sha256):
    raise ValueError(
      f'the autoencoder in {folder} has the hash {sha256[:12]}, and the run '
      f'was trained with {latents["sha256"][:12]}'
    )
  shape = latents['shape']
  inner = gaussian.make(
    config, spec._replace(modality='latent', shape=shape), null, initial
  )
  shift, scale = (
    np.asarray(latents[name], np.float32).reshape(1, 1, 1, -1)
    for name in ('shift', 'scale')
  )

  def apply(given: Params, x: Array, method: str) -> Any:
    own = frozen if given is None else given
    return network.apply({'params': own}, x, method=method)

  def loss(
    params: Params, keys: Array, batch: losses.Batch
  ) -> losses.LossValue:
    split = lambda key: tuple(jax.random.split(key))
    latent_keys, keys = jax.vmap(split)(keys)
    batch = dict(batch)
    given, x = batch.pop('frozen', None), batch['x0']
    # Those of a cache are encoded already.
    cached = isinstance(x, Mapping)
    moments = Moments(**x) if cached else apply(given, x, 'moments')
    x0 = (draw_latents(latent_keys, moments) - shift) * scale
    return inner.loss(params, keys, {**batch, 'x0': x0})

  def encode(
    images: Array, given: Params = None, keys: Array | None = None
  ) -> Array:
    moments = apply(given, images, 'moments')
    z = moments.mean if keys is None else draw_latents(keys, moments)
    return (z - shift) * scale

  def decode(x0: Array, given: Params = None) -> Array:
    if x0.ndim > 4:  # with all xt on the way
      return jax.lax.map(lambda x0: decode(x0, given), x0)
    whole = lambda z: apply(given, z, 'decode')
    z = x0 / scale + shift
    return decode_in_tiles(whole, z, network.factor, TILE, OVERLAP)

  return inner._replace(
    spec=spec, loss=loss, decode=decode, latents=encode, frozen=frozen
  )


def measure(folder: str, batches: Iterable[np.ndarray]) -> dict[str, Any]:
  """Measures the latents of images.

  Args:
    folder: of the autoencoder.
    batches: of images [b, H, W, C].

  Returns:
    The shape of a latent, shift and scale of its channels, and the hash of the
    autoencoder.

  Raises:
    ValueError: a channel has the same value everywhere.
  """
  network, params, sha256 = load_autoencoder(folder)

  @jax.jit
  def encode(images: Array) -> Moments:
    return network.apply({'params': params}, images, method='moments')

  num, total, square, shape = 0, 0.0, 0.0, ()
  for images in batches:
    mean, log_variance = (np.asarray(x, np.float64) for x in encode(images))
    shape = mean.shape[1:]
    num += math.prod(mean.shape[:-1])
    total = total + mean.sum((0, 1, 2))
    square = square + (mean**2 + np.exp(log_variance)).sum((0, 1, 2))
  shift = total / num
  std = np.sqrt(square / num - shift**2)
  if not np.all(std > 0):
    raise ValueError(
      f'a channel of the latents of {folder} is the same everywhere: train the '
      'autoencoder longer'
    )
  # Six digits: hosts may differ in the last ones.
  rounded = lambda values: tuple(float(f'{x:.6g}') for x in values)
  return {
    'shape': shape,
    'shift': rounded(shift),
    'scale': rounded(1 / std),
    'sha256': sha256,
  }
