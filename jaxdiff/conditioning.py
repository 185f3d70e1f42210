"""Conditions of a denoiser: dropping them in training, small images, rows.

`cond` is a dict of arrays [B, ...]: 'label', 'tokens', 'low_res', ... For
guidance one network must serve with and without: in training the condition of
an example is replaced, with some probability, by the null one, `null`, a row
for each name. A condition that has no null, such as 'low_res', is always there.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from jaxdiff.checks import number, whole
from jaxdiff.losses import Batch, Loss, LossValue

Cond = Mapping[str, Array]


def drop(
  keys: Array, cond: Cond, null: Mapping[str, ArrayLike], probability: float
) -> dict[str, Array]:
  """Replaces the conditions of an example by null, all or none of them.

  Args:
    keys: [B], one for each example.
    cond: {name: [B, ...]}.
    null: {name: [...]}, those that are dropped.
    probability: In [0, 1], of each example on its own.

  Raises:
    ValueError: A null without its condition.

  Source: Ho & Salimans 2022, algorithm 1.
  """
  number('probability', probability, '[0, 1]')
  if not null.keys() <= cond.keys():
    raise ValueError(
      f'null has {sorted(null.keys() - cond.keys())}, which are not among the '
      f'conditions {sorted(cond)}'
    )
  dropped = jax.vmap(lambda key: jax.random.bernoulli(key, probability))(keys)

  def replace(x: Array, empty: ArrayLike) -> Array:
    here = dropped.reshape(-1, *[1] * (x.ndim - 1))
    return jnp.where(here, jnp.asarray(empty, x.dtype)[None], x)

  return {**cond, **{name: replace(cond[name], null[name]) for name in null}}


def dropping(
  loss: Loss, null: Mapping[str, ArrayLike], probability: float
) -> Loss:
  """Builds the loss with conditions dropped; see `drop`."""
  number('probability', probability, '[0, 1]')

  def dropped(params: Any, keys: Array, batch: Batch) -> LossValue:
    drop_keys, keys = _split(keys)
    cond = drop(drop_keys, batch.get('cond', {}), null, probability)
    return loss(params, keys, {**batch, 'cond': cond})

  return dropped


def shrink(x0: Array, size: int) -> Array:
  """Resizes square images [B, H, H, C] of [-1, 1] to [B, size, size, C].

  By an antialiased bicubic filter, clipped to the range.

  Raises:
    ValueError: The images are not square, so that they would be squashed.
  """
  height, width = x0.shape[1:3]
  if height != width:
    raise ValueError(
      f'--condition.low-res needs square images, got {height}x{width}: give '
      '--data.image-size'
    )
  shape = (x0.shape[0], size, size, x0.shape[-1])
  return jnp.clip(jax.image.resize(x0, shape, 'cubic'), -1.0, 1.0)


def augment(keys: Array, low_res: Array, level: Array) -> Array:
  """Adds noise to small images: sqrt(1 - level^2) low_res + level eps.

  A model trained on clean small images trusts those of another model too much;
  one that met noisy ones, and knows how noisy, does not. level [B] is in [0,
  1].

  Source: Ho et al. 2022, "Cascaded diffusion models", section 4.2.
  """

  def one(key: Array, x: Array, level: Array) -> Array:
    eps = jax.random.normal(key, x.shape)
    return jnp.sqrt(1.0 - level**2) * x + level * eps

  return jax.vmap(one)(keys, low_res, level)


def augment_keys(keys: Array) -> Array:
  """Derives keys [B] for `augment` while sampling, apart from its steps'."""
  # Steps are numbered from 0: none is ever the last number there is.
  return jax.vmap(lambda key: jax.random.fold_in(key, 2**32 - 1))(keys)


def super_resolution(loss: Loss, size: int, most: float) -> Loss:
  """Builds the loss of a model that is given its image in small.

  Args:
    loss: Of a network with the conditions 'low_res' [B, size, size, C] and
      'augment' [B], the level of noise in it.
    size: Side length of the small image.
    most: Levels are uniform over [0, most], at most 1.
  """
  whole('size', size, 1)
  number('most', most, '[0, 1]')

  def shown(params: Any, keys: Array, batch: Batch) -> LossValue:
    level_keys, keys = _split(keys)
    level_keys, noise_keys = _split(level_keys)
    level = most * jax.vmap(jax.random.uniform)(level_keys)
    low_res = augment(noise_keys, shrink(batch['x0'], size), level)
    cond = {**batch.get('cond', {}), 'low_res': low_res, 'augment': level}
    return loss(params, keys, {**batch, 'cond': cond})

  return shown


def rows(table: Cond, index: Array) -> dict[str, Array]:
  """Selects the conditions of samples `index` [B]: row i modulo M.

  Args:
    table: {name: [M, ...]}, M the same for all, or 1.

  Raises:
    ValueError: The lengths differ.
  """
  lengths = {name: len(x) for name, x in table.items()}
  if len(set(lengths.values()) - {1}) > 1:
    raise ValueError(f'conditions must be as many of each kind, got {lengths}')
  return jax.tree.map(lambda x: x[index % len(x)], dict(table))


def _split(keys: Array) -> tuple[Array, Array]:
  # A tuple from inside vmap: slices of one array of keys count as its reuse.
  return jax.vmap(lambda key: tuple(jax.random.split(key)))(keys)


def given_past(loss: Loss) -> Loss:
  """Adds the clean data as cond['past'], for block diffusion.

  All blocks have one t. The bound of each is a mean over its own noise given
  the blocks before, so the mean is that of a t for each.

  Source: Arriola et al. 2025 (arXiv:2503.09573) eq. 6, 8.
  """

  def with_past(params: Any, keys: Array, batch: Batch) -> LossValue:
    cond = {**batch.get('cond', {}), 'past': batch['x0']}
    return loss(params, keys, {**batch, 'cond': cond})

  return with_past
