"""Time grids: the decreasing times of a sampler, [num_steps + 1] float32.

`uniform_times`, `quadratic_times`, `cosine_times` and `distorted_times` do not
depend on the noise.
`karras_times`, `log_snr_times` and `polyexponential_times` space the noise
levels of a given schedule. `trailing_times`, `leading_times` and
`linspace_times` choose steps of a table of T (step i is t = i / T). All are
built in numpy.
"""

from collections.abc import Callable

import numpy as np

from jaxdiff.checks import number, whole
from jaxdiff.schedules.levels import Schedule, inverse, log_snr


def uniform_times(num_steps: int) -> np.ndarray:
  """Builds evenly spaced times 1 = t_0 > ... > t_N = 0. [N + 1]"""
  _check_steps(num_steps)
  return np.linspace(1, 0, num_steps + 1).astype(np.float32)


def quadratic_times(num_steps: int) -> np.ndarray:
  """Builds the squares of an even grid, finer towards the data. [N + 1]

  Source: DDIM (Song et al. 2021) appendix D.2.
  """
  _check_steps(num_steps)
  return (np.linspace(1, 0, num_steps + 1) ** 2).astype(np.float32)


def cosine_times(num_steps: int) -> np.ndarray:
  """Builds t = cos(pi u / 2) of an even grid u, finer towards noise. [N + 1]

  Source: MD4 (Shi et al. 2024), its cosine grid of sampling.
  """
  _check_steps(num_steps)
  u = np.linspace(0, 1, num_steps + 1)
  return np.sin(0.5 * np.pi * (1 - u)).astype(np.float32)


def distorted_times(num_steps: int, distortion: str = 'polydec') -> np.ndarray:
  """Builds t = 1 - f(u) of an even grid u from 0 to 1. [N + 1]

    polydec  f = 2 u - u^2, finer towards the data: `quadratic_times`
    polyinc  f = u^2, finer towards the noise
    cos      f = (1 - cos(pi u)) / 2, finer towards both
    revcos   f = 2 u - (1 - cos(pi u)) / 2, finer in the middle

  Source: DeFoG (Qin et al. 2025, arXiv:2410.04263) section 3.2.
  """
  _check_steps(num_steps)
  u = np.linspace(0, 1, num_steps + 1)
  cos = 0.5 - 0.5 * np.cos(np.pi * u)
  distortions = {
    'polydec': 2 * u - u**2,
    'polyinc': u**2,
    'cos': cos,
    'revcos': 2 * u - cos,
  }
  if distortion not in distortions:
    raise ValueError(
      f'distortion must be one of {sorted(distortions)}, got {distortion!r}'
    )
  return (1 - distortions[distortion]).astype(np.float32)


def karras_times(
  num_steps: int,
  schedule: Schedule,
  *,
  sigma_min: float | None = None,
  sigma_max: float | None = None,
  rho: float = 7.0,
) -> np.ndarray:
  """Builds times at which (sigma / alpha)^(1 / rho) is evenly spaced. [N + 1]

  The levels run from sigma_max to sigma_min, and t = 0 ends the grid.

  Args:
    sigma_min: the last sigma / alpha before t = 0. None is that of t = 0
      itself; it must be given where that is 0. For a table of T it is
      `schedule(1 / T)`'s.
    sigma_max: the first sigma / alpha. None is that of t = 1; it must be given
      where that is infinite.
    rho: the larger, the finer towards the data.

  Raises:
    ValueError: an end of the schedule is infinite and no bound is given, or the
      bounds do not lie within the schedule's.

  Source: EDM (Karras et al. 2022) eq. 5.
  """
  number('rho', rho, '[0.1, 1000]')

  def spacing(first: float, last: float, num: int) -> np.ndarray:
    # (sigma / alpha)^(1 / rho), and back.
    to = lambda level: np.exp(-0.5 * level / rho)
    return -2 * rho * np.log(np.linspace(to(first), to(last), num))

  ends = _sigma_ends(sigma_max, sigma_min)
  return _level_times(num_steps, schedule, *ends, spacing)


def polyexponential_times(
  num_steps: int,
  schedule: Schedule,
  *,
  sigma_min: float | None = None,
  sigma_max: float | None = None,
  rho: float = 1.0,
) -> np.ndarray:
  """Builds times at which log(sigma / alpha) falls as a power. [N + 1]

    log(sigma_n / sigma_min) = (1 - n / (N - 1))^rho log(sigma_max / sigma_min)

  and t = 0 ends the grid; rho = 1 is `log_snr_times`, "exponential". The other
  arguments are those of `karras_times`.

  Source: k-diffusion's get_sigmas_polyexponential (Crowson 2022).
  """
  number('rho', rho, '[0.1, 1000]')

  def spacing(first: float, last: float, num: int) -> np.ndarray:
    return last + (first - last) * np.linspace(1, 0, num) ** rho

  ends = _sigma_ends(sigma_max, sigma_min)
  return _level_times(num_steps, schedule, *ends, spacing)


def log_snr_times(
  num_steps: int,
  schedule: Schedule,
  *,
  log_snr_min: float | None = None,
  log_snr_max: float | None = None,
) -> np.ndarray:
  """Builds times at which the log-SNR is evenly spaced. [N + 1]

  The levels run from log_snr_min to log_snr_max, and t = 0 ends the grid. None
  is the schedule's own end, at t = 1 and t = 0; it must be given where that is
  infinite.

  Raises:
    ValueError: as `karras_times`.

  Source: DPM-Solver (Lu et al. 2022) section 3.4.
  """
  ends = (('log_snr_min', log_snr_min), ('log_snr_max', log_snr_max))
  for name, level in ends:
    if level is not None:
      number(name, level, '(-inf, inf)')
  if log_snr_min is not None and log_snr_max is not None:
    number('log_snr_max', log_snr_max, f'({log_snr_min}, inf)')
  return _level_times(num_steps, schedule, *ends, np.linspace)


def linspace_times(num_steps: int, table_steps: int = 1000) -> np.ndarray:
  """Builds the linspace grid: N steps of a table from T to 1, then 0. [N + 1]

  Evenly spaced, each rounded to a step.

  Source: Lin et al. 2024, table 2.
  """
  _check_steps(num_steps, table_steps)
  steps = np.round(np.linspace(table_steps - 1, 0, num_steps)) + 1
  return (np.append(steps, 0) / table_steps).astype(np.float32)


def trailing_times(num_steps: int, table_steps: int = 1000) -> np.ndarray:
  """Builds the trailing grid: steps T, T - T/N, ... of a table. [N + 1]

  Starts at t = 1, so a prior of pure noise is met where it was trained, and
  ends at t = 0.

  Source: Lin et al. 2024, "Common diffusion noise schedules and sample steps
  are flawed", table 2.
  """
  _check_steps(num_steps, table_steps)
  steps = np.round(np.arange(num_steps, 0, -1) * table_steps / num_steps)
  return (np.append(steps, 0) / table_steps).astype(np.float32)


def leading_times(
  num_steps: int, table_steps: int = 1000, offset: int = 0, last: int = 0
) -> np.ndarray:
  """Builds the leading grid: steps 1 + offset + k (T // N), k = N - 1 .. 0.

  [N + 1]; the first time is less than 1.

  Args:
    offset: added to every step; Stable Diffusion has 1.
    last: the step that ends the grid. 0 is the data; Stable Diffusion has 1, so
      its samples keep the noise of the table's first step.

  Source: DDIM (Song et al. 2021) appendix D.2, 'linear'.
  """
  _check_steps(num_steps, table_steps)
  whole('offset', offset, 0)
  whole('last', last, 0)
  stride = table_steps // num_steps
  steps = np.arange(num_steps)[::-1] * stride + 1 + offset
  if steps[0] > table_steps or not 0 <= last < steps[-1]:
    raise ValueError(
      f'{num_steps} leading steps with offset {offset} and last {last} visit '
      f'steps {steps[0]} to {steps[-1]} and end at {last}: not decreasing '
      f'within a table of {table_steps}'
    )
  return (np.append(steps, last) / table_steps).astype(np.float32)


def _sigma_ends(
  sigma_max: float | None, sigma_min: float | None
) -> tuple[tuple[str, float | None], tuple[str, float | None]]:
  """Checks the ends of sigma / alpha, and makes log-SNRs of them."""
  given = (('sigma_max', sigma_max), ('sigma_min', sigma_min))
  for name, sigma in given:
    if sigma is not None:
      number(name, sigma, '(0, inf)')
  if sigma_min is not None and sigma_max is not None:
    number('sigma_max', sigma_max, f'({sigma_min}, inf)')
  return tuple((n, x if x is None else -2 * np.log(x)) for n, x in given)


def _level_times(
  num_steps: int,
  schedule: Schedule,
  first: tuple[str, float | None],
  last: tuple[str, float | None],
  spacing: Callable[[float, float, int], np.ndarray],
) -> np.ndarray:
  """Builds times of spacing(first, last, num) log-SNRs."""
  _check_steps(num_steps)
  bounds = np.asarray(log_snr(schedule, np.array([1.0, 0.0], np.float32)))
  ends = []
  for (name, given), bound in zip((first, last), bounds, strict=True):
    level = float(bound) if given is None else given
    # A bound that was itself read off the schedule may be a rounding outside.
    slack = 1e-4
    if not np.isfinite(level) or not (
      bounds[0] - slack <= level <= bounds[1] + slack
    ):
      raise ValueError(
        f'{name} must be given and lie within the schedule, whose log-SNR '
        f'runs from {bounds[0]:g} to {bounds[1]:g}; got a log-SNR of {level:g}'
      )
    ends.append(level)
  # With a last level of its own, t = 0 is one step further.
  inner = num_steps + (last[1] is None)
  times = np.array(inverse(schedule, spacing(*ends, inner)))
  # The inverse is off by a rounding at the schedule's own ends.
  if first[1] is None:
    times[0] = 1.0
  if last[1] is None:
    times[-1] = 0.0
    return times
  return np.append(times, np.float32(0))


def _check_steps(num_steps: int, table_steps: int | None = None) -> None:
  whole('num_steps', num_steps, 1)
  if table_steps is None:
    return
  whole('table_steps', table_steps, 1)
  if num_steps > table_steps:
    raise ValueError(
      f'a table of {table_steps} steps has no {num_steps} to choose'
    )
