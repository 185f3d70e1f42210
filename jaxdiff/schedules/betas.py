"""DDPM's tables of forward variances beta, and the schedule of a table.

  q(x_i | x_{i-1}) = N(sqrt(1 - beta_i) x_{i-1}, beta_i I),  i = 1 .. T

Step i of T is t = i / T. Tables are built in numpy float64, evaluated in
float32.

The published ends of a table are those of 1000 steps. With T steps each is 1000
/ T times as large, and at most 0.999 as in `cosine_betas`, so that as little
signal is left at t = 1 (guided diffusion, Dhariwal & Nichol 2021,
get_named_beta_schedule).
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxdiff.checks import number, whole
from jaxdiff.schedules.levels import NoiseLevel, Schedule, variance_preserving

_MAX_BETA = 0.999


def from_betas(betas: ArrayLike) -> Schedule:
  """Builds a table's schedule: alpha(i / T)^2 = prod_{j <= i} (1 - beta_j).

  Exact at t = i / T, and exactly (1, 0) at t = 0. Between grid points the
  log-SNR is linear in t. In the first interval, where it comes from +inf,
  sigma^2 is linear; in the last of a table whose last beta is 1, where it goes
  to -inf, alpha is.

  Args:
    betas: [T] the forward variances, each in (0, 1); the last of several may be
      1 (`zero_terminal_snr`).

  Raises:
    ValueError: betas not one-dimensional, or out of range.

  Source: DDPM (Ho et al. 2020) eq. 4.
  """
  betas = np.asarray(betas, np.float64)
  if betas.ndim != 1 or not len(betas):
    raise ValueError(f'betas must be one-dimensional, got {betas.shape}')
  terminal = len(betas) > 1 and betas[-1] == 1
  inner_betas = betas[:-1] if terminal else betas
  if not ((inner_betas > 0) & (inner_betas < 1)).all():
    raise ValueError(
      'betas must lie in (0, 1), the last of several in (0, 1], got values '
      f'from {betas.min():g} to {betas.max():g}'
    )
  num_steps, last = len(betas), len(inner_betas)
  log_alpha_squared = np.cumsum(np.log1p(-inner_betas))
  log_sigma_squared = np.log(-np.expm1(log_alpha_squared))
  table = log_alpha_squared - log_sigma_squared
  alpha_last = np.exp(0.5 * log_alpha_squared[-1])

  def schedule(t: ArrayLike) -> NoiseLevel:
    # Not clipped: at a tie, t = 1, the derivative of a clip is half.
    step = jnp.asarray(t, jnp.float32) * num_steps
    # t = i / T has no exact float32, so snap to the step it stands for; the
    # derivative passes through.
    nearest = jnp.round(step)
    snap = jnp.where(jnp.abs(step - nearest) < 1e-3, nearest - step, 0.0)
    step = step + jax.lax.stop_gradient(snap)
    values = jnp.asarray(table, jnp.float32)
    # The clip makes every index lie in the table.
    below = jnp.clip(jnp.floor(step), 1, max(last - 1, 1)).astype(int)
    left, right = values[below - 1], values[jnp.minimum(below, last - 1)]
    inner = left + (step - below) * (right - left)
    # Both branches of a where are differentiated: keep the dead one finite.
    sigma_squared = betas[0] * jnp.minimum(step, 1.0)
    first = jnp.log1p(-sigma_squared) - jnp.log(sigma_squared)
    level = variance_preserving(jnp.where(step < 1.0, first, inner))
    if not terminal:
      return level
    alpha = alpha_last * jnp.minimum(num_steps - step, 1.0)
    ending = NoiseLevel(alpha, jnp.sqrt(1.0 - alpha**2))
    choose = lambda end, level: jnp.where(step > last, end, level)
    return jax.tree.map(choose, ending, level)

  return schedule


def linear_betas(
  num_steps: int = 1000,
  first: float | None = None,
  last: float | None = None,
) -> np.ndarray:
  """Computes betas linear in the step. [T] float64.

  Args:
    num_steps: T.
    first, last: the ends as they are; None is DDPM's 1e-4 and 0.02 times 1000 /
      T.

  Source: DDPM (Ho et al. 2020) section 4.
  """
  first, last, cap = _ends(num_steps, first, last, (1e-4, 0.02))
  return np.minimum(np.linspace(first, last, num_steps, dtype=np.float64), cap)


def scaled_linear_betas(
  num_steps: int = 1000,
  first: float | None = None,
  last: float | None = None,
) -> np.ndarray:
  """Computes betas whose root is linear in the step. [T] float64.

  Args:
    num_steps: T.
    first, last: the ends as they are; None is Stable Diffusion's 0.00085 and
      0.012 times 1000 / T.

  Source: latent diffusion (Rombach et al. 2022).
  """
  first, last, cap = _ends(num_steps, first, last, (0.00085, 0.012))
  root = np.linspace(first**0.5, last**0.5, num_steps, dtype=np.float64)
  return np.minimum(root**2, cap)


def cosine_betas(
  num_steps: int = 1000, offset: float = 0.008, max_beta: float = _MAX_BETA
) -> np.ndarray:
  """Computes betas whose cumulative product follows cos^2, capped. [T] float64.

    beta_i = min(1 - f(i/T) / f((i-1)/T), max_beta),
    f(t) = cos^2((t + offset) / (1 + offset) pi / 2)

  Source: iDDPM (Nichol & Dhariwal 2021) eq. 17.
  """
  whole('num_steps', num_steps, 1)
  number('offset', offset, '[0, inf)')
  number('max_beta', max_beta, '(0, 1)')
  t = np.linspace(0, 1, num_steps + 1, dtype=np.float64)
  f = np.cos((t + offset) / (1 + offset) * np.pi / 2) ** 2
  return np.minimum(1 - f[1:] / f[:-1], max_beta)


def sigmoid_betas(
  num_steps: int = 1000,
  first: float | None = None,
  last: float | None = None,
) -> np.ndarray:
  """Computes betas along a logistic curve over [-6, 6]. [T] float64.

  Args:
    num_steps: T.
    first, last: the ends as they are; None is 1e-4 and 0.02 times 1000 / T.

  Source: GeoDiff (Xu et al. 2022), appendix.
  """
  first, last, cap = _ends(num_steps, first, last, (1e-4, 0.02))
  curve = 1 / (1 + np.exp(-np.linspace(-6, 6, num_steps, dtype=np.float64)))
  return np.minimum(first + (last - first) * curve, cap)


def _ends(
  num_steps: int,
  first: float | None,
  last: float | None,
  published: tuple[float, float],
) -> tuple[float, float, float]:
  """The ends of a table, and the cap of its betas."""
  whole('num_steps', num_steps, 1)
  for name, value in (('first', first), ('last', last)):
    if value is not None:
      number(name, value, '(0, 1)')
  scaled = [end * 1000 / num_steps for end in published]
  last = scaled[1] if last is None else last
  # A single step goes all the way.
  first = (scaled[0] if num_steps > 1 else last) if first is None else first
  return first, last, _MAX_BETA


def zero_terminal_snr(betas: ArrayLike) -> np.ndarray:
  """Changes a table so that no signal is left at the last step: zero SNR.

  The root a_i of the cumulative product is shifted and scaled such that the
  last is 0 and the first stays:

    a_i <- (a_i - a_T) a_1 / (a_1 - a_T).

  At t = 1 a network that predicts eps says nothing of x0: predict x0 or v.

  Args:
    betas: [T] each in (0, 1), at least two.

  Returns:
    [T] float64 betas; the last is 1.

  Source: Lin et al. 2024, "Common diffusion noise schedules and sample steps
  are flawed", algorithm 1.
  """
  betas = np.asarray(betas, np.float64)
  if betas.ndim != 1 or len(betas) < 2 or not ((0 < betas) & (betas < 1)).all():
    raise ValueError(
      'zero_terminal_snr needs two or more betas in (0, 1), got '
      f'{len(betas)} from {betas.min():g} to {betas.max():g}'
      if betas.ndim == 1 and len(betas)
      else f'zero_terminal_snr needs a table [T] of betas, got {betas.shape}'
    )
  alpha = np.sqrt(np.cumprod(1 - betas))
  alpha = (alpha - alpha[-1]) * alpha[0] / (alpha[0] - alpha[-1])
  return np.append(betas[0], 1 - (alpha[1:] / alpha[:-1]) ** 2)
