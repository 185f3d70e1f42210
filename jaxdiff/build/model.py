"""The network, and the denoiser it is."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jax import Array

from jaxdiff import losses, samplers, text
from jaxdiff.build.diffusion import make_kind, make_schedule
from jaxdiff.config import Config, Spec
from jaxdiff.losses import learned_variance
from jaxdiff.networks.dit import DiT
from jaxdiff.networks.text_conditional import TextConditional
from jaxdiff.networks.text_encoder import TextEncoder
from jaxdiff.networks.unet import UNet
from jaxdiff.schedules import Schedule

Cond = Mapping[str, Array]
MakeDenoiser = Callable[[Any, Cond], samplers.Denoiser]


def make_network(config: Config, spec: Spec) -> nn.Module:
  """The denoising network for data of this spec.

  Raises:
    ValueError: a condition that the data has not.
  """
  c, n = config.condition, config.network
  if c.label and spec.num_classes is None:
    raise ValueError(
      f'condition.label needs a set with labels; {config.data.name} has none'
    )
  if c.low_res is not None and not 1 <= c.low_res < min(spec.shape[:2]):
    raise ValueError(
      f'condition.low_res must be from 1 to below {min(spec.shape[:2])}, the '
      f'edge of the images, got {c.low_res}'
    )
  if c.low_res and not 0 <= config.sampling.augment <= c.augment <= 1:
    raise ValueError(
      'sampling.augment must be within what is trained on, 0 to '
      f'condition.augment={c.augment} <= 1, got {config.sampling.augment}'
    )
  learned = config.diffusion.variance == 'learned'
  text_dim, pooled_dim = spec.text_dims or (None, None)
  shared = {
    'out_channels': spec.shape[-1] * (2 if learned else 1),
    'num_classes': spec.num_classes if c.label else None,
    'text_dim': text_dim,
    'pooled_dim': pooled_dim,
    'low_res': c.low_res is not None,
    'dtype': jnp.dtype(n.dtype),
    'remat': n.remat,
  }
  if n.kind == 'dit':
    denoiser = DiT(**dataclasses.asdict(n.dit), **shared)
  else:
    denoiser = UNet(**dataclasses.asdict(n.unet), **shared)
  if c.text in (None, 'clip'):
    return denoiser
  pairs = c.text == 'bpe'
  bytes_size = text.byte_tokenizer(c.length).vocab_size
  encoder = TextEncoder(
    vocab_size=c.vocab_size if pairs else bytes_size,
    max_length=c.length,
    width=c.width,
    depth=c.depth,
    num_heads=c.num_heads,
  )
  return TextConditional(encoder=encoder, denoiser=denoiser)


def takes(config: Config) -> tuple[str, ...]:
  """The conditions that the network of a configuration takes."""
  c = config.condition
  text = {None: (), 'clip': ('text', 'pooled')}
  return (
    *(('label',) if c.label else ()),
    *text.get(c.text, ('tokens', 'text', 'pooled', 'mask')),
    *(('low_res', 'augment') if c.low_res else ()),
  )


def blank(config: Config, spec: Spec) -> dict[str, Array]:
  """Conditions [1, ...] of zeros, to learn the shapes of a network with."""
  c, (text_dim, pooled_dim) = config.condition, spec.text_dims or (0, 0)
  every = {
    'label': jnp.zeros(1, jnp.int32),
    'tokens': jnp.zeros((1, c.length), jnp.int32),
    'text': jnp.zeros((1, c.length, text_dim)),
    'pooled': jnp.zeros((1, pooled_dim)),
    'mask': jnp.ones((1, c.length), bool),
    'low_res': jnp.zeros((1, c.low_res or 1, c.low_res or 1, spec.shape[-1])),
    'augment': jnp.zeros(1),
  }
  names = set(takes(config))
  if 'tokens' in names:
    names -= {'text', 'pooled', 'mask'}
  return {name: every[name] for name in sorted(names)}


def make_apply(
  network: nn.Module, schedule: Schedule, taken: Sequence[str]
) -> losses.Apply:
  """(params, xt, t, cond, dropout_key=None) -> prediction.

  The network is given xt / sqrt(alpha^2 + sigma^2), of about unit size on
  every schedule, and xt itself where variance is preserved. (EDM, Karras et
  al. 2022, c_in, for data of unit size.) Of the conditions it is given those
  that it takes: data may have labels that it has no use for.
  """

  def apply(
    params: Any, xt: Array, t: Array, cond: Any, dropout_key: Any = None
  ) -> Array:
    train = dropout_key is not None
    rngs = {'dropout': dropout_key} if train else None
    cond = {name: x for name, x in cond.items() if name in taken} or None
    size = jnp.hypot(*schedule(t)).reshape(-1, *[1] * (xt.ndim - 1))
    return network.apply(
      {'params': params}, xt / size, t, cond, train=train, rngs=rngs
    )

  return apply


def make_encode(network: nn.Module) -> Callable[[Any, Cond], Cond]:
  """(params, cond) -> cond with 'tokens' read, once for all steps."""

  def encode(params: Any, cond: Cond) -> Cond:
    if 'tokens' not in cond:
      return cond
    rest = {name: x for name, x in cond.items() if name != 'tokens'}
    encoded = network.apply({'params': params}, cond['tokens'], method='encode')
    return {**rest, **encoded}

  return encode


def make_denoiser(config: Config, network: nn.Module) -> MakeDenoiser:
  """(params, cond) -> E[x0 | xt]; with its variance where that is learned."""
  schedule, kind = make_schedule(config), make_kind(config)
  apply = make_apply(network, schedule, takes(config))
  learned = config.diffusion.variance == 'learned'
  if learned:
    apply = learned_variance.halves(apply)
  make = learned_variance.denoiser if learned else samplers.denoiser
  return lambda params, cond: make(apply, kind, schedule, params, cond)
