"""The network, and the denoiser it is."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jax import Array

from jaxdiff import losses, samplers, tokenizers
from jaxdiff.build.categories import num_logits, of_categories
from jaxdiff.build.diffusion import make_kind, make_schedule
from jaxdiff.choices import name_of
from jaxdiff.config import Config, Spec
from jaxdiff.losses import learned_variance
from jaxdiff.networks.dit import DiT
from jaxdiff.networks.graph_transformer import GraphTransformer
from jaxdiff.networks.pixel_categories import PixelCategories
from jaxdiff.networks.text_conditional import TextConditional
from jaxdiff.networks.text_encoder import TextEncoder
from jaxdiff.networks.transformer import Transformer
from jaxdiff.networks.unet import UNet
from jaxdiff.schedules import Schedule

Cond = Mapping[str, Array]
MakeDenoiser = Callable[[Any, Cond], samplers.Denoiser]


def make_network(config: Config, spec: Spec) -> nn.Module:
  """The denoising network for data of this spec.

  Raises:
    ValueError: a condition that the data has not, or a network for other data.
  """
  c, n = config.condition, config.network
  if c.label and spec.num_classes is None:
    raise ValueError(
      f'condition.label needs a set with labels; {config.data.name} has none'
    )
  fitting = {
    'image': ('unet', 'dit'),
    'text': ('transformer',),
    'graph': ('graph_transformer',),
  }[spec.kind]
  if n.kind not in fitting:
    raise ValueError(
      f'network.kind for {config.data.name} must be one of {list(fitting)}, '
      f'got {n.kind!r}'
    )
  if spec.kind != 'image' and (c.text or c.low_res):
    raise ValueError('condition.text and condition.low_res are for images')
  if of_categories(config) and c.low_res:
    raise ValueError('condition.low_res is for images that are numbers')
  if spec.kind != 'image':
    return _discrete_network(config, spec)
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
  numbers = 2 if config.diffusion.variance == 'learned' else 1
  if of_categories(config):
    numbers = num_logits(config, spec)
  text_dim, pooled_dim = spec.text_dims or (None, None)
  shared = {
    'out_channels': spec.shape[-1] * numbers,
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
  if of_categories(config):
    denoiser = PixelCategories(denoiser, spec.categories, numbers)
  if c.text in (None, 'clip'):
    return denoiser
  pairs = c.text == 'bpe'
  bytes_size = tokenizers.byte_tokenizer(c.length).vocab_size
  encoder = TextEncoder(
    vocab_size=c.vocab_size if pairs else bytes_size,
    max_length=c.length,
    width=c.width,
    depth=c.depth,
    num_heads=c.num_heads,
  )
  return TextConditional(encoder=encoder, denoiser=denoiser)


def _discrete_network(config: Config, spec: Spec) -> nn.Module:
  """For text, and for graphs."""
  n = config.network
  absorbing = name_of(config.diffusion.process, 'process') == 'absorbing'
  if n.kind == 'transformer' and not (absorbing or n.transformer.time):
    raise ValueError(
      f'diffusion.process={config.diffusion.process} hides how much is noise: '
      'its network must be told, --network.transformer.time'
    )
  shared = {
    'num_classes': spec.num_classes if config.condition.label else None,
    'dtype': jnp.dtype(n.dtype),
    'remat': n.remat,
  }
  sizes = num_logits(config, spec)
  if n.kind == 'transformer':
    return Transformer(sizes, **dataclasses.asdict(n.transformer), **shared)
  return GraphTransformer(
    node_categories=sizes.get('nodes'),
    edge_categories=sizes['edges'],
    # MASK is no edge: it is not to be counted among them.
    edge_mask=spec.categories['edges']
    if sizes['edges'] > spec.categories['edges']
    else None,
    **dataclasses.asdict(n.graph_transformer),
    **shared,
  )


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
  edge = c.low_res or 1
  every = {
    'label': lambda: jnp.zeros(1, jnp.int32),
    'tokens': lambda: jnp.zeros((1, c.length), jnp.int32),
    'text': lambda: jnp.zeros((1, c.length, text_dim)),
    'pooled': lambda: jnp.zeros((1, pooled_dim)),
    'mask': lambda: jnp.ones((1, c.length), bool),
    'low_res': lambda: jnp.zeros((1, edge, edge, spec.shape[-1])),
    'augment': lambda: jnp.zeros(1),
  }
  names = set(takes(config))
  if 'tokens' in names:
    names -= {'text', 'pooled', 'mask'}
  return {name: every[name]() for name in sorted(names)}


def make_apply(config: Config, network: nn.Module) -> losses.Apply:
  """(params, xt, t, cond, dropout_key=None) -> prediction.

  The network of images is given xt / sqrt(alpha^2 + sigma^2), of about unit
  size on every schedule, and xt itself where variance is preserved. (EDM,
  Karras et al. 2022, c_in, for data of unit size.) Of the conditions it is
  given those that it takes: data may have labels that it has no use for.
  """
  if of_categories(config):
    taken, scaled = (*takes(config), 'mask'), lambda xt, t: xt
  else:
    taken, scaled = takes(config), _unit_size(make_schedule(config))

  def apply(
    params: Any, xt: Any, t: Array, cond: Any, dropout_key: Any = None
  ) -> Any:
    train = dropout_key is not None
    rngs = {'dropout': dropout_key} if train else None
    cond = {name: x for name, x in cond.items() if name in taken} or None
    return network.apply(
      {'params': params}, scaled(xt, t), t, cond, train=train, rngs=rngs
    )

  return apply


def _unit_size(schedule: Schedule) -> Callable[[Array, Array], Array]:
  def scaled(xt: Array, t: Array) -> Array:
    return xt / jnp.hypot(*schedule(t)).reshape(-1, *[1] * (xt.ndim - 1))

  return scaled


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
  apply = make_apply(config, network)
  learned = config.diffusion.variance == 'learned'
  if learned:
    apply = learned_variance.halves(apply)
  make = learned_variance.denoiser if learned else samplers.denoiser
  return lambda params, cond: make(apply, kind, schedule, params, cond)
