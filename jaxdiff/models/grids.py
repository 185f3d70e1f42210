"""The times of a sampler, by the name of a grid."""

import numpy as np

from jaxdiff import names
from jaxdiff.config import Sampling, registry
from jaxdiff.schedules import Schedule

# alpha / sigma where samples begin with noise alone. Stable Diffusion has 0.07;
# where 0.25 is left, samples of data of mean 0.8 and deviation 0.1 have a mean
# of 0.78.
MOST_SIGNAL = 0.25
_MOST_NOISE = 0.1  # sigma / alpha; Stable Diffusion leaves 0.03


def times(
  sampling: Sampling, schedule: Schedule | None = None, *, table_steps: int
) -> np.ndarray:
  """Builds decreasing times in [0, 1], [sampling.steps + 1].

  Args:
    sampling: with the name of the grid.
    schedule: of Gaussian noise; None for categories.
    table_steps: T of the run; a name with a table of its own is
      leading(table_steps=100).

  Raises:
    ValueError: the grid, perhaps one outside this library, has other times; or
      they do not lead from noise to data.
  """
  text, num = sampling.times, sampling.steps
  flag = f'--sampling.times {text}'
  context = {'schedule': schedule, 'table_steps': table_steps}
  if 'table_steps' in names.parse(text, flag).kwargs:
    context.pop('table_steps')
  found = np.asarray(
    names.make(
      registry.GRIDS, text, '--sampling.times', num_steps=num, **context
    )
  )
  if found.dtype.kind not in 'iuf' or found.shape != (num + 1,):
    raise ValueError(
      f'{flag} must build {num + 1} times for {num} steps, got {found.dtype} '
      f'{list(found.shape)}'
    )
  first, last = found[0], found[-1]
  if not (0 <= last and first <= 1 and (np.diff(found) < 0).all()):
    raise ValueError(
      f'{flag} must build times that fall within [0, 1], got {found[:3]} ... '
      f'{last:g} in {num} steps'
    )
  if schedule is None and last != 0:
    raise ValueError(
      f'{flag} ends at {last:g}, where some elements are still noise: for '
      'categories it must end at 0'
    )
  level = schedule or (lambda t: (1.0 - t, t))
  (data, noise), (alpha, sigma) = level(first), level(last)
  if first < 1 and data > (MOST_SIGNAL if schedule else 1.0) * noise:
    raise ValueError(
      f'{flag} begins at {first:g} in {num} steps, with {data:.2g} of '
      f'the data beside {noise:.2g} of noise, and samples begin with noise '
      'alone: use trailing, or other steps'
    )
  if last > 0 and sigma > _MOST_NOISE * alpha:
    raise ValueError(
      f'{flag} ends at {last:g}, where a noise of {sigma:.2g} is left'
    )
  return found.astype(np.float32)
