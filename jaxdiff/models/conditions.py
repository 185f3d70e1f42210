"""The conditions of a run's network, and what they add to its loss."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from jax import Array

from jaxdiff import augmentation, conditioning, losses
from jaxdiff.config import Condition, Config, Spec
from jaxdiff.config.networks import FITTING


def check(config: Config, spec: Spec) -> None:
  """Raises ValueError for conditions or a network that the data lack."""
  c, network = config.condition, type(config.network).__name__
  data = config.data.name
  if c.label and spec.num_classes is None:
    raise ValueError(
      f'--condition.label needs a data set with labels; {data} has none'
    )
  fitting = FITTING.get(spec.modality, ())
  if network not in (*fitting, 'Custom'):
    raise ValueError(
      f'the network for {data}, which is of modality {spec.modality}, must be '
      f'one of {[*fitting, "Custom"]}, got {network}'
    )
  if spec.modality not in ('image', 'latent') and (c.text or c.low_res):
    raise ValueError(
      '--condition.text and --condition.low-res are for images, and '
      f'{data} is of modality {spec.modality}'
    )
  if c.low_res is not None and c.low_res >= min(spec.shape[:2]):
    raise ValueError(
      f'--condition.low-res must be from 1 to below {min(spec.shape[:2])}, the '
      f'side length of the images, got {c.low_res}'
    )


def takes(c: Condition) -> tuple[str, ...]:
  """Lists the conditions that a network reads."""
  text = {None: (), 'clip': ('text', 'pooled') if c.pooled else ('text',)}
  text['t5'] = ('text', 'pooled', 'mask')
  return (
    *(('label',) if c.label else ()),
    *text.get(c.text, ('tokens', 'text', 'pooled', 'mask')),
    *(('low_res', 'augment') if c.low_res else ()),
  )


def blank(
  c: Condition, spec: Spec, names: tuple[str, ...], beside: int
) -> dict[str, Array]:
  """Conditions [1, ...] of zeros, from which a network learns their shapes."""
  text_dim, pooled_dim = spec.text_dims or (0, 0)
  side = c.low_res or 1
  every = {
    'label': lambda: jnp.zeros(1, jnp.int32),
    'tokens': lambda: jnp.zeros((1, c.length), jnp.int32),
    'text': lambda: jnp.zeros((1, c.length, text_dim)),
    'pooled': lambda: jnp.zeros((1, pooled_dim)),
    'mask': lambda: jnp.ones((1, c.length), bool),
    'low_res': lambda: jnp.zeros((1, side, side, spec.shape[-1])),
    'augment': lambda: jnp.zeros(1),
    'beside': lambda: jnp.zeros((1, *spec.shape[:2], beside)),
  }
  wanted = set(names)
  if 'tokens' in wanted:
    wanted -= {'text', 'pooled', 'mask'}
  return {name: every[name]() for name in sorted(wanted)}


def with_conditions(
  loss: losses.Loss, config: Config, null: Mapping[str, Any]
) -> losses.Loss:
  """Adds augmentation, dropping of conditions, and the small image to a loss.

  Args:
    loss: of the network.
    config: of the run.
    null: the null value of each condition that is dropped.
  """
  c = config.condition
  if null:
    loss = conditioning.dropping(loss, null, c.drop)
  if c.low_res:
    loss = conditioning.super_resolution(loss, c.low_res, c.augment)
  if config.data.augment:
    loss = augmentation.augmenting(loss, config.data.augment)
  return loss
