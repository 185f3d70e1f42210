"""Ordinal noise: categories move to their neighbours, like values of pixels.

An element jumps from i to j != i at a rate proportional to

  exp(-(i - j)^2 / (2 width^2)),  |i - j| <= 4 width,

D3PM's discretised Gaussian as a generator G. It is symmetric, so its limit is
uniform, and q(xt | xs) = exp(tau G) for one number tau, the time elapsed: one
family for every pair of times, with no table over T. G has eigenvalues -g_k; a
schedule's alpha is the decay of the slowest mode,

  alpha = exp(-g_1 tau),  tau = -log(alpha) / g_1.

exp(tau G) is a product of powers by the digits of tau: 8 powers for each of D
digits, D from 3 to 10 or so, [D, 8, K, K] (21 MB at K = 256, where T = 1000
matrices would be 262 MB). All numbers added or multiplied are at least 0, so
the far tails, too, are right to float32's relative precision; eigenvectors
would leave 1e-7 of noise there, and Bayes' rule divides by it.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxdiff.checks import number, whole
from jaxdiff.processes import draws, transitions
from jaxdiff.processes.process import Process
from jaxdiff.processes.transitions import Kernel, Transition, log
from jaxdiff.schedules import NoiseLevel, Schedule

_RADIX = 8
# The unit of tau, beside a largest rate of 1: what is less than a unit comes
# from two terms of a series, whose third is 1e-10.
_UNIT = 2.0**-10


def ordinal(
  schedule: Schedule, num_classes: int, width: float = 2.0
) -> Process:
  """Builds the process of ordered categories under a discretised Gaussian.

  x is int [...]. `posterior`, `reverse` and `terms` are those of
  `processes.categorical`, with K x K matrices in place of two numbers: an
  example needs three of them and a dozen products, so this is for tens or
  hundreds of categories.

  Args:
    schedule: one of `schedules.mixing`.
    num_classes: K, at least 2.
    width: standard deviation of a jump, in categories. Many small jumps and few
      large ones differ only while there are few of them.

  Source: D3PM (Austin et al. 2021) section 3.1 and appendix A.2.3, whose T
  matrices have each its own width.
  """
  whole('num_classes', num_classes, 2)
  # Below, not even neighbours are in reach of float64.
  number('width', width, '[0.05, inf)')
  generator = _generator(num_classes, width)
  slowest = -np.linalg.eigvalsh(generator)[-2]
  # Beyond this the slowest mode is below float32's rounding of the limit.
  longest = -np.log(1e-9) / slowest
  num_digits = int(np.ceil(np.log(longest / _UNIT) / np.log(_RADIX)))
  powers, series = _powers(generator, num_digits)
  flat = np.full(num_classes, 1 / num_classes)
  log_flat = np.log(flat).astype(np.float32)

  def matrix(tau: Array) -> Array:
    """exp(tau G), [K, K]."""
    units = jnp.floor(jnp.minimum(tau, longest) / _UNIT)
    rest = jnp.clip(tau - units * _UNIT, 0.0, _UNIT)
    terms = jnp.stack([jnp.ones_like(rest), rest, 0.5 * rest**2])
    first = jnp.exp(-rest) * jnp.tensordot(
      terms, series, 1, precision='highest'
    )
    units = units.astype(jnp.int32)

    def times(product: Array, table: tuple[Array, Array]) -> tuple[Array, None]:
      power, digit = table
      chosen = power[(units // digit) % _RADIX]
      return jnp.matmul(product, chosen, precision='highest'), None

    digits = _RADIX ** jnp.arange(num_digits)
    product, _ = jax.lax.scan(times, first, (jnp.asarray(powers), digits))
    return jnp.where(tau < longest, product, 1 / num_classes)

  def between(level_s: NoiseLevel, level_t: NoiseLevel) -> Transition:
    elapsed = _time(level_t) - _time(level_s)
    # inf - inf: from the limit there is nowhere to go.
    elapsed = jnp.where(level_s.alpha == 0, 0.0, jnp.maximum(elapsed, 0.0))
    p = matrix(elapsed / slowest)

    def push(log_w: Array) -> Array:
      top = jax.lax.stop_gradient(jnp.max(log_w, axis=-1, keepdims=True))
      top = jnp.where(jnp.isfinite(top), top, 0.0)
      w = jnp.exp(log_w - top)
      return top + log(jnp.matmul(w, p, precision='highest'))

    # Symmetric: a column is a row.
    return Transition(lambda x: log(p[x]), push)

  def corrupt(key: Array, x0: Array, level: NoiseLevel) -> Array:
    return draws.draw(key, log(matrix(_time(level) / slowest)[x0]))

  rates = np.where(np.eye(num_classes) > 0, 0.0, generator) / slowest
  kernel = Kernel(
    between,
    corrupt,
    lambda x: jnp.asarray(rates, jnp.float32)[x],
    draws.fixed(flat),
    jnp.asarray(log_flat),
    jnp.ones(num_classes, bool),
  )
  return transitions.process(schedule, kernel)


def _time(level: NoiseLevel) -> Array:
  """-log alpha; by sigma where alpha has rounded it away."""
  near = -jnp.log1p(-jnp.minimum(level.sigma, 0.5))
  far = -jnp.log(jnp.maximum(level.alpha, 1e-30))
  return jnp.where(level.sigma < 0.5, near, far)


def _generator(num_classes: int, width: float) -> np.ndarray:
  apart = np.abs(np.subtract.outer(*[np.arange(num_classes)] * 2))
  rates = np.exp(-0.5 * (apart / width) ** 2)
  # Neighbours are always in reach, or nothing would move.
  rates[(apart > max(4 * width, 1)) | (apart == 0)] = 0.0
  rates /= rates.sum(1).max()
  return rates - np.diag(rates.sum(1))


def _powers(
  generator: np.ndarray, num_digits: int
) -> tuple[np.ndarray, np.ndarray]:
  """(exp(r 8^d unit G) [D, 8, K, K], the series' B^0, B^1, B^2 [3, K, K]).

  exp(tau G) = exp(-tau) sum_n (tau B)^n / n!, B = I + G not negative.
  """
  one = np.eye(len(generator))
  b = one + generator
  product, term = one, one
  for n in range(1, 8):
    term = term @ b * (_UNIT / n)
    product = product + term
  base = product * np.exp(-_UNIT)
  powers = []
  for _ in range(num_digits):
    row = [one]
    for _ in range(_RADIX):
      row.append(row[-1] @ base)
    base = row.pop()
    powers.append(np.stack(row).astype(np.float32))
  return np.stack(powers), np.stack([one, b, b @ b]).astype(np.float32)
