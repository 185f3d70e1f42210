"""Predictions of a network: x0, eps, v, velocity, score, EDM's F.

Every kind is linear in the clean data and the noise,

  y = a x0 + b eps,      xt = alpha x0 + sigma eps,

so a kind is the function (schedule, t) -> (a, b), and with d = alpha b - sigma
a the pair (xt, y) determines both:

  x0 = (b xt - sigma y) / d,      eps = (alpha y - a xt) / d.

An error in y is an error in x0 times sigma / d, which turns a loss in any space
into a loss in any other. All functions are for one example: t is a scalar and
arrays are [...]; `jax.vmap` makes the batch. `clean_apply` is for a batch.
"""

from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from jaxdiff.checks import number
from jaxdiff.schedules import Schedule

Kind = Callable[[Schedule, ArrayLike], tuple[Array, Array]]
Apply = Callable[..., Any]  # (params, xt, t, cond, dropout_keys=None)


def x0(schedule: Schedule, t: ArrayLike) -> tuple[Array, Array]:
  """Clean data, y = x0."""
  del schedule
  return jnp.ones_like(t), jnp.zeros_like(t)


def eps(schedule: Schedule, t: ArrayLike) -> tuple[Array, Array]:
  """Noise, y = eps. (DDPM, Ho et al. 2020.)"""
  del schedule
  return jnp.zeros_like(t), jnp.ones_like(t)


def v(schedule: Schedule, t: ArrayLike) -> tuple[Array, Array]:
  """v = alpha eps - sigma x0. (Salimans & Ho 2022, appendix D.)"""
  alpha, sigma = schedule(t)
  return -sigma, alpha


def velocity(schedule: Schedule, t: ArrayLike) -> tuple[Array, Array]:
  """Velocity dxt/dt = alpha' x0 + sigma' eps. (Flow matching, Lipman 2023.)"""
  t = jnp.asarray(t, jnp.float32)
  return tuple(jax.jvp(schedule, (t,), (jnp.ones_like(t),))[1])


def score(schedule: Schedule, t: ArrayLike) -> tuple[Array, Array]:
  """Score, grad log q(xt | x0) = -eps / sigma. (Song & Ermon 2019.)"""
  return jnp.zeros_like(t), -1.0 / schedule(t).sigma


def eps_residual(schedule: Schedule, t: ArrayLike) -> tuple[Array, Array]:
  """Noise less xt, y = eps - xt: a network of output 0 says that eps is xt.

  Source: the released code of VDM (Kingma et al. 2021), whose network adds its
  input to its output.
  """
  alpha, sigma = schedule(t)
  return -alpha, 1.0 - sigma


def edm(sigma_data: float = 0.5) -> Kind:
  """Builds the kind of EDM's network output F, where x0 = c_skip xt + c_out F.

  EDM works on xt / alpha at noise sigma / alpha. In xt itself, with n^2 =
  sigma^2 + alpha^2 sigma_data^2, c_skip = alpha sigma_data^2 / n^2 and c_out =
  sigma sigma_data / n, so that

    F = (sigma / sigma_data x0 - alpha sigma_data eps) / n.

  With sigma_data = 1 on a variance-preserving schedule this is -v.

  Args:
    sigma_data: standard deviation of the data.

  Source: EDM (Karras et al. 2022), table 1.
  """
  number('sigma_data', sigma_data, '(0, inf)')

  def kind(schedule: Schedule, t: ArrayLike) -> tuple[Array, Array]:
    alpha, sigma = schedule(t)
    norm = jnp.sqrt(sigma**2 + (alpha * sigma_data) ** 2)
    return sigma / (sigma_data * norm), -alpha * sigma_data / norm

  return kind


def target(
  kind: Kind, schedule: Schedule, x0: Array, eps: Array, t: ArrayLike
) -> Array:
  """Computes the target of a network of this kind, y = a x0 + b eps. [...]"""
  a, b = kind(schedule, t)
  return a * x0 + b * eps


def to_x0(
  kind: Kind, schedule: Schedule, y: Array, xt: Array, t: ArrayLike
) -> Array:
  """Computes the clean data that a prediction y at xt stands for.

  x0 = (b xt - sigma y) / d, and xt / alpha where sigma is 0.

  Returns:
    [...] in the data's range.

  Example:
    >>> from jaxdiff import predictions, schedules
    >>> flow = schedules.rectified_flow()
    >>> xt = 0.75 * 2.0 + 0.25 * -1.0  # x0 = 2, eps = -1 at t = 1/4
    >>> y = -1.0 - 2.0  # the velocity, eps - x0
    >>> float(predictions.to_x0(predictions.velocity, flow, y, xt, 0.25))
    2.0
  """
  alpha, sigma = schedule(t)
  clean = sigma == 0
  # Both branches of a where are differentiated: keep the dead one finite. The
  # coefficients of the score are infinite at sigma = 0.
  a, b = (jnp.where(clean, 1.0, c) for c in kind(schedule, t))
  d = jnp.where(clean, 1.0, alpha * b - sigma * a)
  return jnp.where(clean, xt / alpha, (b * xt - sigma * y) / d)


def to_eps(
  kind: Kind, schedule: Schedule, y: Array, xt: Array, t: ArrayLike
) -> Array:
  """Computes the noise that a prediction y at xt stands for.

  eps = (alpha y - a xt) / d.

  Returns:
    [...] of unit scale; nan or inf at sigma = 0 for kinds that say nothing of
    the noise there, such as x0.
  """
  a, b = kind(schedule, t)
  alpha, sigma = schedule(t)
  return (alpha * y - a * xt) / (alpha * b - sigma * a)


def convert(
  kind: Kind,
  to: Kind,
  schedule: Schedule,
  y: Array,
  xt: Array,
  t: ArrayLike,
) -> Array:
  """Converts a prediction y of one kind to another. [...]"""
  return target(
    to,
    schedule,
    to_x0(kind, schedule, y, xt, t),
    to_eps(kind, schedule, y, xt, t),
    t,
  )


def x0_error(kind: Kind, schedule: Schedule, t: ArrayLike) -> Array:
  """Computes the factor (sigma / d)^2 between squared errors in y and in x0.

  |x0_hat - x0|^2 = (sigma / d)^2 |y_hat - y|^2: 1 for x0 itself, 1 / SNR for
  eps, sigma^2 for v on a variance-preserving schedule. Not defined at sigma = 0
  for x0 and the score.

  Returns:
    Like t.
  """
  a, b = kind(schedule, t)
  alpha, sigma = schedule(t)
  return jnp.square(sigma / (alpha * b - sigma * a))


def clean_apply(apply: Apply, kind: Kind, schedule: Schedule) -> Apply:
  """Turns the prediction of a network into E[x0 | xt].

  Args:
    apply: the network, (params, xt[B, ...], t[B], cond, dropout_keys=None).
  """

  def clean(params: Any, xt: Array, t: Array, *args: Any) -> Array:
    y = apply(params, xt, t, *args)
    # Unequal shapes would broadcast.
    chex.assert_equal_shape([y, xt])
    one = lambda y, xt, t: to_x0(kind, schedule, y, xt, t)
    return jax.vmap(one)(y, xt, t)

  return clean
