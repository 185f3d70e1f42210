"""Power-function averages of weights, and any other of them after training.

The average of width s over training is one with the profile

  p(u) = (g + 1) u^g / t^(g + 1),   u in [0, t],

t the steps so far and g the exponent of s. Its standard deviation is s t, so it
widens as training goes on. A few such averages, kept as snapshots on the way,
are a basis: the average of any other width is the combination of snapshots
whose profile is nearest to the one that is wanted, by least squares.

Source: EDM2 (Karras et al. 2024, arXiv:2312.02696), section 3 and appendix C.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from jaxdiff.checks import number

WIDEST = 12**-0.5  # of g = 0, the mean of all steps
MOST_OFF = 0.1  # of a profile that is made of others, in root mean square


def exponent(std: float) -> float:
  """Computes g of the width s, s^2 = (g + 1) / ((g + 2)^2 (g + 3)).

  Args:
    std: s, relative to the length of training, in (0, 12^-1/2].

  Example:
    >>> round(exponent(0.1), 2), round(exponent(0.05), 2)
    (6.94, 16.97)
  """
  number('std', std, f'(0, {WIDEST}]')
  cubic = np.polynomial.Polynomial([12, 16, 7, 1])
  line = np.polynomial.Polynomial([1, 1]) / std**2
  return float(max((cubic - line).roots().real))


def rate(step: ArrayLike, std: float) -> Array:
  """Computes the weight of the newest parameters in their average.

  Args:
    step: How many steps were before; at 0 the average is the new parameters.
    std: Width of the average.
  """
  t = jnp.asarray(step, jnp.float32) + 1.0
  # 1 - (1 - 1 / t)^(g + 1), without the difference of near numbers.
  return -jnp.expm1((exponent(std) + 1.0) * jnp.log1p(-1.0 / t))


def weights(
  steps: Sequence[int], stds: Sequence[float], step: int, std: float
) -> np.ndarray:
  """Computes the weight of each snapshot in an average.

  Args:
    steps: [N] When each snapshot was taken, from 1.
    stds: [N] Its width.
    step: The end of the average that is wanted.
    std: Its width.

  Returns:
    [N], float64, with sum 1.

  Raises:
    ValueError: No snapshot, or none from which such an average can be made.
  """
  t = np.asarray(steps, np.float64)
  g = np.array([exponent(s) for s in stds])
  if not len(t) or t.max() > step or t.min() < 1:
    raise ValueError(
      f'steps must be from 1 to step={step}, got {list(map(int, t))}'
    )
  gram = _inner(t[:, None], g[:, None], t[None], g[None])
  wanted = _inner(t, g, np.float64(step), np.float64(exponent(std)))
  # The profiles are of very different heights: equal rows solve better.
  size = np.sqrt(np.diag(gram))
  solved = np.linalg.lstsq(
    gram / size[:, None] / size[None], wanted / size, rcond=1e-12
  )[0]
  found = solved / size
  found = found / found.sum()
  height = _inner(*(np.float64(x) for x in (step, exponent(std)) * 2))
  missing = height - 2 * found @ wanted + found @ gram @ found
  off = np.sqrt(max(missing, 0.0) / height)
  if off > MOST_OFF:
    raise ValueError(
      f'an average of width {std:g} cannot be made of {len(t)} snapshots of '
      f'widths {sorted(set(stds))}: its profile would be {off:.0%} off. Take '
      'another width, or keep more of them'
    )
  return found


def combined(snapshots: Iterable[Any], weights: Sequence[float]) -> Any:
  """Adds up weighted snapshots, read one at a time; float32 on the host."""
  total = None
  for params, weight in zip(snapshots, weights, strict=True):
    part = jax.tree.map(
      lambda x, w=weight: w * np.asarray(x, np.float64), params
    )
    total = part if total is None else jax.tree.map(np.add, total, part)
  return jax.tree.map(lambda x: x.astype(np.float32), total)


def _inner(
  t: np.ndarray, g: np.ndarray, other_t: np.ndarray, other_g: np.ndarray
) -> np.ndarray:
  """The integral of the product of two profiles."""
  least = np.minimum(t, other_t)
  power = (
    g * np.log(least / t)
    + other_g * np.log(least / other_t)
    + np.log(least / t)
    - np.log(other_t)
  )
  return (g + 1) * (other_g + 1) / (g + other_g + 1) * np.exp(power)
