"""Conditions of a denoising network: a dict of arrays, checked and embedded.

  label     integers [B]; num_classes is the null label, that of no class
  text      floats [B, L, D], a sequence to attend to
  mask      booleans [B, L], true where `text` is not padding; optional
  pooled    floats [B, P], the text as one vector
  low_res   floats [B, h, w, C'] in [-1, 1], a smaller image of the same scene
  augment   floats [B] in [0, 1], the noise level of `low_res`; optional, 0
            without
  s         floats [B] in [0, t], the second time; optional, t without
  augment_labels   floats [B, 9], of `jaxdiff.augmentation`; optional, 0 without

A network needs those that it was built for. One encoder returns `text`, `mask`
and `pooled`; a network built for a part of them ignores the rest.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike, DTypeLike

from jaxdiff.networks import layers

Cond = Mapping[str, Array]

ENCODED = ('text', 'mask', 'pooled')


class Kinds(NamedTuple):
  """The conditions that a network was built for; none by default."""

  num_classes: int | None = None
  text_dim: int | None = None
  pooled_dim: int | None = None
  low_res: bool = False
  second_time: bool = False
  time_scale: float = 1000.0  # of t in the largest frequency, see `sinusoidal`
  pooled_mlp: bool = False  # two layers for `pooled`
  beside: int = 0  # channels of what stands beside xt
  augment_labels: int = 0  # numbers that say how an image was augmented


def check(kinds: Kinds, cond: Cond | None, batch: int) -> None:
  """Checks that conditions are those that the network was built for.

  Args:
    kinds: Conditions of the network.
    cond: Conditions that came. None, or 's' alone, is the null label for all,
      if labels are all that the network takes; the null of other conditions is
      data.
    batch: B.

  Raises:
    ValueError: A size is below 1; a condition is missing, not taken, or of a
      wrong shape or type.
  """
  for name in ('num_classes', 'text_dim', 'pooled_dim'):
    value = getattr(kinds, name)
    if value is not None and value < 1:
      raise ValueError(f'{name} must be at least 1, got {value}')

  length, text_dim, pooled_dim = 'L', kinds.text_dim, kinds.pooled_dim
  if cond is not None and 'text' in cond and cond['text'].ndim == 3:
    length = cond['text'].shape[1]
  needed, optional = {}, {}
  if kinds.num_classes is not None:
    needed['label'] = (jnp.integer, (batch,))
  if text_dim is not None:
    needed['text'] = (jnp.floating, (batch, length, text_dim))
    optional['mask'] = (jnp.bool_, (batch, length))
  if pooled_dim is not None:
    needed['pooled'] = (jnp.floating, (batch, pooled_dim))
  if kinds.low_res:
    needed['low_res'] = (jnp.floating, (batch, 'h', 'w', "C'"))
    optional['augment'] = (jnp.floating, (batch,))
  if kinds.beside:
    needed['beside'] = (jnp.floating, (batch, 'H', 'W', kinds.beside))
  if kinds.second_time:
    optional['s'] = (jnp.floating, (batch,))
  if kinds.augment_labels:
    shape = batch, kinds.augment_labels
    optional['augment_labels'] = (jnp.floating, shape)

  alone = cond is None or (kinds.second_time and set(cond) == {'s'})
  if alone and set(needed) <= {'label'}:
    return
  given = {} if cond is None else dict(cond)
  if text_dim is not None or pooled_dim is not None:
    ignored = set(ENCODED) - set(needed) - set(optional)
    given = {name: given[name] for name in given if name not in ignored}
  specs = needed | optional
  wrong = [
    f'{name!r} is {"missing" if name in needed else "not taken"}'
    for name in sorted(set(needed) - set(given) | set(given) - set(specs))
  ]
  wrong += [
    f'{name!r} is {array.dtype} of shape {tuple(array.shape)}'
    for name, array in sorted(given.items())
    if name in specs and not _matches(array, *specs[name])
  ]
  if wrong:
    raise ValueError(
      f'cond must be {_described(needed, optional)}; {", ".join(wrong)}'
    )


def sinusoidal(
  t: Array,
  dim: int,
  scale: float = 1000.0,
  cosine_first: bool = False,
  frequency_shift: int = 1,
) -> Array:
  """Embeds times as sines, then cosines, of geometrically spaced frequencies.

  With h = dim / 2 and w_i = 10000^(-i / (h - 1)), i = 0 .. h - 1:
  [sin(scale t w_0), .., sin(scale t w_{h-1}), cos(scale t w_0), ..].

  Args:
    t: times in [0, 1], [B].
    dim: even, at least 4.
    scale: 1000, so that t = i / 1000 is the i-th step of a 1000-step DDPM.
    cosine_first: whether the cosines come before the sines.
    frequency_shift: subtracted from h in w; 0 in Stable Diffusion.

  Returns:
    Embedding [B, dim], float32, in [-1, 1].

  Raises:
    ValueError: if `dim` is odd or below 4.

  Source: Ho et al. 2020 (arXiv:2006.11239), appendix B, in the order and with
  the frequencies of its released code.
  """
  if dim < 4 or dim % 2:
    raise ValueError(
      f'a sinusoidal embedding needs an even dim of at least 4, got {dim}'
    )
  half = dim // 2
  frequencies = np.power(10000.0, -np.arange(half) / (half - frequency_shift))
  # float32 even in a bfloat16 network: bfloat16 cannot tell t = 0.999 from 1.
  angles = scale * jnp.asarray(t, jnp.float32)[:, None]
  angles = angles * frequencies.astype(np.float32)[None, :]
  waves = [jnp.sin(angles), jnp.cos(angles)]
  return jnp.concatenate(waves[::-1] if cosine_first else waves, axis=-1)


def embed(
  kinds: Kinds,
  t: Array,
  cond: Cond | None,
  frequencies: int,
  width: int,
  dtype: DTypeLike,
  init: Callable[..., Array] = layers.kernel_init,
  label: Array | None = None,
  waves: Callable[..., Array] = sinusoidal,
  early: ArrayLike = 0.0,
) -> Array:
  """Sums the embeddings of time and of the conditions that are vectors.

  mlp(sinusoidal(t)) + label[c] + W pooled + mlp'(sinusoidal(augment)), and with
  a second time mlp''(sinusoidal(t - s)), which starts at zero. Where images are
  augmented, V augment_labels stands beside sinusoidal(t). To be called within a
  network, whose parameters they become.

  Args:
    kinds: Conditions of the network.
    t: Times in [0, 1], [B].
    cond: Conditions that `check` accepts.
    frequencies: Dimension of the sinusoidal embedding.
    width: Of the sum.
    dtype: Of computation.
    init: Of the matrices.
    label: From `embed_label`, which is called without.
    waves: The sinusoidal embedding.
    early: Added to that of time, [B, frequencies].

  Returns:
    [B, width].
  """
  dense = partial(layers.Dense, width, dtype=dtype, kernel_init=init)

  def level(t, name, scale=kinds.time_scale, early=0.0, **last):
    emb = waves(t, frequencies, scale) + early
    emb = nn.swish(dense(name=f'{name}_0')(emb))
    return dense(name=f'{name}_1', **last)(emb)

  if kinds.augment_labels:
    zeros = jnp.zeros((len(t), kinds.augment_labels))
    numbers = (cond or {}).get('augment_labels', zeros)
    settings = {'use_bias': False, 'dtype': dtype, 'kernel_init': init}
    linear = layers.Dense(frequencies, name='augment_labels', **settings)
    early = early + linear(numbers)
  emb = level(t, 'time', early=early)
  if kinds.num_classes is not None:
    if label is None:
      label = embed_label(kinds, t, cond, width, dtype)
    emb = emb + label
  if kinds.pooled_dim is not None:
    pooled, name = cond['pooled'], 'pooled'
    if kinds.pooled_mlp:
      pooled, name = nn.swish(dense(name='pooled_0')(pooled)), 'pooled_1'
    emb = emb + dense(name=name)(pooled)
  if kinds.low_res:
    augment = cond.get('augment', jnp.zeros(t.shape))
    emb = emb + level(augment, 'augment', 1000.0)
  if kinds.second_time:
    # At zero, weights of a network without a second time serve as they are.
    length = t - (cond or {}).get('s', t)
    zero = nn.initializers.zeros
    emb = emb + level(length, 'length', kernel_init=zero)
  return emb


def embed_label(
  kinds: Kinds,
  t: Array,
  cond: Cond | None,
  width: int,
  dtype: DTypeLike,
  std: float = 1.0,
) -> Array | None:
  """Embeds labels, the null label without conditions; None without labels.

  To be called within a network, whose parameters the table becomes.

  Args:
    kinds, t, cond, width, dtype: As in `embed`.
    std: Initial standard deviation of the table.

  Returns:
    [B, width].
  """
  if kinds.num_classes is None:
    return None
  null = jnp.full(t.shape, kinds.num_classes)
  table = nn.Embed(
    kinds.num_classes + 1,
    width,
    dtype=dtype,
    embedding_init=nn.initializers.normal(std),
    name='label',
  )
  return table((cond or {}).get('label', null))


def beside_low_res(xt: Array, cond: Cond) -> Array:
  """Concatenates `low_res`, resized bilinearly, to xt [B, H, W, C].

  Source: Saharia et al. 2021 (arXiv:2104.07636), section 2.3; Ho et al. 2021
  (arXiv:2106.15282), section 3, which adds noise to it too.
  """
  low_res = cond['low_res']
  size = (*xt.shape[:3], low_res.shape[-1])
  low_res = jax.image.resize(low_res, size, 'bilinear')
  return jnp.concatenate([xt, low_res], axis=-1)


def _matches(array: Array, kind: type, shape: tuple[int | str, ...]) -> bool:
  """Compares an array with a type and a shape; a letter is any size."""
  return jnp.issubdtype(array.dtype, kind) and (
    len(array.shape) == len(shape)
    and all(
      isinstance(n, str) or n == size
      for n, size in zip(shape, array.shape, strict=True)
    )
  )


Specs = Mapping[str, tuple[type, tuple[int | str, ...]]]


def _described(needed: Specs, optional: Specs) -> str:
  """The dict that a network takes, in words."""
  if not needed:
    return (
      'None, for a network built without num_classes, text_dim, pooled_dim '
      'and low_res'
    )
  words = {
    jnp.integer: 'integers',
    jnp.floating: 'floats',
    jnp.bool_: 'booleans',
  }

  def listed(specs):
    return ', '.join(
      f'{name!r}: {words[kind]} [{", ".join(map(str, shape))}]'
      for name, (kind, shape) in specs.items()
    )

  extra = f' with, optionally, {{{listed(optional)}}}' if optional else ''
  return f'{{{listed(needed)}}}{extra}'
