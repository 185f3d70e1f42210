"""Training losses, one value for each example.

  Loss = (params, keys[B], batch) -> (per_example[B], metrics)

`batch` is {'x0': [B, ...], 'cond': {name: [B, ...]}}; `keys` holds one key for
each example, so the noise an example meets does not depend on how a batch is
divided over devices. `batch` may also hold 'u' [B], the position of each
example in (0, 1) from which its time is made: `training.make_train_step`
draws it stratified over the global batch. Without it, u is drawn from the
example's own key.

A time sampler is the map from u to t, an inverse distribution function:
`continuous()` and `grid(T)` here.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jaxdiff import predictions
from jaxdiff.predictions import Kind
from jaxdiff.schedules import Schedule

Apply = Callable[..., Any]  # (params, xt, t, cond, dropout_key=None)
Batch = Mapping[str, Any]
Loss = Callable[[Any, Array, Batch], tuple[Array, dict[str, Array]]]
Times = Callable[[Array], Array]


def continuous(t_min: float = 0.0) -> Times:
  """t uniform over (t_min, 1]."""
  return lambda u: 1.0 - (1.0 - t_min) * u


def grid(num_steps: int) -> Times:
  """t uniform over {1/T, 2/T, ..., 1}: the T steps of a DDPM table."""
  return lambda u: (
    jnp.minimum(jnp.floor(u * num_steps) + 1, num_steps) / (num_steps)
  )


def denoising(
  apply: Apply,
  schedule: Schedule,
  kind: Kind,
  *,
  space: Kind | None = None,
  times: Times | None = None,
) -> Loss:
  """Mean squared error of a prediction at a random time.

  With y the target of the network's kind at xt = alpha x0 + sigma eps,

    loss = w(t) mean_dims (apply(params, xt, t, cond) - y)^2,

  where w(t) = 1 when `space` is the kind itself, and otherwise turns the
  squared error into that of `space`. kind = space = `predictions.eps` on
  `grid(T)` is L_simple (DDPM, Ho et al. 2020, eq. 14).

  Args:
    apply: the network, (params, xt[B, ...], t[B], cond, dropout_key).
    schedule: the noise levels.
    kind: what the network predicts.
    space: the kind in which the error is measured; None is `kind`.
    times: u[B] in [0, 1) -> t[B]; None is `continuous()`.

  Returns:
    A Loss.
  """
  times = times or continuous()
  space = space or kind

  def corrupt(key: Array, x0: Array, t: Array) -> tuple[Array, Array]:
    alpha, sigma = schedule(t)
    eps = jax.random.normal(key, x0.shape)
    target = predictions.target(kind, schedule, x0, eps, t)
    return alpha * x0 + sigma * eps, target

  def weight(t: Array) -> Array:
    if space is kind:
      return jnp.ones_like(t)
    return predictions.x0_error(kind, schedule, t) / predictions.x0_error(
      space, schedule, t
    )

  def loss(
    params: Any, keys: Array, batch: Batch
  ) -> tuple[Array, dict[str, Array]]:
    time_keys, noise_keys, dropout_keys = jnp.moveaxis(
      jax.vmap(lambda key: jax.random.split(key, 3))(keys), 1, 0
    )
    u = batch['u'] if 'u' in batch else jax.vmap(jax.random.uniform)(time_keys)
    t = times(u)
    xt, target = jax.vmap(corrupt)(noise_keys, batch['x0'], t)
    y = apply(params, xt, t, batch.get('cond', {}), dropout_keys[0])
    error = jnp.mean(jnp.square(y - target), axis=range(1, y.ndim))
    return jax.vmap(weight)(t) * error, {}

  return loss
