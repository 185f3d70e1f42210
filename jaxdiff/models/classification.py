"""Models that classify images: their features measure samples."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array

from jaxdiff import losses
from jaxdiff.config import Config, ConvNet, Spec
from jaxdiff.models.model import Model
from jaxdiff.networks.classifier import Classifier


def make(config: Config, spec: Spec, null: Mapping[str, Any]) -> Model:
  """Builds a model with a loss and no process: it draws nothing."""
  if null:
    raise ValueError('a classifier takes no conditions')
  if spec.modality != 'image':
    raise ValueError(
      f'a classifier is for images, and {config.data.name} has none'
    )
  if spec.num_classes is None:
    raise ValueError(
      f'a classifier needs a data set with labels; {config.data.name} has none'
    )
  if not isinstance(config.network, ConvNet):
    raise ValueError(
      'the network of a classifier must be ConvNet, got '
      f'{type(config.network).__name__}'
    )
  network = Classifier(spec.num_classes, config.network.width)
  blank = jnp.zeros((1, *spec.shape))
  return Model(
    spec=spec,
    init=lambda key: network.init(key, blank)['params'],
    loss=make_loss(network, config.diffusion.shift),
  )


def make_loss(network: Classifier, shift: int = 0) -> losses.Loss:
  """Builds the cross-entropy of batches {'x0', 'cond': {'label': [B]}}.

  Args:
    network: images [B, H, W, C] -> logits.
    shift: each image is moved at random by up to so many pixels, each way.
  """

  def moved(key: Array, x: Array) -> Array:
    padded = jnp.pad(x, [(shift, shift), (shift, shift), (0, 0)], mode='edge')
    row, column = jax.random.randint(key, (2,), 0, 2 * shift + 1)
    return jax.lax.dynamic_slice(padded, (row, column, 0), x.shape)

  def loss(
    params: Any, keys: Array, batch: losses.Batch
  ) -> tuple[Array, dict[str, Array]]:
    images, labels = batch['x0'], batch['cond']['label']
    if shift:
      images = jax.vmap(moved)(keys, images)
    logits = network.apply({'params': params}, images).logits
    error = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    return error, {'accuracy': is_right(logits, labels)}

  return loss


def is_right(logits: Array, labels: Array) -> Array:
  """1 where the largest logit is that of the label, 0 elsewhere, [B]."""
  return (jnp.argmax(logits, axis=-1) == labels).astype(jnp.float32)
