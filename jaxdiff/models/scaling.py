"""Inputs of a network: noisy data of about unit size, and the time."""

from typing import Any

import jax.numpy as jnp
from jax import Array

from jaxdiff import losses, names
from jaxdiff.config import Gaussian
from jaxdiff.models.model import Params
from jaxdiff.schedules import Schedule


def scaled(
  apply: losses.Apply, schedule: Schedule, c: Gaussian
) -> losses.Apply:
  """The network given xt / sqrt(alpha^2 + sigma^2), of about unit size.

  It is xt itself on a schedule that preserves the variance. The time is T t - 1
  for 1000 t with steps_from_zero. With log_sigma it is xt divided by
  sqrt(sigma_data^2 alpha^2 + sigma^2), and the time is log(sigma / alpha) / 4.
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
    size = jnp.hypot(deviation * alpha, sigma)
    size = size.reshape(-1, *[1] * (xt.ndim - 1))
    if c.log_sigma:
      t = jnp.log(sigma / alpha) / 4
    elif c.steps_from_zero:
      t = jnp.maximum(c.num_steps * t - 1, 0) / 1000
    return apply(params, xt / size, t, cond, dropout_keys)

  return apply_scaled
