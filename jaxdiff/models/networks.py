"""The network of a configuration, and its conditions."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import Array

from jaxdiff import augmentation, conditioning, losses, names
from jaxdiff.config import (
  Condition,
  Config,
  Custom,
  Gaussian,
  Spec,
  kinds,
  registry,
)
from jaxdiff.config.networks import FITTING
from jaxdiff.models import dropout
from jaxdiff.models.model import Cond, Params
from jaxdiff.schedules import Schedule


class Network(NamedTuple):
  """A network as functions.

  init: key -> params.
  apply: (params, xt, t, cond, dropout_keys[B]=None) -> output.
  encode: (params, cond) -> cond, its tokens encoded.
  takes: the conditions that it reads.
  """

  init: Callable[[Array], Params]
  apply: losses.Apply
  encode: Callable[[Params, Cond], Cond]
  takes: tuple[str, ...]


def make(config: Config, spec: Spec, **sizes: Any) -> Network:
  """Builds the network for data of a specification.

  Args:
    config: of the run.
    spec: of its data.
    **sizes: of its inputs and outputs, such as out_channels.

  Raises:
    ValueError: a condition that the data lack, or a network for other data.
  """
  c = config.condition
  _check_conditions(config, spec)
  beside = getattr(config.network, 'beside', 0)
  takes = (*_takes(c), *(('beside',) if beside else ()))
  if config.data.augment:
    sizes['augment_labels'] = augmentation.NUM_LABELS
  module = _module(config, spec, sizes)
  if 'num_logits' in sizes and spec.modality == 'image':
    from jaxdiff.networks.pixel_categories import PixelCategories

    module = PixelCategories(module, spec.categories, sizes['num_logits'])
  if 'tokens' in takes:
    module = _with_encoder(c, module)
  recalls = getattr(config.diffusion, 'self_conditioning', False)

  def init(key: Array) -> Params:
    kind = jnp.int32 if spec.categories else jnp.float32
    xt = jax.tree.map(
      lambda shape: jnp.zeros((1, *shape), kind),
      spec.shape,
      is_leaf=lambda x: isinstance(x, tuple),
    )
    cond = _blank(c, spec, takes, beside) or None
    xt = jnp.concatenate([xt, xt], axis=-1) if recalls else xt
    return module.init(key, xt, jnp.zeros(1), cond)['params']

  # 'mask', the elements that exist, 's', 'past', 'kept' and 'augment_labels'
  # are no conditions of a run.
  taken = (*takes, 'mask') if spec.categories else takes
  taken += ('past', 'kept') if getattr(config.network, 'block', None) else ()
  taken += ('s',) if sizes.get('second_time') else ()
  taken += ('augment_labels',) if config.data.augment else ()

  def apply(
    params: Params, xt: Any, t: Array, cond: Any, dropout_keys: Any = None
  ) -> Any:
    if recalls:
      last = cond.get('x0', jnp.zeros_like(xt))
      xt = jnp.concatenate([xt, last], axis=-1)
    # Data may have labels of which the network has no use.
    cond = {name: x for name, x in cond.items() if name in taken} or None
    inputs = {'params': params}, xt, t, cond
    if dropout_keys is None:
      return module.apply(*inputs, train=False)
    with nn.intercept_methods(dropout.of_each_example(dropout_keys)):
      rngs = {'dropout': jax.random.key(0)}
      return module.apply(*inputs, train=True, rngs=rngs)

  def encode(params: Params, cond: Cond) -> Cond:
    if 'tokens' not in cond:
      return cond
    rest = {name: x for name, x in cond.items() if name != 'tokens'}
    encoded = module.apply({'params': params}, cond['tokens'], method='encode')
    return {**rest, **encoded}

  return Network(init, apply, encode, takes)


def _module(config: Config, spec: Spec, sizes: Mapping[str, Any]) -> nn.Module:
  c, n = config.condition, config.network
  text_dim, pooled_dim = spec.text_dims or (None, None)
  if not c.pooled:
    pooled_dim = None
  inputs = {
    **sizes,
    'num_classes': spec.num_classes if c.label else None,
    'text_dim': text_dim,
    'pooled_dim': pooled_dim,
    'low_res': c.low_res is not None,
    'dtype': jnp.dtype(n.dtype),
    'remat': n.remat and n.remat_policy,
  }
  flag = '--network.name'
  loss = getattr(config.diffusion, 'loss', None)
  if isinstance(n, Custom):
    module = names.make({}, n.name, flag, **inputs)
    kind = kinds.module('xt', 't', 'cond', train=False)
    kind.check(module, f'{flag}={n.name}')
    for size, flag in (
      ('second_time', f'--diffusion.loss {loss}'),
      ('augment_labels', '--data.augment'),
    ):
      if sizes.get(size) and not getattr(module, size, None):
        raise ValueError(
          f'{flag} needs a network with a field {size}, and {n.name} has none'
        )
    return module
  shared = 'dtype', 'remat', 'remat_policy'
  own = {k: v for k, v in vars(n).items() if k not in shared}
  factory = names.resolve(registry.NETWORKS[type(n).__name__], flag)
  known = {field.name for field in dataclasses.fields(factory)}
  flags = {
    'num_classes': '--condition.label',
    'text_dim': '--condition.text',
    'low_res': '--condition.low-res',
    'second_time': f'the second time of --diffusion.loss {loss}',
    'augment_labels': '--data.augment',
  }
  for name, needed in flags.items():
    if inputs.get(name) and name not in known:
      raise ValueError(f'{needed} is nothing that {type(n).__name__} reads')
  inputs = {name: x for name, x in inputs.items() if name in known}
  return factory(**own, **inputs)


def _with_encoder(c: Condition, denoiser: nn.Module) -> nn.Module:
  """Adds a text encoder that is trained with the denoiser."""
  from jaxdiff import tokenizers
  from jaxdiff.networks.text_conditional import TextConditional
  from jaxdiff.networks.text_encoder import TextEncoder

  bytes_size = tokenizers.byte_tokenizer(c.length).vocab_size
  encoder = TextEncoder(
    vocab_size=c.vocab_size if c.text == 'bpe' else bytes_size,
    max_length=c.length,
    width=c.width,
    depth=c.depth,
    num_heads=c.num_heads,
  )
  return TextConditional(encoder=encoder, denoiser=denoiser)


def scaled(
  apply: losses.Apply, schedule: Schedule, c: Gaussian
) -> losses.Apply:
  """The network given xt / sqrt(alpha^2 + sigma^2), of about unit size.

  It is xt itself on a schedule that preserves the variance, and with
  scale_input=False. The time is T t - 1 for 1000 t with steps_from_zero. With
  log_sigma it is xt divided by sqrt(sigma_data^2 alpha^2 + sigma^2), and the
  time is log(sigma / alpha) / 4.
  Source: EDM (Karras et al. 2022), table 1: c_in and c_noise.
  """
  deviation = 1.0
  if c.log_sigma:
    call = names.parse(c.prediction, '--diffusion.prediction')
    deviation = [*call.args, *call.kwargs.values(), 0.5][0]

  def apply_scaled(
    params: Params, xt: Array, t: Array, cond: Any, dropout_keys: Any = None
  ) -> Any:
    alpha, sigma = schedule(t)
    if c.scale_input:
      size = jnp.hypot(deviation * alpha, sigma)
      xt = xt / size.reshape(-1, *[1] * (xt.ndim - 1))
    if c.log_sigma:
      t = jnp.log(sigma / alpha) / 4
    elif c.steps_from_zero:
      t = jnp.maximum(c.num_steps * t - 1, 0) / 1000
    return apply(params, xt, t, cond, dropout_keys)

  return apply_scaled


def _check_conditions(config: Config, spec: Spec) -> None:
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


def _takes(c: Condition) -> tuple[str, ...]:
  """Lists the conditions that a network reads."""
  text = {None: (), 'clip': ('text', 'pooled') if c.pooled else ('text',)}
  text['t5'] = ('text', 'pooled', 'mask')
  return (
    *(('label',) if c.label else ()),
    *text.get(c.text, ('tokens', 'text', 'pooled', 'mask')),
    *(('low_res', 'augment') if c.low_res else ()),
  )


def _blank(
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
