"""Time sampling: maps u -> t, and the positions u of a batch.

A time sampler is an inverse distribution function: of u uniform in [0, 1) it
makes t. The positions u of a batch are `independent`, `stratified` or
`antithetic`.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.special import ndtri

from jaxdiff.checks import number, whole
from jaxdiff.schedules import Schedule, inverse

Times = Callable[[Array], Array]
Positions = Callable[[Array, Array, int], Array]


def continuous(t_min: float = 0.0) -> Times:
  """Builds t uniform over (t_min, 1]."""
  number('t_min', t_min, '[0, 1)')
  return lambda u: 1.0 - (1.0 - t_min) * u


def grid(num_steps: int) -> Times:
  """Builds t uniform over {1/T, 2/T, ..., 1}: the steps of a DDPM table."""
  whole('num_steps', num_steps, 1)
  return lambda u: (
    jnp.minimum(jnp.floor(u * num_steps) + 1, num_steps) / num_steps
  )


def logit_normal(mean: float = 0.0, std: float = 1.0) -> Times:
  """Builds logit(t) ~ N(mean, std^2): mostly the middle of the path.

  Source: SD3 (Esser et al. 2024) eq. 19, on `schedules.rectified_flow`.
  """
  number('mean', mean, '(-inf, inf)')
  number('std', std, '(0, inf)')
  return lambda u: jax.nn.sigmoid(mean + std * _normal(u))


def log_normal(
  schedule: Schedule, mean: float = -1.2, std: float = 1.2
) -> Times:
  """Builds log(sigma / alpha) ~ N(mean, std^2), as t of the schedule.

  What falls beyond the schedule's ends is moved to them.

  Source: EDM (Karras et al. 2022) table 1; the defaults are theirs, for data of
  standard deviation 0.5.
  """
  number('mean', mean, '(-inf, inf)')
  number('std', std, '(0, inf)')
  return lambda u: inverse(schedule, -2.0 * (mean + std * _normal(u)))


def _normal(u: Array) -> Array:
  # A position may round to 0 or 1, where the normal quantile is infinite.
  return ndtri(jnp.clip(u, 1e-6, 1.0 - 1e-6))


def independent(key: Array, index: Array, total: int) -> Array:
  """Draws u_i uniform over [0, 1), each on its own. [B]"""
  del total
  uniform = lambda i: jax.random.uniform(jax.random.fold_in(key, i))
  return jax.vmap(uniform)(index)


def stratified(key: Array, index: Array, total: int) -> Array:
  """Draws u_i uniform over the i-th of `total` equal parts of [0, 1). [B]

  Args:
    key: of the step; u_i depends on it and on i alone.
    index: [B] which examples of the global batch.
    total: size of the global batch.
  """
  return (index + independent(key, index, total)) / total


def antithetic(key: Array, index: Array, total: int) -> Array:
  """Draws u_i = (i + r) / total with one r for the batch: evenly spaced.

  VDM's code calls this antithetic, statistics systematic. Unlike `stratified`
  no two times are close, but the errors of all examples go together.

  Source: VDM (Kingma et al. 2021) appendix I.1.
  """
  return (index + jax.random.uniform(key)) / total
