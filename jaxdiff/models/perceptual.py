"""Feature spaces of the perceptual error: networks that are not trained.

classifier:WORKDIR  the map of every size of a `jaxdiff.classifier`
dinov2:PATH         the patches of a published DINOv2, of images of 224x224
lpips:FILE          LPIPS: torchvision's VGG-16 or AlexNet; the weights of its
                    channels are those of the package `lpips`

PATH and FILE may be of the Hub, hf://owner/name.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxdiff.models import classifier_files
from jaxdiff.models.model import Params
from jaxdiff.pretrained import resize
from jaxdiff.pretrained.dinov2_weights import load_dinov2

SIDE = 224  # of the images that DINOv2 sees


class Space(NamedTuple):
  """A network, and the weights of the channels of its maps."""

  features: Callable[[Params, Array], Sequence[Array]]
  params: Params
  sha256: str
  shape: tuple[int, ...] | None = None  # of images; None: any
  weights: Sequence[Array] | None = None  # None: all are 1


def load(text: str) -> Space:
  """Loads the network of a name such as 'classifier:WORKDIR'."""
  kind, _, path = text.partition(':')
  if kind not in _KINDS or not path:
    forms = 'classifier:WORKDIR, dinov2:PATH or lpips:FILE'
    raise ValueError(f'--diffusion.perceptual must be {forms}, got {text!r}')
  return _KINDS[kind](path)


def _classifier(workdir: str) -> Space:
  network, params, about, sha256 = classifier_files.load(workdir)

  def features(params: Params, images: Array) -> Sequence[Array]:
    return network.apply({'params': params}, images).maps

  return Space(features, params, sha256, about.image_shape)


def _dinov2(path: str) -> Space:
  network, params, sha256 = load_dinov2(path)
  rule = resize.dinov2(SIDE)

  def features(params: Params, images: Array) -> Sequence[Array]:
    shape = (len(images), SIDE, SIDE, 3)
    images = jax.image.resize(_rgb(images), shape, 'cubic')
    seen = rule.device(127.5 * (images + 1))
    return [network.apply({'params': params}, seen).patches]

  return Space(features, params, sha256)


def _lpips(path: str) -> Space:
  from jaxdiff.pretrained.lpips_weights import load_lpips

  network, params, weights, sha256 = load_lpips(path)

  def features(params: Params, images: Array) -> Sequence[Array]:
    return network.apply({'params': params}, _rgb(images))

  return Space(features, params, sha256, weights=weights)


def _rgb(images: Array) -> Array:
  return jnp.broadcast_to(images, (*images.shape[:3], 3))


_KINDS: dict[str, Callable[[str], Space]] = {
  'classifier': _classifier,
  'dinov2': _dinov2,
  'lpips': _lpips,
}
