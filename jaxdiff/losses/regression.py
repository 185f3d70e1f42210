"""Denoising loss: the regression of a network's prediction on its target.

`batch` is {'x0': [B, ...], 'cond': {name: [B, ...]}}. `keys` holds one key for
each example, so the noise of an example does not depend on how a batch is
divided over devices. `batch` may also hold 'u' [B], the position of each
example in (0, 1) from which its time is made: `training.make_train_step` draws
it over the global batch. Without it, u is drawn from the example's own key.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
from jax import Array

from jaxdiff import predictions
from jaxdiff.checks import number
from jaxdiff.losses.time_sampling import Times, continuous
from jaxdiff.losses.weightings import Weighting
from jaxdiff.predictions import Apply, Kind, clean_apply
from jaxdiff.schedules import NoiseLevel, Schedule, log_snr

Params = Mapping[str, Any]
Batch = Mapping[str, Any]
LossValue = tuple[Array, dict[str, Array]]  # per_example[B], metrics
Loss = Callable[[Any, Array, Batch], LossValue]
Noise = Callable[[Array, tuple[int, ...]], Array]
Uncertainty = Callable[[Any, Array], Array]  # (params, t[B]) -> u[B]

DISCRIMINATOR = 'discriminator'  # its place in a tree of parameters


def self_conditioned(apply: Apply, kind: Kind, schedule: Schedule) -> Apply:
  """Makes half of the examples see a first estimate, in training.

  A network that reads `cond['x0']`, [B, ...], is evaluated without it, and the
  estimate, without gradient, is given to the second evaluation. Without
  dropout keys, so in sampling, nothing is added.

  Source: Chen et al. 2022 (arXiv:2208.04202), algorithm 1, "Analog bits".
  """
  clean = clean_apply(apply, kind, schedule)

  def twice(
    params: Any, xt: Array, t: Array, cond: Any, dropout_keys: Any = None
  ) -> Array:
    if dropout_keys is None:
      return apply(params, xt, t, cond)
    split = lambda key: tuple(jax.random.split(key))
    keys, dropout_keys = jax.vmap(split)(dropout_keys)
    first = jax.lax.stop_gradient(clean(params, xt, t, cond))
    shown = jax.vmap(jax.random.bernoulli)(keys)
    shown = shown.reshape(-1, *[1] * (xt.ndim - 1))
    cond = {**cond, 'x0': jnp.where(shown, first, 0.0)}
    return apply(params, xt, t, cond, dropout_keys)

  return twice


class Noisy(NamedTuple):
  """A corrupted batch: the network's input and its target."""

  xt: Array  # [B, ...]
  t: Array  # [B]
  target: Array  # [B, ...]
  dropout_keys: Array  # [B]


def corruption(
  schedule: Schedule,
  kind: Kind,
  times: Times | None = None,
  noise: Noise = jax.random.normal,
) -> Callable[[Array, Batch], Noisy]:
  """Builds (keys[B], batch) -> Noisy: xt = alpha x0 + sigma eps, its target.

  The arguments are those of `denoising`.
  """
  times = times or continuous()

  def one(key: Array, x0: Array, t: Array) -> tuple[Array, Array]:
    alpha, sigma = schedule(t)
    eps = noise(key, x0.shape)
    target = predictions.target(kind, schedule, x0, eps, t)
    return alpha * x0 + sigma * eps, target

  def corrupt(keys: Array, batch: Batch) -> Noisy:
    # A tuple from inside vmap: slices of one array of keys count as its reuse.
    split = lambda key: tuple(jax.random.split(key, 3))
    time_keys, noise_keys, dropout_keys = jax.vmap(split)(keys)
    u = batch['u'] if 'u' in batch else jax.vmap(jax.random.uniform)(time_keys)
    t = times(u)
    xt, target = jax.vmap(one)(noise_keys, batch['x0'], t)
    return Noisy(xt, t, target, dropout_keys)

  return corrupt


def weight(
  schedule: Schedule,
  kind: Kind,
  *,
  space: Kind | None = None,
  weighting: Weighting | None = None,
  per_log_snr: bool = False,
) -> Callable[[Array], Array]:
  """Builds t -> w(t), the weight of |y_hat - y|^2. Scalars.

  With e_kind = (sigma / d)^2, by which an error in y is one in x0, it is

    e_kind / e_space,  or  weighting(log_snr) e_kind,  or 1 with neither,

  times -d log_snr / dt with `per_log_snr`. The arguments are those of
  `denoising`.

  Raises:
    ValueError: both space and weighting are given; each is the other's name.
  """
  if space is not None and weighting is not None:
    raise ValueError(
      'give space or weighting, not both: space=predictions.eps is '
      'weighting=weightings.simple'
    )

  def inside(t: Array) -> NoiseLevel:
    # Where alpha or sigma is exactly 0 a weight is the limit of 0 x inf. 1e-9
    # keeps it finite, and is lost in rounding everywhere else.
    return NoiseLevel(*(x + 1e-9 for x in schedule(t)))

  def of_error(t: Array) -> Array:
    if weighting:
      error = predictions.x0_error(kind, inside, t)
      return weighting(log_snr(inside, t)) * error
    if space is None or space is kind:
      return jnp.ones_like(t)
    return predictions.x0_error(kind, inside, t) / predictions.x0_error(
      space, inside, t
    )

  def total(t: Array) -> Array:
    if not per_log_snr:
      return of_error(t)
    slope = jax.jvp(lambda t: log_snr(inside, t), (t,), (jnp.ones_like(t),))[1]
    return -slope * of_error(t)

  return total


def denoising(
  apply: Apply,
  schedule: Schedule,
  kind: Kind,
  *,
  space: Kind | None = None,
  weighting: Weighting | None = None,
  per_log_snr: bool = False,
  times: Times | None = None,
  error: Callable[[Array], Array] = jnp.square,
  noise: Noise = jax.random.normal,
  uncertainty: Uncertainty | None = None,
) -> Loss:
  """Builds the denoising loss: the mean error of a prediction at a random time.

  With y the target of the network's kind at xt = alpha x0 + sigma eps,

    loss = mean_dims error(sqrt(w(t)) (apply(params, xt, t, cond) - y)),

  w(t) times the mean squared error, or another `error` in the units of the
  space. kind = `predictions.eps` on `grid(T)` is L_simple (DDPM, Ho et al.
  2020, eq. 14).

  Args:
    apply: the network, (params, xt[B, ...], t[B], cond, dropout_keys).
    space: the kind in which the error is measured; None is `kind`.
    weighting: instead of space, one of `weightings`.
    per_log_snr: weigh each nat of log-SNR alike; see `weightings`.
    times: u[B] in [0, 1) -> t[B], one of `time_sampling`; None is
      `continuous()`.
    error: elementwise: `jnp.square`, `jnp.abs`, `huber(delta)`, ...
    noise: (key, shape) -> eps of one example, or `offset_noise(strength)`.
    uncertainty: the loss is then loss / e^u + u, as by `uncertainty`; its
      minimum over u is u = log of the loss at this level of noise.

  Raises:
    ValueError: both space and weighting are given.

  Example:
    >>> import jax, jax.numpy as jnp
    >>> from jaxdiff import losses, predictions, schedules
    >>> apply = lambda params, xt, t, cond, dropout_keys=None: params * xt
    >>> loss = losses.denoising(apply, schedules.cosine(), predictions.v)
    >>> keys = jax.random.split(jax.random.key(0), 4)
    >>> per_example, _ = loss(0.5, keys, {'x0': jnp.ones((4, 8, 8, 1))})
    >>> per_example.shape
    (4,)
  """
  corrupt = corruption(schedule, kind, times, noise)
  weight_at = weight(
    schedule, kind, space=space, weighting=weighting, per_log_snr=per_log_snr
  )

  def loss(params: Any, keys: Array, batch: Batch) -> LossValue:
    xt, t, target, dropout_keys = corrupt(keys, batch)
    y = apply(params, xt, t, batch.get('cond', {}), dropout_keys)
    # Unequal shapes would broadcast into a loss that looks like one.
    chex.assert_equal_shape([y, target])
    one = lambda y, target, t: jnp.mean(
      error(jnp.sqrt(weight_at(t)) * (y - target))
    )
    value = jax.vmap(one)(y, target, t)
    if uncertainty is None:
      return value, {}
    u = uncertainty(params, t)
    return value * jnp.exp(-u) + u, {'error': value}

  return loss


def huber(delta: float = 1.0) -> Callable[[Array], Array]:
  """Builds twice Huber's loss: x^2 up to delta, then 2 delta |x| - delta^2.

  `jnp.abs` is the L1 error.
  """
  number('delta', delta, '(0, inf)')
  return lambda x: jnp.where(
    jnp.abs(x) < delta, jnp.square(x), delta * (2 * jnp.abs(x) - delta)
  )


def pseudo_huber(delta: float = 1.0) -> Callable[[Array], Array]:
  """Builds the smooth Huber loss 2 delta (sqrt(x^2 + delta^2) - delta).

  x^2 for small x. (Charbonnier et al. 1997.)
  """
  number('delta', delta, '(0, inf)')
  # The difference of the roots, without cancellation.
  return lambda x: (
    2 * delta * jnp.square(x) / (jnp.sqrt(jnp.square(x) + delta**2) + delta)
  )


def offset_noise(strength: float = 0.1) -> Noise:
  """Builds offset noise: eps + strength z, one normal z for each channel.

  A model learns overall brightness, which white noise hardly destroys. Its
  variance is 1 + strength^2: for training only, the sampler's noise stays
  white.

  Source: Guttenberg 2023, "Diffusion with offset noise".
  """
  number('strength', strength, '[0, inf)')

  def noise(key: Array, shape: tuple[int, ...]) -> Array:
    key, offset_key = jax.random.split(key)
    level = (1,) * (len(shape) - 1) + shape[-1:]
    offset = jax.random.normal(offset_key, level)
    return jax.random.normal(key, shape) + strength * offset

  return noise
