"""The schedule, what is predicted, and the loss."""

from jaxdiff import losses, predictions, schedules
from jaxdiff.choices import (
  ERRORS,
  PREDICTIONS,
  SCHEDULES,
  TABLES,
  TIMES,
  WEIGHTINGS,
  make,
  name_of,
)
from jaxdiff.config import Config
from jaxdiff.losses import learned_variance
from jaxdiff.schedules import Schedule


def make_schedule(config: Config) -> Schedule:
  """The noise levels of the diffusion."""
  c = config.diffusion
  if c.process != 'gaussian':
    raise ValueError(f'diffusion.process={c.process} has no Gaussian schedule')
  name = name_of(c.schedule, 'diffusion.schedule')
  if name in TABLES:
    table = make(TABLES, c.schedule, 'diffusion.schedule', c.num_steps)
    if c.zero_terminal_snr:
      table = schedules.zero_terminal_snr(table)
    schedule = schedules.from_betas(table)
  elif c.zero_terminal_snr:
    raise ValueError(
      'diffusion.zero_terminal_snr changes a table of betas, one of '
      f'{sorted(TABLES)}, got diffusion.schedule={c.schedule}'
    )
  else:
    every = {**SCHEDULES, **TABLES}  # an error lists both
    schedule = make(every, c.schedule, 'diffusion.schedule')
  if c.shift == 1.0:
    return schedule
  try:
    return schedules.shifted(schedule, c.shift)
  except ValueError as error:
    raise ValueError(f'diffusion.shift={c.shift}: {error}') from error


def make_kind(config: Config) -> predictions.Kind:
  """What the network predicts.

  Raises:
    ValueError: unknown, or it says nothing of x0 where the schedule ends.
  """
  name = config.diffusion.prediction
  kind = make(PREDICTIONS, name, 'diffusion.prediction')
  schedule = make_schedule(config)
  (a, b), (alpha, sigma) = kind(schedule, 1.0), schedule(1.0)
  if alpha * b == sigma * a:
    raise ValueError(
      f'diffusion.prediction={name} says nothing of the data at t = 1 of '
      f'diffusion.schedule={config.diffusion.schedule}, where no signal is '
      'left: use v, velocity or x0'
    )
  return kind


def make_loss(config: Config, apply: losses.Apply) -> losses.Loss:
  """The loss of the denoiser `apply`.

  Raises:
    ValueError: choices that contradict one another.
  """
  c = config.diffusion
  schedule, kind = make_schedule(config), make_kind(config)
  if c.variance == 'learned':
    return _learned(config, learned_variance.halves(apply))
  times = make(TIMES, c.times, 'diffusion.times', schedule, c.num_steps)
  noise = {'noise': losses.offset_noise(c.offset_noise)}
  return losses.denoising(
    apply,
    schedule,
    kind,
    space=make(PREDICTIONS, c.loss, 'diffusion.loss') if c.loss else None,
    weighting=make(WEIGHTINGS, c.weighting, 'diffusion.weighting')
    if c.weighting
    else None,
    per_log_snr=c.per_log_snr,
    times=times,
    error=make(ERRORS, c.error, 'diffusion.error'),
    **(noise if c.offset_noise else {}),
  )


def _learned(config: Config, apply: losses.Apply) -> losses.Loss:
  c = config.diffusion
  # The bound fixes all that these choose.
  fixed = {
    'loss': None,
    'weighting': None,
    'per_log_snr': False,
    'error': 'square',
    'offset_noise': 0.0,
    'times': 'grid',
  }
  for name, value in fixed.items():
    if getattr(c, name) != value:
      raise ValueError(
        f'diffusion.variance=learned needs diffusion.{name}={value}, got '
        f'{getattr(c, name)}'
      )
  parts = apply, make_schedule(config), make_kind(config), c.num_steps
  if c.objective == 'vlb':
    return learned_variance.variational(*parts)
  return learned_variance.hybrid(*parts, vlb_scale=c.vlb_scale)
