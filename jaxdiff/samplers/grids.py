"""Time grids: the decreasing times of a sampler, [num_steps + 1] float32.

`uniform_times` and `quadratic_times` do not depend on the noise, `karras_times`
and `log_snr_times` space the noise levels of a given schedule, `trailing_times`
and `leading_times` choose steps of a table of T (step i is t = i / T). All are
built in numpy.
"""

from collections.abc import Callable
from typing import Any

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
  for name, sigma in (('sigma_min', sigma_min), ('sigma_max', sigma_max)):
    if sigma is not None:
      number(name, sigma, '(0, inf)')
  if sigma_min is not None and sigma_max is not None:
    number('sigma_max', sigma_max, f'({sigma_min}, inf)')
  to_level = lambda sigma: None if sigma is None else -2 * np.log(sigma)
  return _level_times(
    num_steps,
    schedule,
    ('sigma_max', to_level(sigma_max)),
    ('sigma_min', to_level(sigma_min)),
    # (sigma / alpha)^(1 / rho), and back.
    lambda level: np.exp(-0.5 * level / rho),
    lambda root: -2 * rho * np.log(root),
  )


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
  return _level_times(
    num_steps,
    schedule,
    *ends,
    lambda level: level,
    lambda level: level,
  )


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


def _level_times(
  num_steps: int,
  schedule: Schedule,
  first: tuple[str, float | None],
  last: tuple[str, float | None],
  to: Callable[[Any], Any],
  back: Callable[[Any], Any],
) -> np.ndarray:
  """Builds times evenly spaced in to(log-SNR), between two log-SNRs."""
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
  levels = back(np.linspace(to(ends[0]), to(ends[1]), inner))
  times = np.array(inverse(schedule, levels))
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
